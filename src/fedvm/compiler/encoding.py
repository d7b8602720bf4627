"""What is sent to a program of a tabular model: the bytes for rows of numbers and categories.

`manifest["input"]["row"]` says how: the features of a row by name, and the columns made of them. Each column is sent as
a byte that divides its range (a network), or as its rank among the thresholds of the trees, in one byte or two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.columns import Column, Feature, encode
from fedvm.compiler.forest.integer import Slot, encode_slots
from fedvm.compiler.graph import FloatArray

PRECISIONS: dict[str, type[np.float32] | type[np.float64]] = {"float32": np.float32, "float64": np.float64}


def row_of_network(
    features: Sequence[Feature], columns: Sequence[Column], scale: Sequence[float], offset: Sequence[float]
) -> dict[str, Any]:
    """`manifest["input"]["row"]` of a network. scale, offset: of each column's byte."""
    rows = [
        column.manifest() | {"scale": s, "offset": o, "low": o, "high": o + 255 * s}
        for column, s, o in zip(columns, scale, offset, strict=True)
    ]
    return {"features": _features(features, columns), "columns": rows}


def row_of_forest(
    features: Sequence[Feature], columns: Sequence[Column], slots: Sequence[Slot], size: int, precision: str
) -> dict[str, Any]:
    """`manifest["input"]["row"]` of an ensemble of trees. precision: of the numbers that are compared."""
    rows = [
        columns[slot.column].manifest()
        | {"at": slot.at, "bytes": slot.bytes, "cuts": list(slot.cuts or ()), "missing_rank": slot.missing}
        for slot in slots
    ]
    return {
        "features": _features(features, columns),
        "columns": rows,
        "bytes": size,
        "precision": precision,
    }


def _features(features: Sequence[Feature], columns: Sequence[Column]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, feature in enumerate(features):
        own = [column for column in columns if column.feature == number]
        known = [column.category for column in own if column.kind == "is"]
        known += [key for column in own if column.kind == "map" for key, _ in column.table]
        row: dict[str, Any] = {"name": feature.name, "kind": "text" if feature.text else "number"}
        rows.append(row | ({"categories": list(dict.fromkeys(known))} if known else {}))
    return rows


def encode_rows(row: Mapping[str, Any], rows: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes, uint8 `[N, bytes]`, of rows `[N, features]`, by a manifest's description of them.

    Raises ValueError, naming the feature, for cells that are not what the feature holds, and for missing ones that
    nothing stands for.
    """
    features = [Feature(f["name"], f["kind"] == "text") for f in row["features"]]
    columns = [Column.from_manifest(c) for c in row["columns"]]
    forest = "precision" in row
    real = encode(features, columns, rows, missing=forest)
    if not forest:
        scale, offset = (
            np.array([c[name] for c in row["columns"]], np.float64) for name in ("scale", "offset")
        )
        return _bytes_of(real, scale, offset)
    slots = tuple(
        Slot(number, c["at"], c["bytes"], tuple(c["cuts"]), c["missing_rank"])
        for number, c in enumerate(row["columns"])
    )
    for slot, column in zip(slots, columns, strict=True):
        if slot.missing is None and np.isnan(real[:, slot.column]).any():
            raise ValueError(f"feature {features[column.feature].name} is missing in a row; fill it in")
    return encode_slots(slots, int(row["bytes"]), real, PRECISIONS[row["precision"]])


def _bytes_of(real: FloatArray, scale: FloatArray, offset: FloatArray) -> NDArray[np.uint8]:
    nearest: NDArray[np.uint8] = np.clip(np.rint((real - offset) / scale), 0, 255).astype(np.uint8)
    return nearest
