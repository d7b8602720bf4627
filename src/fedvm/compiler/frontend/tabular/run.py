"""Runs the file of a tabular model in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from fedvm.compiler.frontend.choice import inputs_of, with_outputs
from fedvm.compiler.frontend.runner import TYPES, refusal, session_of


class FileRunner:
    """Some values of a file as a function of rows."""

    def __init__(self, proto: onnx.ModelProto, names: list[str]) -> None:
        """names: of the values. Raises ModelError if ONNX Runtime cannot read the file."""
        copy = with_outputs(proto, names)
        for value in copy.graph.input:  # any number of rows at once
            if value.type.tensor_type.shape.dim:
                value.type.tensor_type.shape.dim[0].dim_param = "N"
        self._proto, self._names = proto, names
        try:
            self._session = session_of(copy)
        except Exception as error:  # ONNX Runtime has an exception class of its own for each status
            raise refusal(error) from error

    def run(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        """The values for rows `[N, features]`. Raises ModelError if ONNX Runtime cannot compute them."""
        try:
            return [np.asarray(v) for v in self._session.run(self._names, _feeds(self._proto, rows))]
        except Exception as error:
            raise refusal(error) from error


def run_rows(proto: onnx.ModelProto, names: list[str], rows: NDArray[Any]) -> list[NDArray[Any]]:
    """The values called `names` for rows `[N, features]`. Raises ModelError if ONNX Runtime cannot run the file."""
    return FileRunner(proto, names).run(rows)


def precision_of(proto: onnx.ModelProto) -> type[np.float32] | type[np.float64]:
    """The floating-point type in which the file's input holds numbers exactly."""
    kinds = {value.type.tensor_type.elem_type for value in inputs_of(proto.graph)}
    return np.float32 if kinds <= {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.STRING} else np.float64


def _feeds(proto: onnx.ModelProto, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    feeds, start = {}, 0
    for value in inputs_of(proto.graph):
        kind = value.type.tensor_type
        width = kind.shape.dim[1].dim_value
        part = rows[:, start : start + width]
        start += width
        if kind.elem_type == TensorProto.STRING:
            feeds[value.name] = np.array([[str(cell) for cell in row] for row in part], object)
            continue
        numbers = part.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            feeds[value.name] = numbers.astype(TYPES.get(kind.elem_type, np.float32))
    return feeds
