"""Runs an ONNX file as it was given: in ONNX Runtime, else in ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.choice import with_outputs
from fedvm.compiler.frontend.qonnx import with_standard_nodes

TYPES: dict[int, type[np.generic]] = {
    TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16, TensorProto.UINT8: np.uint8,
    TensorProto.INT8: np.int8, TensorProto.INT16: np.int16, TensorProto.UINT16: np.uint16,
    TensorProto.INT32: np.int32, TensorProto.UINT32: np.uint32, TensorProto.INT64: np.int64,
    TensorProto.UINT64: np.uint64, TensorProto.BOOL: np.bool_,
}  # fmt: skip
"""NumPy types of inputs; others are fed as float32."""


def run_rows(
    proto: onnx.ModelProto, names: list[str], source: str, rows: NDArray[Any]
) -> list[list[NDArray[Any]]]:
    """The values called `names` for each of `rows` `[N, *shape of the input source]`, in the input's own type.

    ONNX's reference evaluator runs what ONNX Runtime does not know. ModelError if neither can run the file.
    """
    kind = next(v.type.tensor_type.elem_type for v in proto.graph.input if v.name == source)
    dtype = np.dtype(TYPES.get(kind, np.float32))
    rows = np.rint(rows) if dtype.kind in "iu" else rows
    with np.errstate(
        over="ignore"
    ):  # what is too large for the file's floats becomes infinite, which is looked for
        feeds = [{source: row.astype(dtype)} for row in rows]
    copy = with_outputs(with_standard_nodes(proto), names)
    try:
        session = session_of(copy)
        return [session.run(names, feed) for feed in feeds]
    except Exception as first:  # ONNX Runtime has an exception class of its own for each status
        try:
            evaluator = ReferenceEvaluator(copy)
            return [[np.asarray(value) for value in evaluator.run(names, feed)] for feed in feeds]
        except Exception:
            raise refusal(first) from first


def session_of(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the file as it stands. Raises whatever ONNX Runtime does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])


def refusal(error: Exception) -> ModelError:
    """The error for a file that ONNX Runtime does not run."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return ModelError(f"ONNX Runtime cannot run the model: {line[:300]}")
