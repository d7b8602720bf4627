"""Constant folding: nodes whose inputs are all known are computed here, with their size checked
beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.attributes import attributes_of
from fedvm.compiler.frontend.load import MAX_ELEMENTS, constant_array

Array = NDArray[Any]

ELEMENTWISE = {
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Equal", "Exp", "Floor", "Greater", "Less", "Log",
    "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Sqrt", "Sub", "Where",
    "DequantizeLinear", "QuantizeLinear",
}  # fmt: skip
RESHAPING = {
    "Concat", "Flatten", "Gather", "Identity", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
SHAPED_BY_VALUE = {"ConstantOfShape", "Expand", "Range", "Tile"}
FOLDABLE = ELEMENTWISE | RESHAPING | SHAPED_BY_VALUE | {"Constant", "Size", "Shape"}


def fold(node: onnx.NodeProto, inputs: list[Array | None], opset: int) -> list[Array]:
    """Outputs of a foldable node with known inputs; floating-point results are float64.

    Raises ModelError if the result would be too large, cannot be computed, or is not finite.
    """
    if node.op_type == "Constant":
        return [_constant(node)]
    if _result_size(node, inputs) > MAX_ELEMENTS:
        raise ModelError(f"node {node.name or node.op_type} makes a constant of over {MAX_ELEMENTS} elements")
    if node.op_type == "QuantizeLinear":
        return [_quantized(node, inputs)]
    if node.op_type == "DequantizeLinear":
        return [_checked(node, _dequantized(node, inputs))]
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    single = onnx.NodeProto()
    single.CopyFrom(node)
    del single.input[:], single.output[:]
    single.input.extend(names)
    outputs = [f"y{i}" for i in range(len(node.output))]
    single.output.extend(outputs)
    graph = helper.make_graph(
        [single],
        "fold",
        [helper.make_empty_tensor_value_info(name) for name in names if name],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    try:
        results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:
        raise ModelError(
            f"node {node.name or node.op_type} ({node.op_type}) cannot be computed: {error}"
        ) from error
    return [_checked(node, np.asarray(value)) for value in results]


def _constant(node: onnx.NodeProto) -> Array:
    for attribute in node.attribute:
        if attribute.name == "value":
            return constant_array(attribute.t)
        if attribute.name in ("value_float", "value_floats"):
            return _checked(node, np.asarray(helper.get_attribute_value(attribute), np.float64))
        if attribute.name in ("value_int", "value_ints"):
            return np.asarray(helper.get_attribute_value(attribute), np.int64)
    raise ModelError(f"node {node.name or 'Constant'} holds no numeric value")


def _dequantized(node: onnx.NodeProto, inputs: list[Array | None]) -> Array:
    """`(x − zero) · scale`, per tensor or per axis (ONNX Runtime's reference evaluator has newer opsets
    only)."""
    x, scale = inputs[0], inputs[1]
    if x is None or scale is None:
        raise ModelError(f"node {node.name or node.op_type} lacks an input")
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros_like(scale)
    attributes = attributes_of(node)
    if attributes.get("block_size", 0):
        raise ModelError(f"node {node.name or node.op_type}: blocked quantization is not supported")
    if scale.size > 1:
        shape = [1] * x.ndim
        axis = attributes.get("axis", 1)
        if scale.ndim != 1 or not -x.ndim <= axis < x.ndim or x.shape[axis] != scale.size:
            raise ModelError(f"node {node.name or node.op_type}: the scale does not fit the tensor")
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((x.astype(np.float64) - zero.astype(np.float64)) * scale.astype(np.float64))


def _quantized(node: onnx.NodeProto, inputs: list[Array | None]) -> Array:
    """`x / scale + zero` in float32, as ONNX Runtime computes it, to the nearest integer (halves to even)."""
    x, scale = inputs[0], inputs[1]
    zero = inputs[2] if len(inputs) > 2 else None
    attributes = attributes_of(node)
    if x is None or scale is None or attributes.get("block_size", 0):
        raise ModelError(f"node {node.name or node.op_type}: this form of quantization is not supported")
    stated = attributes.get("output_dtype", 0)
    dtype = (
        zero.dtype
        if zero is not None
        else helper.tensor_dtype_to_np_dtype(stated)
        if stated
        else np.dtype(np.uint8)
    )
    if dtype.kind not in "iu":
        raise ModelError(f"node {node.name or node.op_type} quantizes to {dtype}; use 8-bit integers")
    zero = np.zeros_like(scale) if zero is None else zero
    shape = [1] * x.ndim
    if scale.size > 1:
        axis = attributes.get("axis", 1)
        if scale.ndim != 1 or not -x.ndim <= axis < x.ndim or x.shape[axis] != scale.size:
            raise ModelError(f"node {node.name or node.op_type}: the scale does not fit the tensor")
        shape[axis] = -1
    scale = scale.astype(np.float32).reshape(shape)
    whole = np.rint(x.astype(np.float32) / scale) + zero.astype(np.float32).reshape(
        shape if zero.size > 1 else ()
    )
    bounds = np.iinfo(dtype)
    return np.asarray(np.clip(whole, bounds.min, bounds.max), dtype)


def _checked(node: onnx.NodeProto, value: Array) -> Array:
    if value.dtype.kind == "f":
        value = value.astype(np.float64)
        if not np.isfinite(value).all():
            raise ModelError(
                f"the constant of node {node.name or node.op_type} is not finite; check its inputs"
            )
    return value


def _result_size(node: onnx.NodeProto, inputs: list[Array | None]) -> int:
    """Upper bound of the number of elements of the result, without computing it."""
    known = [value for value in inputs if value is not None]
    if node.op_type in ELEMENTWISE:
        try:
            return math.prod(np.broadcast_shapes(*(value.shape for value in known)))
        except ValueError:
            return sum(
                value.size for value in known
            )  # DequantizeLinear's per-axis scale, or an error found later
    if node.op_type == "Gather":
        return known[0].size * known[1].size
    if node.op_type == "ConstantOfShape":
        return math.prod(int(n) for n in known[0])
    if node.op_type == "Tile":
        return known[0].size * math.prod(int(n) for n in known[1])
    if node.op_type == "Expand":
        return known[0].size * math.prod(max(1, int(n)) for n in known[1])
    if node.op_type == "Range":
        start, limit, delta = (float(value) for value in known)
        return math.ceil(abs((limit - start) / delta)) if delta else MAX_ELEMENTS + 1
    return sum(value.size for value in known) + 64
