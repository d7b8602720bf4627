"""The reference of a run's settings as Markdown: docs/configuration.md, and what `fedvm settings` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fedvm.learning.settings import Recipe
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.errors import UsageError
from fedvm.settings import Stated, explained, stated, tables

_HEAD = """# Configuration of a run

`fedvm run FILE` reads a TOML file with these tables and keys. Every key can be left out. A flag of `fedvm run`
overrides the file; keys without a flag of their own are overridden with `--set table.key=value`. This page is generated
from the code by `fedvm settings > docs/configuration.md`.

The column "resume" says whether `fedvm run --resume` may change a setting. A change of the other settings would
contradict results that exist already, so a resumed run keeps the values that it began with.
"""


def reference(names: Iterable[str] = ()) -> str:
    """The page; with `names` the sections of those tables alone.

    Raises:
        UsageError: there is no such table.
    """
    found: dict[str, type[Any] | Stated] = {
        **tables(RunConfig),
        **{one.key: one for one in stated(RunConfig)},
    }
    wanted = list(names)
    for name in wanted:
        if name not in found:
            raise UsageError(f"there is no table [{name}]. The tables are: {', '.join(found)}")
    if wanted:
        return "\n".join(_section(name, found[name]) for name in wanted)
    return "\n".join([_HEAD, *(_section(name, table) for name, table in found.items())])


def default_of(one: Stated, table: str) -> str:
    """The default as a person reads it."""
    if one.default is None or one.default == ():
        return one.setting.unset or "none"
    if table == "training" and one.key in Recipe.__dataclass_fields__:
        return f"the recipe's, else {_shown(one.default)}"
    return _shown(one.default)


def _section(name: str, table: type[Any] | Stated) -> str:
    if isinstance(table, Stated):
        values = table.values[0].upper() + table.values[1:]
        return "\n".join([f"## [{name}]", f"{table.setting.words}. {values}.", ""])
    return "\n".join([f"## [{name}]", explained(table), "", *_rows(name, table), ""])


def _rows(name: str, table: type[Any]) -> Iterator[str]:
    yield "| key | meaning | value | default | flag | resume |"
    yield "|---|---|---|---|---|---|"
    for one in stated(table):
        setting = one.setting
        unit = f", in {_UNITS.get(setting.unit, setting.unit)}" if setting.unit else ""
        flag = f"`{setting.flag}`" if setting.flag else ""
        words, resume = setting.words, setting.on_resume
        cells = (f"`{one.key}`", words, one.values + unit, default_of(one, name), flag, resume)
        yield "| " + " | ".join(cells) + " |"


_UNITS = {"s": "seconds"}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= 10**14 and len(digits := str(value).rstrip("0")) == 1:
        power = f"10^{len(str(value)) - 1}"
        return power if digits == "1" else f"{digits} · {power}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
