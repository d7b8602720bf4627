"""Operators of models that are quantized already: their integers are taken as they are, not chosen again.

QuantizeLinear and DequantizeLinear between float operators (QDQ), and operators on integers (QOperator, ONNX Runtime's
contributed ones), which are lowered as the float operator between a dequantization and a quantization.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend import heads
from fedvm.compiler.frontend.attributes import attributes_of
from fedvm.compiler.frontend.builder import InputGrid
from fedvm.compiler.frontend.operators import OPERATORS
from fedvm.compiler.frontend.operators.node import Node, Value
from fedvm.compiler.frontend.replaced import Replacement, with_nodes_replaced
from fedvm.compiler.frontend.values import Part, Pending, Ref, Tensor
from fedvm.compiler.graph import INPUT, FloatArray, Grid

Operator: TypeAlias = Callable[[Node], list[Tensor]]
LEVELS = 256
"""Integers that a byte of the input can be."""
NEAR = 1e-6
"""Steps by which two grids may differ and still be the same: a range that is written down and read again is rounded."""


# --- between real numbers and integers --------------------------------------------------------


def on_grid(node: Node, tensor: Tensor, grid: Grid) -> Tensor:
    """The tensor rounded to the grid, as real numbers."""
    if tensor.head:
        return tensor
    low, high = grid.ends
    fill = min(max(round(tensor.fill / grid.step) * grid.step, low), high)
    return replace(tensor, parts=tuple(_rounded(node, part, grid) for part in tensor.parts), fill=fill)


def _rounded(node: Node, part: Part, grid: Grid) -> Pending | Ref:
    if isinstance(part, Ref):
        if node.builder.grid_of(part) == grid or (part.source == INPUT and _is_input_grid(node, part, grid)):
            return part
        part = build.pending(part)
    elif part.grid == grid:
        return part
    elif part.grid is not None:
        part = build.pending(node.builder.settle(part))
    low, high = grid.ends
    return replace(part, low=min(max(part.low, low), high), high=max(min(part.high, high), low), grid=grid)


def _is_input_grid(node: Node, part: Ref, grid: Grid) -> bool:
    """Whether the bytes of the input are the grid's integers; `InputGrid` if they can be made so."""
    if grid.high - grid.low + 1 != LEVELS:
        return False
    zero = float(grid.zero - grid.low)
    if (np.abs(part.scale / grid.step - 1) * LEVELS < NEAR).all() and (
        np.abs(part.offset / grid.step + zero) < NEAR
    ).all():
        return True
    spec = node.builder.spec
    factor = part.scale / spec.scale
    if not node.builder.measured or (factor <= 0).any():
        return False
    shift = part.offset - spec.offset * factor
    raise InputGrid(grid.step / factor, (-zero * grid.step - shift) / factor)


def grid_of(node: Node, scale: NDArray[Any], zero: NDArray[Any] | None, dtype: np.dtype[Any]) -> Grid:
    """The integers of a quantized tensor. Refuses what the program's bytes cannot hold."""
    if scale.size != 1 or (zero is not None and zero.size != 1):
        raise node.refuse(
            "activations with a scale for each channel have no kernel; quantize them with one scale"
        )
    if dtype not in (np.dtype(np.uint8), np.dtype(np.int8)):
        raise node.refuse(f"activations of the type {dtype} have no kernel; quantize them with 8 bits")
    step = float(scale.ravel()[0])
    if not 0 < step < math.inf:
        raise node.refuse(f"the scale {step} is not a positive number")
    bounds = np.iinfo(dtype)
    return Grid(step, 0 if zero is None else int(zero.ravel()[0]), int(bounds.min), int(bounds.max))


def _grid_at(node: Node, scale: int, zero: int) -> Grid:
    point = node.array(zero) if node.given(zero) else None
    return grid_of(node, node.array(scale), point, np.dtype(np.uint8) if point is None else point.dtype)


def _quantize(node: Node) -> list[Tensor]:
    kind = node.attribute("output_dtype", 0)
    point = node.array(2) if node.given(2) else None
    stated = helper.tensor_dtype_to_np_dtype(kind) if kind else np.dtype(np.uint8)
    grid = grid_of(node, node.array(1), point, stated if point is None else point.dtype)
    return [_held(node, node.tensor(), grid)]


def _held(node: Node, tensor: Tensor, grid: Grid) -> Tensor:
    """The tensor as integers of the grid."""
    tensor = on_grid(node, tensor, grid)
    return tensor if tensor.head else replace(tensor, grid=grid)


def _dequantize(node: Node) -> list[Tensor]:
    return [_real(node, node.tensor(), node.array(1), node.array(2) if node.given(2) else None)]


def _real(node: Node, tensor: Tensor, scale: NDArray[Any], zero: NDArray[Any] | None) -> Tensor:
    """The real numbers for which integers of this scale and zero point stand."""
    if tensor.head:
        return tensor
    if scale.size != 1:
        raise node.refuse(
            "activations with a scale for each channel have no kernel; quantize them with one scale"
        )
    step, point = float(scale.ravel()[0]), float(zero.ravel()[0]) if zero is not None else 0.0
    grid = tensor.grid
    if grid is None:  # the input's own integers
        return affine(node, tensor, step, -point * step)
    plain = replace(tensor, grid=None)
    if (grid.step, float(grid.zero)) == (step, point):
        return plain
    return affine(node, plain, step / grid.step, (grid.zero - point) * step)


