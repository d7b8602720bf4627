"""How settings are defined: each once, as a field with its explanation. Every package may use this module.

A table of settings is a class decorated with `settings`, in the package whose settings they are. Its fields are
`name: Annotated[type, Setting("what it means")] = default`. From them come the checks of a configuration file, the
flags of the command line with their help, the reference (docs/configuration.md), and what a resumed run may change.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import annotated_types
import pydantic.dataclasses
from pydantic import ConfigDict

Table = TypeVar("Table")


class OnResume(StrEnum):
    """Whether a resumed run may change a setting, which is possible if results that exist already do not depend on
    it."""

    KEPT = "no"
    FREE = "yes"
    GROWS = "only upwards"


@dataclass(frozen=True)
class Setting(annotated_types.GroupedMetadata):
    """Everything about a setting besides its type and default. words: what it means, without a full stop at the end.
    unit: of the value, "" for none. unset: what applies if the default is None. flag: of `fedvm run`, "" for none
    (`--set table.key=value` reaches every setting). implies: settings of other keys of the table that the flag brings
    along. on_resume: whether a resumed run may change it. ge, gt, le, lt: bounds, as pydantic checks them.
    """

    words: str
    unit: str = ""
    unset: str = ""
    flag: str = ""
    implies: tuple[tuple[str, str], ...] = ()
    on_resume: OnResume = OnResume.KEPT
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __iter__(self) -> Iterator[object]:
        for bound in (annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt):
            value = getattr(self, bound.__name__.lower())
            if value is not None:
                yield bound(value)


@dataclass_transform(frozen_default=True)
def settings(table: type[Table]) -> type[Table]:
    """A table of settings: frozen, checked, without keys that it does not know."""
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return cast(type[Table], pydantic.dataclasses.dataclass(table, frozen=True, config=config))


@dataclass(frozen=True)
class Stated:
    """A setting as its field states it. kind: the type of a value that is given, without None."""

    key: str
    setting: Setting
    kind: Any
    default: Any

    @property
    def choices(self) -> tuple[str, ...]:
        """The values it can have, empty if it is not a choice."""
        if get_origin(self.kind) is Literal:
            return tuple(str(name) for name in get_args(self.kind))
        is_choice = isinstance(self.kind, type) and issubclass(self.kind, StrEnum)
        return tuple(name.value for name in self.kind) if is_choice else ()

    @property
    def bounds(self) -> str:
        """The bounds of a number, in words; "" if there are none."""
        return _bounds(self.setting)

    @property
    def values(self) -> str:
        """The values it accepts, in words: the choices, or the kind and its bounds."""
        if self.choices:
            return ", ".join(self.choices)
        kind = _KINDS.get(self.kind) or _structure(self.kind)
        return f"{kind} {self.bounds}".rstrip()


_KINDS = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path"}


def stated(table: type[Any]) -> tuple[Stated, ...]:
    """The settings of a table, in the order of its fields.

    Raises:
        TypeError: a field has no `Setting`.
    """
    hints = get_type_hints(table, include_extras=True)
    return tuple(
        _stated(table, field, hints[field.name])
        for field in dataclasses.fields(table)
        if not dataclasses.is_dataclass(_bare(hints[field.name]))
    )


def tables(config: type[Any]) -> dict[str, type[Any]]:
    """The tables of a configuration, by the names of their fields."""
    hints = get_type_hints(config, include_extras=True)
    bare = {name: _bare(hint) for name, hint in hints.items()}
    return {name: kind for name, kind in bare.items() if hasattr(kind, "__dataclass_fields__")}


def explained(table: type[Any]) -> str:
    """The explanation of a table from its class's docstring, without `Raises:`."""
    return (inspect.getdoc(table) or "").partition("\n\nRaises:")[0]


def _stated(table: type[Any], field: dataclasses.Field[Any], hint: Any) -> Stated:
    found = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Setting)]
    if not found:
        raise TypeError(f"{table.__name__}.{field.name} has no Setting: say in words what it means")
    return Stated(field.name, found[0], _bare(hint), _default(field))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _bare(hint: Any) -> Any:
    """The type without its metadata and without None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    return hint


def _structure(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is tuple and get_origin(parts[0]) is Literal:
        return f"list of {', '.join(get_args(parts[0]))}"
    if origin is tuple:
        return f"list of {_KINDS.get(parts[0], 'texts')}s"
    if origin is dict:
        return f"table of {_KINDS.get(parts[0], 'text')} = one of {', '.join(parts[1])}"
    return str(kind)


def _bounds(setting: Setting) -> str:
    low, high = setting.ge, setting.le
    lower = (
        f"≥ {_number(low)}"
        if low is not None
        else f"> {_number(setting.gt)}"
        if setting.gt is not None
        else ""
    )
    upper = (
        f"≤ {_number(high)}"
        if high is not None
        else f"< {_number(setting.lt)}"
        if setting.lt is not None
        else ""
    )
    return ", ".join(filter(None, (lower, upper)))


def _number(value: float | None) -> str:
    """A bound as people write it: 2^32 rather than ten digits."""
    if isinstance(value, int) and value > 100_000 and value & (value - 1) == 0:
        return f"2^{value.bit_length() - 1}"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
