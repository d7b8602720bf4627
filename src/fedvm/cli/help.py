"""Help that can be read at any width: in panels, or in plain lines where panels would cut names short."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from typing import Final

import click
from typer.core import TyperCommand, TyperGroup

_NARROW, _LEAST = 72, 20


class _PlainFormatter(click.HelpFormatter):
    """Lines as wide as the terminal, where click's minimum is 50 characters; each name on a line above its meaning."""

    def __init__(self) -> None:
        super().__init__(width=max(_columns(), _LEAST))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 6, col_spacing: int = 2) -> None:
        super().write_dl(rows, col_max, col_spacing)

    def getvalue(self) -> str:
        """The help without the panels' markup."""
        return super().getvalue().replace("\\[", "[").replace("`", "")


class HelpfulCommand(TyperCommand):
    """A command whose help is never cut."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if _fits(super().format_help, self, ctx):
            return super().format_help(ctx, formatter)
        plain = _PlainFormatter()
        click.Command.format_help(self, ctx, plain)
        return formatter.write(plain.getvalue().rstrip("\n"))


_ELSEWHERE: Final = {
    "ask": "fedvm predict",
    "check": "fedvm audit",
    "help": "fedvm --help",
    "init": "fedvm create",
    "list": "fedvm runs",
    "ls": "fedvm runs",
    "status": "fedvm runs, or fedvm doctor",
    "train": "fedvm run",
    "ui": "fedvm web",
    "version": "fedvm --version",
}
"""What commands are called in other tools, and what they are here."""


class HelpfulGroup(TyperGroup):
    """A group of commands whose help is never cut, and which knows what other tools call its commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names."""
        if ctx.parent is None and args[0] in _ELSEWHERE and args[0] not in self.commands:
            raise click.UsageError(f"There is no command {args[0]!r}. Use {_ELSEWHERE[args[0]]}.", ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if _fits(super().format_help, self, ctx):
            return super().format_help(ctx, formatter)
        plain = _PlainFormatter()
        click.Group.format_help(self, ctx, plain)
        return formatter.write(plain.getvalue().rstrip("\n"))


def _fits(
    panels: Callable[[click.Context, click.HelpFormatter], None], command: click.Command, ctx: click.Context
) -> bool:
    """Whether panels show every option's whole name; found out by drawing them."""
    if _columns() < _NARROW:
        return False
    drawn = io.StringIO()
    with redirect_stdout(drawn):
        panels(ctx, ctx.make_formatter())
    options = (one for one in command.get_params(ctx) if isinstance(one, click.Option) and not one.hidden)
    return all(name in drawn.getvalue() for one in options for name in (*one.opts, *one.secondary_opts))


def _columns() -> int:
    return shutil.get_terminal_size().columns