def affine(node: Node, tensor: Tensor, scale: float, offset: float) -> Tensor:
    """`scale · tensor + offset`."""
    scaled = OPERATORS["Mul"](replace(node, inputs=[tensor, np.array(scale)]))[0]
    return OPERATORS["Add"](replace(node, inputs=[scaled, np.array(offset)]))[0] if offset else scaled


def whole_numbers(node: Node, tensor: Tensor) -> Tensor:
    """The integers of a quantized tensor as real numbers."""
    assert tensor.grid is not None
    return affine(node, replace(tensor, grid=None), 1 / tensor.grid.step, float(tensor.grid.zero))


# --- operators on integers --------------------------------------------------------------------


def _operand(node: Node, at: int, axis: int = -1) -> Value:
    """The real numbers of the integers, scale and zero point at the inputs `at`, `at + 1`, `at + 2`."""
    value = node.inputs[at]
    zero = node.array(at + 2) if node.given(at + 2) else None
    if isinstance(value, Tensor):
        return _real(node, value, node.array(at + 1), zero)
    whole = node.array(at)
    return dequantized(whole, node.array(at + 1), zero, axis)


def dequantized(whole: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None, axis: int) -> FloatArray:
    """`(whole − zero) · scale`, with one scale or one for each index of `axis`."""
    scale = np.asarray(scale, np.float64)
    zero = np.zeros_like(scale) if zero is None else np.asarray(zero, np.float64)
    if scale.size > 1 and whole.ndim:
        shape = [1] * whole.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.size > 1 else zero
    elif scale.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    result: FloatArray = (whole.astype(np.float64) - zero) * scale
    return result


def _as(node: Node, name: str, inputs: list[Value | None]) -> Tensor:
    """What the float operator of this name makes of other inputs."""
    given = replace(node, inputs=inputs)
    if name in OPERATORS:
        return OPERATORS[name](given)[0]
    if name not in heads.SOFTMAX:
        raise node.refuse(f"there is no kernel for {name}")
    return heads.softmax(replace(given, opset=int(node.attribute("opset", node.opset))), heads.SOFTMAX[name])


def _convolution(node: Node) -> list[Tensor]:
    if node.attribute("channels_last", 0):
        raise node.refuse("channels_last has no kernel")
    inputs: list[Value | None] = [_operand(node, 0), _operand(node, 3, 0)]
    if node.given(8):
        scale = np.asarray(node.array(1), np.float64).ravel() * np.asarray(node.array(4), np.float64).ravel()
        inputs.append(node.array(8) * scale)
    return [_held(node, _as(node, "Conv", inputs), _grid_at(node, 6, 7))]


def _gemm(node: Node) -> list[Tensor]:
    axis = 0 if node.attribute("transB", 0) else 1
    inputs: list[Value | None] = [_operand(node, 0), _operand(node, 3, axis)]
    if node.given(6):
        scale = np.asarray(node.array(1), np.float64).ravel() * np.asarray(node.array(4), np.float64).ravel()
        inputs.append(node.array(6) * scale * float(node.attribute("alpha", 1.0)))
    result = _as(node, "Gemm", inputs)
    return [_held(node, result, _grid_at(node, 7, 8)) if node.given(7) else result]


def _binary(node: Node) -> list[Tensor]:
    name = node.proto.op_type.removeprefix("QLinear")
    return [_held(node, _as(node, name, [_operand(node, 0), _operand(node, 3)]), _grid_at(node, 6, 7))]


def _unary(node: Node) -> list[Tensor]:
    if node.attribute("channels_last", 0):
        raise node.refuse("channels_last has no kernel")
    name = node.proto.op_type.removeprefix("QLinear")
    return [_held(node, _as(node, name, [_operand(node, 0)]), _grid_at(node, 3, 4))]


def _joined(node: Node) -> list[Tensor]:
    grid = _grid_at(node, 0, 1)
    inputs = [_operand(node, at) for at in range(2, len(node.inputs), 3)]
    return [_held(node, _as(node, "Concat", list(inputs)), grid)]


def _dynamic(node: Node) -> list[Tensor]:
    raise node.refuse(
        "its scale depends on each input, which a contract does not compute; quantize statically, with calibration data"
    )


_CONTRIBUTED: dict[str, Operator] = {
    **{f"QLinear{name}": _unary for name in (*OPERATORS, *heads.SOFTMAX)},
    "DynamicQuantizeLSTM": _dynamic,
    "DynamicQuantizeMatMul": _dynamic,
    "MatMulIntegerToFloat": _dynamic,
    "QGemm": _gemm,
    "QLinearAdd": _binary,
    "QLinearConcat": _joined,
    "QLinearConv": _convolution,
}
_PLAIN: dict[str, Operator] = {
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic,
    "QLinearConv": _convolution,
    "QLinearMatMul": _binary,
    "QuantizeLinear": _quantize,
}
QUANTIZED: dict[tuple[str, str], Operator] = {
    **{("", name): operator for name, operator in _PLAIN.items()},
    **{("com.microsoft", name): operator for name, operator in (_PLAIN | _CONTRIBUTED).items()},
}
"""By domain and name."""


