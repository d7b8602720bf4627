"""Operators that make columns of single features: they are carried out when a row is encoded, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedvm.compiler.columns import Cell, Column, Row
from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Text
from fedvm.compiler.frontend.tabular.deferred import Place
from fedvm.compiler.graph import FloatArray


def one_hot(row: Row, value: Affine | Text | Place, given: dict[str, Any]) -> Affine:
    """OneHotEncoder: a column for each category of each feature, or for each place in a row of steps."""
    categories: list[Cell] = list(given.get("cats_strings") or given.get("cats_int64s") or [])
    if isinstance(value, Place):
        steps = _steps(row, value.of)
        if categories != list(range(steps.size)):
            raise UnsupportedOperator("categories of another number of bins have no kernel")
        return steps.times(np.eye(steps.size) - np.eye(steps.size, k=-1))
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


def are_features(row: Row, value: Affine) -> bool:
    """Whether every element is a function of one column that is encoded as a number or as 0 and 1."""
    if value.root != ROW:
        return False
    used = value.weight != 0
    kinds = {row.columns[c].kind for c in np.flatnonzero(used.any(axis=0))}
    return bool((used.sum(axis=1) == 1).all()) and kinds <= {"number", "above", "is"}


def compared(row: Row, value: Affine, edges: FloatArray, op: str) -> Affine:
    """Greater, GreaterOrEqual, Less or LessOrEqual of features and constants `[K]`: 1 where it holds, else 0."""
    made: list[tuple[int, float]] = []  # column, and whether its truth is turned round
    for element, edge in enumerate(edges):
        column = int(np.flatnonzero(value.weight[element])[0])
        scale, offset = float(value.weight[element, column]), float(value.bias[element])
        base = row.columns[column]
        if base.kind != "number":
            at = [bool(_holds(np.array(offset + scale * v), edge, op)) for v in (0, 1)]
            made.append((column if at[0] != at[1] else -1, float(at[0])))
            continue
        greater, within = op.startswith("Greater"), op.endswith("OrEqual")
        # `>` leaves the edge out, and so does what is not `<=`; below it for `>=` and `<`
        above = _threshold(
            (edge - offset) / scale, (greater == within) == (scale > 0), (scale, offset) == (1, 0)
        )
        fresh = Column(base.feature, "above", threshold=above, missing=base.missing, marker=base.marker)
        made.append((row.add(fresh), float(greater != (scale > 0))))
    matrix, bias = np.zeros((len(made), len(row.columns))), np.zeros(len(made))
    for element, (column, turned) in enumerate(made):
        bias[element] = turned
        if column >= 0:
            matrix[element, column] = 1.0 - 2.0 * turned
    return Affine.of(ROW, matrix, bias)


def _holds(number: Any, edge: float, op: str) -> Any:
    tests = {"Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less}
    return tests.get(op, np.less_equal)(number, edge)


def _threshold(edge: float, with_edge: bool, as_given: bool) -> float:
    """What a number exceeds if it exceeds the edge, or with it equals it. The file compares float32: half a step of
    these away if the feature is compared as it is given."""
    if not as_given:
        return float(np.nextafter(edge, -np.inf)) if with_edge else edge
    single = np.float32(edge)
    other = np.nextafter(single, np.float32(-np.inf if with_edge else np.inf))
    return (float(single) + float(other)) / 2


def place(row: Row, steps: Affine) -> Affine:
    """The position of the first step of a row that is 1: how many are 0."""
    found = _steps(row, steps)
    return found.times(np.full((1, found.size), -1.0), float(found.size))


def _steps(row: Row, value: Affine) -> Affine:
    """Numbers that are 0 up to a place and 1 from there on: a feature below rising edges, and 1 at last. Raises
    UnsupportedOperator for others."""
    known = value.root == ROW and are_features(row, value.chosen(np.arange(value.size - 1)))
    edges: list[tuple[int, float]] = []
    for element in range(value.size - 1 if known else 0):
        column = int(np.flatnonzero(value.weight[element])[0])
        base = row.columns[column]
        if base.kind == "above" and value.weight[element, column] == -1 and value.bias[element] == 1:
            edges.append((base.feature, base.threshold))
    last = known and not value.weight[-1].any() and value.bias[-1] == 1
    one_feature = len({feature for feature, _ in edges}) <= 1
    if not last or len(edges) != value.size - 1 or not one_feature or edges != sorted(edges):
        raise UnsupportedOperator("the place of the largest is understood for bins of one feature only")
    return value


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
    return Affine.of(ROW, matrix, np.array(bias))


def _columns(row: Row, made: list[Column]) -> Affine:
    positions = [row.add(column) for column in made]
    matrix = np.zeros((len(positions), len(row.columns)))
    matrix[np.arange(len(positions)), positions] = 1.0
    return Affine.of(ROW, matrix, np.zeros(len(positions)))


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
