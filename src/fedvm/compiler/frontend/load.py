"""Reads an ONNX file as untrusted data: everything that it states is checked before anything is computed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from fedvm.compiler.errors import ModelError

MAX_BYTES = 256 << 20
"""Largest file read; far above what fits a chain."""
MAX_ELEMENTS = 1 << 24
"""Largest tensor, weights and intermediates alike."""
MAX_NODES = 10_000
OPSETS = range(7, 27)
"""Versions of the default operator set whose operators the lowering knows."""

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
INPUT_TYPES = FLOATS | {TensorProto.UINT8}
CONSTANT_TYPES = INPUT_TYPES | {
    TensorProto.INT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32,
    TensorProto.INT64, TensorProto.UINT64, TensorProto.BOOL,
}  # fmt: skip


def load_model(model: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """The model with functions inlined, validated by the ONNX checker and by the limits of this module.

    ModelError if it is unreadable, malformed, too large, cyclic, refers to other files, or has bad weights.
    """
    proto = _parse(model)
    if not proto.graph.node:
        raise ModelError("the model has no nodes; is this an ONNX file of a trained network?")
    _check_opsets(proto)
    _check_tensors(proto)
    if len(proto.graph.node) > MAX_NODES:
        raise ModelError(f"the model has {len(proto.graph.node)} nodes; at most {MAX_NODES} are read")
    try:
        onnx.checker.check_model(proto)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
            onnx.checker.check_model(proto)
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except Exception as error:  # the checkers raise several unrelated classes
        raise ModelError(f"not a valid ONNX model: {_first_line(error)}; export it again") from error
    return proto


def constant_array(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    """Value of a constant tensor; ModelError unless it is whole, finite, numeric and within the limits."""
    name = tensor.name or "of a Constant node"
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelError(
            f"tensor {name} is stored in another file; put the weights into the model with "
            "onnx.save(onnx.load(path), path) or torch.onnx.export(..., external_data=False)"
        )
    if tensor.data_type not in CONSTANT_TYPES:
        raise ModelError(f"tensor {name} has the element type {_type_name(tensor.data_type)}; use float32")
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


def model_input(proto: onnx.ModelProto) -> tuple[str, tuple[int, ...], bool]:
    """Name of the one input, its shape without the batch axis, and whether it holds floating-point numbers.

    ModelError if there are several inputs, or one whose shape or type cannot be compiled.
    """
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"the model has {len(inputs)} inputs ({names}); exactly one is supported")
    value = inputs[0]
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type not in INPUT_TYPES:
        raise ModelError(
            f"input {value.name} has the type {_type_name(kind.elem_type)}; use float32 or uint8"
        )
    if not kind.HasField("shape") or len(kind.shape.dim) < 2:
        raise ModelError(f"input {value.name} needs a shape with a batch axis, such as [N, 3, 32, 32]")
    batch, *rest = kind.shape.dim
    if batch.HasField("dim_value") and batch.dim_value != 1:
        raise ModelError(
            f"input {value.name} has the batch size {batch.dim_value}; export with a batch of 1 or dynamic"
        )
    for axis, dim in enumerate(rest, 1):
        if not dim.HasField("dim_value") or dim.dim_value <= 0:
            raise ModelError(
                f"input {value.name}: axis {axis} is {dim.dim_param or dim.dim_value}; export with a fixed, "
                "positive size (only the batch axis may be dynamic)"
            )
    shape = tuple(dim.dim_value for dim in rest)
    if math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"input {value.name} has the shape {shape}; at most {MAX_ELEMENTS} elements fit")
    return value.name, shape, kind.elem_type in FLOATS


def _parse(model: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    if isinstance(model, bytes):
        data = model
    elif isinstance(model, str | Path):
        data = _read(Path(model))
    else:
        raise ModelError(
            f"the model is a {type(model).__name__}; give a path, the file's bytes, or a ModelProto"
        )
    if not data or len(data) > MAX_BYTES:
        raise ModelError(f"the model has {len(data)} bytes; expected 1 to {MAX_BYTES}")
    try:
        return onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ModelError("not an ONNX file, or cut off; download or export it again") from error


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ModelError(f"there is no file {path}")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path.name} is larger than {MAX_BYTES} bytes; no such model fits a chain")
        return path.read_bytes()
    except OSError as error:  # no right to read it, or no name that a file can have
        raise ModelError(
            f"{str(path)[:100]} cannot be read ({error.strerror}); give the path of an ONNX file"
        ) from error


def _check_opsets(proto: onnx.ModelProto) -> None:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1:
        raise ModelError(
            "the model imports no default operator set (domain ''); export it again as standard ONNX"
        )
    if versions[0] not in OPSETS:
        raise ModelError(
            f"the model uses opset {versions[0]}; "
            f"export with one of {OPSETS.start}..{OPSETS.stop - 1}, such as 17"
        )


def _check_tensors(proto: onnx.ModelProto) -> None:
    if proto.graph.sparse_initializer:
        raise ModelError("the model has sparse weights; export it with dense ones")
    for tensor in proto.graph.initializer:
        if 0 in tensor.dims:
            # Optional inputs may be empty. If a layer needs one, lowering fails and names the layer.
            continue
        constant_array(tensor)


def _type_name(kind: int) -> str:
    return TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"type {kind}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
