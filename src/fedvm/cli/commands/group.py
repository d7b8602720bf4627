"""A group of commands, as the application lists them."""

from __future__ import annotations

import typer

from fedvm.cli.help import HelpfulGroup


def command_group(words: str) -> typer.Typer:
    """An empty group whose help begins with these words."""
    return typer.Typer(
        no_args_is_help=True,
        cls=HelpfulGroup,
        suggest_commands=False,
        rich_markup_mode="markdown",
        help=words,
    )
