"""Reads an ONNX file as untrusted data: everything that it states is checked before anything is computed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.bundle import self_contained
from fedvm.compiler.frontend.opset import modernised

MAX_ELEMENTS = 1 << 24
"""Largest tensor, weights and intermediates alike."""
MAX_NODES = 10_000
OPSETS = range(1, 27)
"""Versions of the default operator set that are read."""

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
INPUT_TYPES = FLOATS | {TensorProto.UINT8, TensorProto.INT8}
CONSTANT_TYPES = INPUT_TYPES | {
    TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32,
    TensorProto.INT64, TensorProto.UINT64, TensorProto.BOOL,
}  # fmt: skip


def load_model(model: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """The model with functions inlined, validated by the ONNX checker and by the limits of this module.

    ModelError if it is unreadable, malformed, too large or cyclic, reads files outside its folder, or has bad weights.
    """
    proto = onnx.load_model_from_string(self_contained(model))
    if not proto.graph.node:
        raise ModelError("the model has no nodes; is this an ONNX file of a trained network?")
    _check_opsets(proto)
    _import_domains(proto)
    _check_tensors(proto)
    if len(proto.graph.node) > MAX_NODES:
        raise ModelError(f"the model has {len(proto.graph.node)} nodes; at most {MAX_NODES} are read")
    try:
        onnx.checker.check_model(proto)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
            onnx.checker.check_model(proto)
        if (newer := modernised(proto)) is not proto:
            proto = newer
            onnx.checker.check_model(proto)
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except ModelError:
        raise
    except Exception as error:  # the checkers raise several unrelated classes
        raise ModelError(f"not a valid ONNX model: {_first_line(error)}; export it again") from error
    return proto


def constant_array(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    """Value of a constant tensor; ModelError unless it is whole, finite, numeric and within the limits."""
    name = tensor.name or "of a Constant node"
    if tensor.data_type not in CONSTANT_TYPES:
        raise ModelError(f"tensor {name} has the element type {type_name(tensor.data_type)}; use float32")
    if any(d < 0 for d in tensor.dims) or math.prod(tensor.dims) > MAX_ELEMENTS:
        raise ModelError(
            f"tensor {name} has the shape {list(tensor.dims)}; at most {MAX_ELEMENTS} elements fit"
        )
    try:
        array: NDArray[np.generic] = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(f"tensor {name} is damaged: {_first_line(error)}; export the model again") from error
    if tensor.data_type in FLOATS:
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            raise ModelError(
                f"tensor {name} holds NaN or infinity; train the model again or repair its weights"
            )
    return array


def _check_opsets(proto: onnx.ModelProto) -> None:
    domains = {entry.domain for entry in proto.opset_import}
    versions = list({entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")})
    if not versions and "ai.onnx.ml" in domains:
        return  # a tabular model with operators of this domain alone
    if len(versions) != 1:
        raise ModelError(
            "the model imports no default operator set (domain ''); export it again as standard ONNX"
        )
    if versions[0] not in OPSETS:
        raise ModelError(
            f"the model uses opset {versions[0]}; "
            f"export with one of {OPSETS.start}..{OPSETS.stop - 1}, such as 17"
        )


def _import_domains(proto: onnx.ModelProto) -> None:
    """Import the domains of custom operators that exporters forget; what has no kernel is refused by name later."""
    imported = {entry.domain for entry in proto.opset_import} | {"ai.onnx"}
    for domain in sorted({node.domain for node in proto.graph.node} - imported):
        proto.opset_import.add(domain=domain, version=1)


def _check_tensors(proto: onnx.ModelProto) -> None:
    if proto.graph.sparse_initializer:
        raise ModelError("the model has sparse weights; export it with dense ones")
    for tensor in proto.graph.initializer:
        if 0 in tensor.dims:
            # Optional inputs may be empty. If a layer needs one, lowering fails and names the layer.
            continue
        if tensor.data_type == TensorProto.STRING and tensor.data_location != TensorProto.EXTERNAL:
            continue  # names of classes
        constant_array(tensor)


def type_name(kind: int) -> str:
    """The name of an ONNX element type."""
    return TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"type {kind}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
