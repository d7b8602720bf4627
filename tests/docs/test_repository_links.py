"""Every link and picture in the repository's own pages leads to something that is there, headings included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(page for page in ROOT.glob("examples/**/*.md") if "node_modules" not in page.parts),
        *ROOT.glob("contracts/*.md"),
    ]
)
FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:")


def headings(page: Path) -> set[str]:
    """The anchors that hosts of repositories make of a page's headings."""
    found = set()
    for line in FENCED.sub("", page.read_text()).splitlines():
        if line.startswith("#"):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip()).lower()
            found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def broken(page: Path, text: str) -> Iterator[str]:
    """The links of a page's text that lead nowhere."""
    for target in LINK.findall(CODE.sub("", FENCED.sub("", text))):
        path, _, anchor = target.partition("#")
        if ELSEWHERE.match(target):
            continue
        to = (page.parent / path).resolve() if path else page
        if not to.exists() or (anchor and to.suffix == ".md" and anchor not in headings(follow(to))):
            yield target


def follow(page: Path) -> Path:
    """The page whose text a page of the site shows, where it only includes another."""
    found = re.search(r"\{include\} (\S+)", page.read_text())
    return page if found is None else (page.parent / found.group(1)).resolve()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page, page.read_text())) == []


def test_a_link_that_leads_nowhere_is_seen() -> None:
    text = "[a](docs/web.md) [b](docs/wbe.md) ![c](docs/img/no.svg) [d](docs/web.md#no-such) `[e](f.md)` [g](https://h.i)"
    assert list(broken(ROOT / "README.md", text)) == ["docs/wbe.md", "docs/img/no.svg", "docs/web.md#no-such"]


def test_the_readme_has_a_picture_of_the_system() -> None:
    assert "](docs/img/system.svg)" in (ROOT / "README.md").read_text()
