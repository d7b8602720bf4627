"""Flags of a command that are generated from a run's settings, so that nothing is written twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import click
from typer.core import TyperOption

from fedvm.cli.help import HelpfulCommand

if TYPE_CHECKING:
    from fedvm.settings import Stated

PANELS = {
    "run": "Options",
    "data": "Data",
    "model": "Network and training",
    "network": "The chain",
    "training": "Network and training",
    "federation": "Flower's settings",
    "deployment": "Flower's settings",
    "rules": "Rules the contract enforces",
    "compiler": "Compiler and checks",
    "gate": "Compiler and checks",
    "baseline": "Compiler and checks",
    "evaluation": "Compiler and checks",
}
"""Under which heading of the help the flags of a table stand."""


class SettingsCommand(HelpfulCommand):
    """A command with a flag for every setting that has one; the values given are in `ctx.obj`.

    The flags are made when the command is parsed or asked for help, so that `fedvm --help` reads no settings.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *own, for_help = super().get_params(ctx)
        return [*own, *(option for option, _, _ in _flags()), for_help]

    def invoke(self, ctx: click.Context) -> Any:
        ctx.obj = {}
        for option, key, implied in _flags():
            value = ctx.params.pop(str(option.name), None)
            if value not in (None, ()):
                ctx.obj = {**implied, **ctx.obj, key: str(value) if isinstance(value, Path) else value}
        return super().invoke(ctx)


def _flags() -> list[tuple[TyperOption, str, dict[str, str]]]:
    """For each setting with a flag: the option, the "table.key" it sets, and what it implies."""
    from fedvm.pipeline.config_file import settings_by_key

    flags = []
    for dotted, one in settings_by_key().items():
        table = dotted.partition(".")[0]
        if one.setting.flag:
            implied = {f"{table}.{key}": value for key, value in one.setting.implies}
            flags.append((_option(table, one), dotted, implied))
    return flags


def _option(table: str, one: Stated) -> TyperOption:
    from fedvm.pipeline.reference import default_of

    kind, shown = _type(one)
    values = ", ".join(one.choices) or one.bounds
    says = f"{values}; default: {default_of(one, table)}" if values else f"default: {default_of(one, table)}"
    return TyperOption(
        param_decls=[f"{table}__{one.key}", one.setting.flag],
        type=kind,
        is_flag=kind is click.BOOL,
        multiple=get_origin(one.kind) is tuple,
        default=None,
        metavar=_UNITS.get(one.setting.unit, one.setting.unit).upper() or shown,
        help=f"{one.setting.words} ({says})",
        rich_help_panel=PANELS[table],
    )


_UNITS = {"s": "seconds"}


def _type(one: Stated) -> tuple[click.ParamType[Any], str | None]:
    """How the flag's value is read, and what stands for it in the help. Bounds are checked with the configuration."""
    if one.choices:
        return click.Choice(one.choices), "NAME"
    kinds: dict[Any, tuple[click.ParamType[Any], str | None]] = {
        bool: (click.BOOL, None),
        int: (click.INT, "NUMBER"),
        float: (click.FLOAT, "NUMBER"),
        Path: (click.Path(path_type=Path), "PATH"),
    }
    return kinds.get(one.kind, (click.STRING, "TEXT"))
