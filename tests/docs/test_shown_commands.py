"""Every `fedvm …` that a page shows is a command that there is, with options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fedvm.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("examples/**/*.md"),
        *ROOT.glob("contracts/*.md"),
    ]
)
CHANGES = ROOT / "CHANGELOG.md"
"""Which also speaks of commands that are gone."""
BLOCK = re.compile(r"```(?:sh|console|bash)?\n(.*?)```", re.DOTALL)
SPAN = re.compile(r"`(fedvm [^`]+)`")


def commands(text: str) -> Iterator[str]:
    """What is shown in blocks, continued lines joined, and in the running text."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("fedvm "):
                yield line.strip()
    for span in SPAN.findall(text):
        yield " ".join(span.split())


def words(line: str) -> list[str]:
    """The words of a shown command, without the comment after it, brackets and the choices of a synopsis."""
    plain = re.sub(r"[\[\]]", " ", line)
    try:
        return shlex.split(plain, comments=True)
    except ValueError:  # a quote that a line of prose leaves open
        return plain.split()


def problems(line: str) -> Iterator[str]:
    command: click.Command = app
    rest = words(line)[1:]
    while rest and isinstance(command, click.Group):
        names = rest[0].rstrip(",.;:").split("|")
        if names[0].startswith("-") or names[0] in ("…", "..."):
            return
        missing = [name for name in names if command.get_command(click.Context(command), name) is None]
        if missing:
            yield f"there is no command {missing[0]!r}"
            return
        found = command.get_command(click.Context(command), names[0])
        assert found is not None
        command, rest = found, rest[1:]
    known = {
        option
        for parameter in command.get_params(click.Context(command))
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= set(command.context_settings.get("help_option_names", ["--help"])) | {"-h", "--debug"}
    for word in rest:
        for option in word.split("|"):
            name = option.rstrip(",.;:").partition("=")[0]
            if re.fullmatch(r"--?[a-z][a-z0-9-]*", name) and name not in known:
                yield f"{name} is no option of it"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != CHANGES], ids=lambda page: str(page.relative_to(ROOT))
)
def test_shows_commands_that_there_are(page: Path) -> None:
    wrong = [f"{line}: {why}" for line in commands(page.read_text()) for why in problems(line)]
    assert not wrong


def test_a_wrong_command_is_seen() -> None:
    shown = list(
        commands(
            "```sh\nfedvm predit x.png   # ask\nfedvm audit \\\n  --rum DIR\n```\nand `fedvm service shew` too"
        )
    )
    assert [list(problems(line)) for line in shown] == [
        ["there is no command 'predit'"],
        ["--rum is no option of it"],
        ["there is no command 'shew'"],
    ]
