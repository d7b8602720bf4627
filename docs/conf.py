"""The documentation's own settings: `make docs` builds it, strictly, without a network."""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from pathlib import Path

from sphinx.application import Sphinx

project = "FedVM"
author = "The FedVM developers"
copyright = "The FedVM developers, Apache-2.0"
release = version = installed("fedvm")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "FedVM"
html_show_sphinx = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"

_ROOT = Path(__file__).parent.parent
_PAGES = {"SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}
"""Pages of the repository that are pages here, too."""
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+)([^)#\s]+)(#[^)\s]*)?\)")


def _links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to files of the repository, which is not on the site: to a page that is, or to the file's name."""

    def rewritten(match: re.Match[str]) -> str:
        text, up, path, anchor = match.groups()
        page = (Path(app.srcdir) / f"{docname}.md").parent / up / path
        if not page.exists():
            raise FileNotFoundError(f"{docname}.md links to {up}{path}, which is not there")
        inside = page.resolve().relative_to(_ROOT)
        if inside.parts[0] == "docs":
            return match.group()
        if str(inside) in _PAGES:
            return f"[{text}](/{_PAGES[str(inside)]}{anchor or ''})"
        return text if str(inside) in text else f"{text} (`{inside}`)"

    source[0] = _LINK.sub(rewritten, source[0])


def _arguments(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Each argument that a docstring explains, `name: …`, begins a paragraph."""
    known = set(getattr(getattr(thing, "__code__", None), "co_varnames", ()))
    known |= set(getattr(thing, "__annotations__", ()))
    for at in range(len(lines) - 1, -1, -1):
        names, colon, rest = lines[at].partition(": ")
        if colon and set(names.split(", ")) <= known:
            lines[at : at + 1] = ["", f"``{names}``: {rest}"]


def setup(app: Sphinx) -> None:
    app.connect("source-read", _links)
    app.connect("autodoc-process-docstring", _arguments)