# --- what else may be done with integers ------------------------------------------------------

_MOVING = {
    "Concat", "Dropout", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax", "Reshape", "Slice",
    "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators that choose among integers: they do with the real numbers what they do with the integers."""


def _holds(kind: int, grid: Grid) -> bool:
    """Whether an ONNX type is one of integers and holds all of the grid's."""
    dtype: np.dtype[Any] = np.dtype(helper.tensor_dtype_to_np_dtype(kind)) if kind else np.dtype(np.float32)
    if dtype.kind not in "iu":
        return False
    bounds = np.iinfo(dtype)
    return int(bounds.min) <= grid.low and grid.high <= int(bounds.max)


def on_integers(node: Node) -> list[Tensor] | None:
    """What an ordinary operator makes of a quantized tensor; None if none of its inputs is one."""
    grids = {value.grid for value in node.inputs if isinstance(value, Tensor)}
    if grids <= {None}:
        return None
    name = node.proto.op_type
    grid = next(iter(grids))
    if len(grids) > 1 or grid is None:
        raise node.refuse("joins tensors of different scales; dequantize them first")
    plain = replace(node, inputs=[replace(v, grid=None) if isinstance(v, Tensor) else v for v in node.inputs])
    if name in _MOVING:
        return [replace(result, grid=grid) for result in OPERATORS[name](plain)]
    if name == "ArgMax":
        return heads.OPERATORS[name](plain)
    if name == "Clip":
        bounds = [
            (node.array(i).ravel()[0] - grid.zero) * grid.step if node.given(i) else None for i in (1, 2)
        ]
        given = [None if bound is None else np.array(bound) for bound in bounds]
        return [replace(OPERATORS[name](replace(plain, inputs=[plain.tensor(), *given]))[0], grid=grid)]
    kind = node.attribute("to", 0)
    if name == "Cast" and _holds(kind, grid):
        return [node.tensor()]
    if name == "Cast" and kind in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return [whole_numbers(node, node.tensor())]
    raise node.refuse("it computes with quantized integers; dequantize them first")


# --- running files ----------------------------------------------------------------------------


def with_float_operators(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float operators between dequantizations and quantizations in place of those on integers, whose
    kernels in ONNX Runtime saturate on some processors; itself if it has none."""
    return with_nodes_replaced(proto, _in_floats)


def with_functions_apart(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float operators in place of functions on integers, which may be parts of one function
    (`chains.py`); itself if it has none."""
    return with_nodes_replaced(
        proto, lambda node: _Floats(node).nodes if node.op_type in _FUNCTIONS else None
    )


def _in_floats(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    known = node.op_type.startswith(_INTEGER) and (node.domain, node.op_type) in QUANTIZED
    return _Floats(node).nodes if known or node.op_type in _FUNCTIONS else None


_INTEGER = ("QLinear", "QGemm")
_FUNCTIONS = {"QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid"}
_LATER = {"QLinearConcat"}
"""Operators whose output's scale stands first."""


class _Floats(Replacement):
    """A node on integers as float nodes."""

    def __init__(self, node: onnx.NodeProto) -> None:
        super().__init__(node)
        name, given = node.op_type.removeprefix("QLinear").removeprefix("Q"), list(node.input)
        attributes = attributes_of(node)
        bias = ""
        if node.op_type in _LATER:
            scale, zero, *rest = given
            groups = [rest[i : i + 3] for i in range(0, len(rest), 3)]
        else:
            count = 3 if name not in ("Conv", "MatMul", "Gemm", "Add", "Mul") else 6
            groups = [given[i : i + 3] for i in range(0, count, 3)]
            rest = given[count:]
            if name == "Gemm":
                bias, rest = (rest[0] if rest else ""), rest[1:]
            elif name == "Conv":
                bias, rest = (rest[2] if len(rest) > 2 else ""), rest[:2]
            scale, zero = rest if len(rest) == 2 else ("", "")
        axis: dict[str, Any] = {}  # of weights, which may have a scale for each
        if name in ("Conv", "Gemm", "MatMul"):
            axis["axis"] = 0 if name == "Conv" or attributes.get("transB", 0) else 1
        inputs = [self.add("DequantizeLinear", [g for g in group if g], **axis) for group in groups]
        if bias:
            whole = self.add("Cast", [bias], to=TensorProto.FLOAT)
            inputs.append(self.add("Mul", [self.add("Mul", [whole, groups[0][1]]), groups[1][1]]))
        for unknown in ("channels_last", "opset"):
            attributes.pop(unknown, None)
        output = "" if scale else self.output
        made = self.add(name, inputs, output, **attributes)
        if scale:
            self.add("QuantizeLinear", [part for part in (made, scale, zero) if part], self.output)
