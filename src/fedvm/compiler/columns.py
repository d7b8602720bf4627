"""How a row of a table becomes the numbers that a model computes with: numbers, categories, and what is missing.

Whoever asks the program does this outside the contract. It is exact: a category is one of a list, and a number is
passed on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.errors import ModelError

Cell: TypeAlias = float | int | str


@dataclass(frozen=True)
class Feature:
    """One feature of a row as its owner knows it. text: its values are strings, not numbers."""

    name: str
    text: bool = False


@dataclass(frozen=True)
class Column:
    """One number that the model computes with, a function of one feature.

    feature: its position in the row. kind: "number", the value itself; "is", 1 for the value `category`, else 0;
    "map", the entry of `table` for the value, `default` for any other; "above", 1 above `threshold`, else 0.
    missing: what stands for a value that is missing (NaN), None if none may be; marker: a number that means the same.
    """

    feature: int
    kind: Literal["number", "is", "map", "above"] = "number"
    category: Cell = 0
    table: tuple[tuple[Cell, float], ...] = ()
    default: float = 0.0
    threshold: float = 0.0
    missing: float | None = None
    marker: float | None = None

    @property
    def plain(self) -> bool:
        """Whether it is the feature's value and nothing else."""
        return self.kind == "number" and self.missing is None

    def encode(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The column for values `[N]`: float64 `[N]`, NaN where a value is missing and nothing stands for it."""
        if self.kind == "is":
            return np.array([_same(value, self.category) for value in values], np.float64)
        if self.kind == "map":
            known = {_key(key): value for key, value in self.table}
            return np.array([known.get(_key(value), self.default) for value in values], np.float64)
        numbers = values.astype(np.float64)
        if self.missing is not None:
            absent = np.isnan(numbers) if self.marker is None else numbers == self.marker
            numbers = np.where(absent, self.missing, numbers)
        if self.kind == "above":
            return (numbers > self.threshold).astype(np.float64)
        return numbers

    def manifest(self) -> dict[str, Any]:
        """Plain data for JSON."""
        row: dict[str, Any] = {"feature": self.feature, "kind": self.kind}
        if self.kind == "is":
            row["category"] = self.category
        if self.kind == "map":
            row["table"] = [list(entry) for entry in self.table]
            row["default"] = self.default
        if self.kind == "above":
            row["threshold"] = self.threshold
        if self.missing is not None:
            row |= {"missing": self.missing, "marker": self.marker}
        return row

    @classmethod
    def from_manifest(cls, row: Mapping[str, Any]) -> Column:
        """Inverse of `manifest`."""
        missing, marker = row.get("missing"), row.get("marker")
        return cls(
            feature=int(row["feature"]),
            kind=row["kind"],
            category=row.get("category", 0),
            table=tuple((key, float(value)) for key, value in row.get("table", ())),
            default=float(row.get("default", 0.0)),
            threshold=float(row.get("threshold", 0.0)),
            missing=None if missing is None else float(missing),
            marker=None if marker is None else float(marker),
        )


def _key(value: Any) -> Cell:
    """A value as it is compared: text as it stands, numbers as float32 as in the file."""
    return str(value) if isinstance(value, str) else float(np.float32(value))


def _same(value: Any, category: Cell) -> bool:
    return _key(value) == _key(category)


@dataclass
class Row:
    """The row that a file takes, and the columns made of it; columns are added while the file is read."""

    features: tuple[Feature, ...]
    columns: list[Column] = field(default_factory=list)

    def add(self, column: Column) -> int:
        """The position of a column, which is new unless it is known."""
        if column in self.columns:
            return self.columns.index(column)
        self.columns.append(column)
        return len(self.columns) - 1


def encode(
    features: Sequence[Feature], columns: Sequence[Column], rows: NDArray[Any], *, missing: bool = False
) -> NDArray[np.float64]:
    """The columns `[N, columns]` of rows `[N, features]`, an array of numbers or of objects (text among numbers).

    missing: NaN may be left in the columns. Raises ModelError for rows of another width, and for cells that are no
    numbers, or missing, where the model needs a number.
    """
    if rows.ndim != 2 or rows.shape[1] != len(features):
        names = ", ".join(feature.name for feature in features[:8])
        raise ModelError(
            f"the rows have the shape {list(rows.shape)}; give [N, {len(features)}]: {names}"
            + (", …" if len(features) > 8 else "")
        )
    result = np.empty((len(rows), len(columns)), np.float64)
    for position, column in enumerate(columns):
        feature = features[column.feature]
        try:
            values = column.encode(rows[:, column.feature])
        except (TypeError, ValueError):
            raise ModelError(f"feature {feature.name} holds something that is no number") from None
        if not missing and not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ModelError(
                f"row {row}: feature {feature.name} is missing or infinite, and the model has nothing that stands for "
                "it; fill it in"
            )
        result[:, position] = values
    return result
