"""`Quant` and `BipolarQuant`, with which Brevitas and QONNX write networks of few bits (Pappalardo et al. 2022, "QONNX:
Representing Arbitrary-Precision Quantized Neural Networks").

Quant(x, scale, zero, bits) = (clip(round(x / scale + zero)) − zero) · scale; BipolarQuant(x, scale) = ±scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.attributes import attributes_of
from fedvm.compiler.frontend.choice import constant_tensors
from fedvm.compiler.frontend.operators.node import Node
from fedvm.compiler.frontend.quantized import Operator, affine, on_grid
from fedvm.compiler.frontend.replaced import Replacement, with_nodes_replaced
from fedvm.compiler.frontend.values import Part, Ref, Tensor
from fedvm.compiler.graph import SIGNS, FloatArray, Grid

Array = NDArray[Any]
DOMAINS = (
    "onnx.brevitas", "qonnx.custom_op.general", "qonnx.custom_op", "finn.custom_op.general", "finn.custom_op",
)  # fmt: skip
"""Domains under which the operators are written."""
_NEAREST = ("ROUND", "HALF_EVEN")
_ROUNDING: dict[str, Callable[[FloatArray], FloatArray]] = {
    **dict.fromkeys(_NEAREST, np.rint),
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc,
    "DOWN": np.trunc,
}
MOST_BITS = 8


# --- activations ------------------------------------------------------------------------------


def _quant(node: Node) -> list[Tensor]:
    if node.attribute("rounding_mode", "ROUND").upper() not in _NEAREST:
        raise node.refuse("activations are rounded to the nearest only; use rounding_mode ROUND")
    scale, zero = node.array(1), node.array(2)
    bits = float(node.array(3).ravel()[0])
    if scale.size != 1 or zero.size != 1:
        raise node.refuse(
            "activations with a scale for each channel have no kernel; quantize them with one scale"
        )
    if not bits <= MOST_BITS:
        raise node.refuse(
            f"activations of {bits:g} bits have no kernel; quantize them with {MOST_BITS} at most"
        )
    low, high = _bounds(node.proto, bits)
    step, point = float(scale.ravel()[0]), float(zero.ravel()[0])
    if not 0 < step < math.inf or point != round(point) or low != round(low) or high != round(high):
        raise node.refuse("the scale must be positive, and zero point and bits whole numbers")
    return [on_grid(node, node.tensor(), Grid(step, int(point), int(low), int(high)))]


def _bipolar(node: Node) -> list[Tensor]:
    scale = node.array(1)
    if scale.size != 1 or not float(scale.ravel()[0]) > 0:
        raise node.refuse("the scale must be one positive number")
    size = float(scale.ravel()[0])
    tensor = node.tensor()
    parts = tuple(_sign(node, part) for part in tensor.parts)
    return [affine(node, replace(tensor, parts=parts, fill=1.0), 2 * size, -size)]


def _sign(node: Node, part: Part) -> Part:
    """1 where the part is not negative, else 0."""
    if isinstance(part, Ref) or not part.linear:
        part = build.pending(node.builder.settle(part))
    return replace(part, low=0.0, high=1.0, grid=SIGNS)


def _bounds(proto: onnx.NodeProto, bits: float) -> tuple[float, float]:
    """The least and the largest integer."""
    given = attributes_of(proto)
    narrow = 1.0 if given.get("narrow", 0) else 0.0
    if given.get("signed", 1):
        return -(2.0 ** (bits - 1)) + narrow, 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1 - narrow


# --- weights ----------------------------------------------------------------------------------


def quantized_constant(proto: onnx.NodeProto, inputs: list[Array | None]) -> list[Array]:
    """The value of one of these nodes whose inputs are all known. ModelError for forms that are not."""
    name = proto.name or proto.op_type
    x, scale, *rest = [np.asarray(value, np.float64) for value in inputs if value is not None]
    if proto.op_type == "BipolarQuant":
        return [np.where(x >= 0, scale, -scale)]
    if len(rest) < 2:
        raise ModelError(f"node {name}: {proto.op_type} takes a value, a scale, a zero point and bits")
    zero, bits = rest[0], float(rest[1].ravel()[0])
    given = attributes_of(proto)
    mode = str(given.get("rounding_mode", "ROUND")).upper()
    if mode not in _ROUNDING or not (scale > 0).all() or not 0 < bits <= 64:
        raise ModelError(f"node {name}: rounding_mode {mode}, scale or bits are not understood")
    low, high = _bounds(proto, bits)
    whole = np.clip(_ROUNDING[mode]((x / scale).astype(np.float32) + zero), low, high)
    return [(whole - zero) * scale]


# --- running files ----------------------------------------------------------------------------


def with_standard_nodes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with standard operators in place of these, so that ONNX Runtime can run it; itself without them."""
    constants = constant_tensors(proto.graph)

    def standard(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        return _Standard(node, constants).nodes if (node.domain, node.op_type) in QONNX else None

    return with_nodes_replaced(proto, standard)


class _Standard(Replacement):
    """A node as standard ones. constants: the file's, by name."""

    def __init__(self, node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> None:
        super().__init__(node)
        x, scale = node.input[:2]
        if node.op_type == "BipolarQuant":
            zero = self._constant(0.0)
            signs = self.add("Cast", [self.add("Not", [self.add("Less", [x, zero])])], to=TensorProto.FLOAT)
            twice = self.add("Sub", [self.add("Add", [signs, signs]), self._constant(1.0)])
            self.add("Mul", [twice, scale], node.output[0])
            return
        zero, bits = node.input[2:4]
        if bits not in constants:
            raise ModelError(f"node {node.name or node.op_type}: its bits must be a constant")
        low, high = _bounds(node, float(numpy_helper.to_array(constants[bits]).ravel()[0]))
        given = attributes_of(node)
        mode = str(given.get("rounding_mode", "ROUND")).upper()
        scaled = self.add("Add", [self.add("Div", [x, scale]), zero])
        if mode in ("ROUND_TO_ZERO", "DOWN"):
            whole = self.add("Floor", [self.add("Abs", [scaled])])
            whole = self.add("Mul", [whole, self.add("Sign", [scaled])])
        else:
            whole = self.add({"CEIL": "Ceil", "FLOOR": "Floor"}.get(mode, "Round"), [scaled])
        clipped = self.add("Clip", [whole, self._constant(low), self._constant(high)])
        self.add("Mul", [self.add("Sub", [clipped, zero]), scale], node.output[0])

    def _constant(self, value: float) -> str:
        return self.add("Constant", [], value=numpy_helper.from_array(np.array(value, np.float32)))


_BY_NAME: dict[str, Operator] = {"BipolarQuant": _bipolar, "IntQuant": _quant, "Quant": _quant}
QONNX: dict[tuple[str, str], Operator] = {
    (domain, name): operator for domain in DOMAINS for name, operator in _BY_NAME.items()
}
"""By domain and name."""
