"""What the application needs to know of a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typer.core import TyperCommand

from fedvm.cli.help import HelpfulCommand


@dataclass(frozen=True)
class Command:
    """A name, the function Typer reads the options from, and examples: (command line, what it does).

    kind: the class of the command, for one that has other options than those of its function.
    """

    name: str
    function: Callable[..., Any]
    examples: tuple[tuple[str, str], ...]
    kind: type[TyperCommand] = HelpfulCommand

    def epilog(self) -> str:
        """The examples as Markdown for the end of the help; a meaning is a comment, as a shell reads it when pasted."""
        lines = [f"- `{line}`" + (f" # {meaning}" if meaning else "") for line, meaning in self.examples]
        return "Examples:\n\n" + "\n\n".join(lines)
