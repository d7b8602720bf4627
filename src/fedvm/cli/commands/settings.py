"""`fedvm settings`: what every key of a run's file means."""

from __future__ import annotations

from typing import Annotated

import typer

from fedvm.cli.commands.command import Command


def settings(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="Only these, e.g. rules gate.")
    ] = None,
) -> None:
    """Print the settings of a run as Markdown: meaning, values, default, flag, and whether --resume may change them."""
    from fedvm.pipeline.reference import reference

    print(reference(tables or ()), end="")


COMMAND = Command(
    "settings",
    settings,
    (("fedvm settings rules security", "two tables"), ("fedvm settings > settings.md", "all of them")),
)
