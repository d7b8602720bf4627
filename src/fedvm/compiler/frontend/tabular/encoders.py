"""Operators that make columns of single features: they are carried out when a row is encoded, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedvm.compiler.columns import Cell, Column, Row
from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Text


def one_hot(row: Row, value: Affine | Text, given: dict[str, Any]) -> Affine:
    """OneHotEncoder: a column for each category of each feature."""
    categories: list[Cell] = list(given.get("cats_strings") or given.get("cats_int64s") or [])
    features = [_feature(row, value, i) for i in range(value.size)]
    made = [Column(f, "is", category=c) for f in features for c in categories]
    return _columns(row, made)


def label_encoder(row: Row, value: Affine | Text, given: dict[str, Any]) -> Affine:
    """LabelEncoder: a number for each key."""
    keys = next((given[k] for k in ("keys_strings", "keys_int64s", "keys_floats") if given.get(k)), None)
    values = next((given[k] for k in ("values_int64s", "values_floats") if given.get(k)), None)
    if keys is None or values is None:
        if given.get("classes_strings") and isinstance(value, Text):
            keys, values = given["classes_strings"], range(len(given["classes_strings"]))
        else:
            raise UnsupportedOperator("only tables from text or numbers to numbers have a kernel")
    integers = bool(given.get("values_int64s")) or bool(given.get("classes_strings"))
    default = float(given.get("default_int64", -1) if integers else given.get("default_float", 0.0))
    if not np.isfinite(default):
        default = -1.0
    table = tuple((key, float(v)) for key, v in zip(keys, values, strict=True))
    made = [Column(_feature(row, value, i), "map", table=table, default=default) for i in range(value.size)]
    return _columns(row, made)


def binarizer(row: Row, value: Affine | Text, given: dict[str, Any]) -> Affine:
    """Binarizer: 1 above the threshold, else 0."""
    threshold = float(given.get("threshold", 0.0))
    made = []
    for i in range(value.size):
        scale, offset, column = _scaled(row, value, i)
        if scale < 0:
            raise UnsupportedOperator("a threshold on a negated column has no kernel")
        base = row.columns[column]
        made.append(
            Column(
                base.feature, "above", threshold=(threshold - offset) / scale, missing=base.missing,
                marker=base.marker,
            )
        )  # fmt: skip
    return _columns(row, made)


def imputer(row: Row, value: Affine | Text, given: dict[str, Any]) -> Affine:
    """Imputer: what stands for a missing value."""
    fills = given.get("imputed_value_floats") or given.get("imputed_value_int64s")
    if not fills:
        raise UnsupportedOperator("it names no values to fill in")
    marker = given.get("replaced_value_float", given.get("replaced_value_int64"))
    fills = list(fills) * (value.size if len(fills) == 1 else 1)
    weights, bias = [], []
    for i, fill in enumerate(fills):
        scale, offset, column = _scaled(row, value, i)
        base = row.columns[column]
        is_nan = marker is None or np.isnan(marker)
        if not base.plain or not (is_nan or (scale, offset) == (1.0, 0.0)):
            raise UnsupportedOperator("only features as they are can be filled in")
        made = Column(
            base.feature,
            missing=(float(fill) - offset) / scale,
            marker=None if marker is None or is_nan else float(marker),
        )
        position = row.add(made)
        weights.append((position, scale))
        bias.append(offset)
    matrix = np.zeros((len(weights), len(row.columns)))
    for i, (position, scale) in enumerate(weights):
        matrix[i, position] = scale
    return Affine(ROW, matrix, np.array(bias))


def _columns(row: Row, made: list[Column]) -> Affine:
    positions = [row.add(column) for column in made]
    matrix = np.zeros((len(positions), len(row.columns)))
    matrix[np.arange(len(positions)), positions] = 1.0
    return Affine(ROW, matrix, np.zeros(len(positions)))


def _scaled(row: Row, value: Affine | Text, element: int) -> tuple[float, float, int]:
    """(scale, offset, column) of an element that depends on one numeric column."""
    if isinstance(value, Text):
        raise UnsupportedOperator("text is no number")
    used = np.flatnonzero(value.weight[element])
    if len(used) != 1 or row.columns[used[0]].kind != "number":
        raise UnsupportedOperator("it is understood for single features only")
    return float(value.weight[element, used[0]]), float(value.bias[element]), int(used[0])


def _feature(row: Row, value: Affine | Text, element: int) -> int:
    """The feature that an element is."""
    if isinstance(value, Text):
        return value.features[element]
    source = value.sources()[element]
    if source < 0 or not row.columns[source].plain:
        raise UnsupportedOperator("categories are understood of features as they are only")
    return row.columns[source].feature
