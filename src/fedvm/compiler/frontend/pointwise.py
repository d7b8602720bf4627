"""Pointwise functions: ONNX operators that map every element by itself, as functions of real numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto

from fedvm.compiler.frontend.attributes import attributes_of
from fedvm.compiler.frontend.load import FLOATS
from fedvm.compiler.graph import FloatArray

Operands: TypeAlias = list[Any]
"""Inputs of a node: float64 arrays of one shape, numbers, None where left out."""
Function: TypeAlias = Callable[[Mapping[str, Any], Operands], Any]

AFFINE = {"Add", "Cast", "Div", "Identity", "Mul", "Neg", "Sub", "Sum"}
"""With one operand that depends on the input, these move or stretch it, which costs nothing."""
NATIVE = AFFINE | {"Clip", "HardSigmoid", "Max", "Min", "Relu"}
"""What is made of sums and bounds, without a table."""
GRID: FloatArray = np.sinh(np.linspace(-10, 10, 8193))
"""Numbers of every magnitude up to 11,000."""
ROUNDING = {"DequantizeLinear", "QuantizeLinear"}
"""What rounds between two functions; elsewhere it says which integers a tensor has."""
TRUTHS = {"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"}
"""What gives true or false: a part of a function, but no activation."""


def is_pointwise(node: onnx.NodeProto) -> bool:
    """Whether the node maps every element by itself, if its other operands are numbers."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in FUNCTIONS or len(node.output) != 1:
        return False
    return node.op_type != "Cast" or attributes_of(node).get("to") in FLOATS | {TensorProto.BOOL}


def is_truth(node: onnx.NodeProto) -> bool:
    """Whether the node gives true or false."""
    return node.op_type in TRUTHS or attributes_of(node).get("to") == TensorProto.BOOL


def apply(node: onnx.NodeProto, operands: Operands) -> Any:
    """What the node computes. operands: its inputs."""
    with np.errstate(all="ignore"):  # what is not finite is looked for where it matters
        return FUNCTIONS[node.op_type](attributes_of(node), operands)


def _erf(x: FloatArray) -> FloatArray:
    """The error function to 1.5e-7 (Abramowitz and Stegun 1964, "Handbook of mathematical functions", 7.1.26)."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    result: FloatArray = np.sign(x) * (1 - series * np.exp(-np.square(x)))
    return result


def _sigmoid(x: FloatArray) -> FloatArray:
    small = np.exp(-np.abs(x))
    result: FloatArray = np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    return result


def _softplus(x: FloatArray) -> FloatArray:
    result: FloatArray = np.logaddexp(0.0, x)
    return result


def _gelu(of: Mapping[str, Any], x: FloatArray) -> Any:
    if of.get("approximate", "none") == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / np.sqrt(2)))


def _elu(x: FloatArray, alpha: float, gamma: float = 1.0, width: float = 1.0) -> FloatArray:
    result: FloatArray = gamma * (np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / width))
    return result


def _clip(of: Mapping[str, Any], x: Operands) -> Any:
    low = x[1] if len(x) > 1 and x[1] is not None else of.get("min", -np.inf)
    high = x[2] if len(x) > 2 and x[2] is not None else of.get("max", np.inf)
    return np.minimum(np.maximum(x[0], low), high)


def _quantize(of: Mapping[str, Any], x: Operands) -> Any:
    """The integers as real numbers; the zero point has their type."""
    zero = x[2] if len(x) > 2 and x[2] is not None else np.uint8(0)
    bounds = np.iinfo(np.asarray(zero).dtype)
    return np.clip(np.rint(x[0] / x[1]) + float(zero), bounds.min, bounds.max)


def _dequantize(of: Mapping[str, Any], x: Operands) -> Any:
    return (x[0] - (float(x[2]) if len(x) > 2 and x[2] is not None else 0.0)) * x[1]


def _all(step: Callable[[Any, Any], Any]) -> Function:
    def of(_: Mapping[str, Any], x: Operands) -> Any:
        total = x[0]
        for more in x[1:]:
            total = step(total, more)
        return total

    return of


def _unary(of: Callable[[FloatArray], Any]) -> Function:
    return lambda _, x: of(x[0])


def _shrink(of: Mapping[str, Any], x: FloatArray) -> FloatArray:
    edge, bias = of.get("lambd", 0.5), of.get("bias", 0.0)
    result: FloatArray = np.where(x < -edge, x + bias, np.where(x > edge, x - bias, 0.0))
    return result


FUNCTIONS: dict[str, Function] = {
    "Abs": _unary(np.abs),
    "Add": _all(np.add),
    "And": _all(np.logical_and),
    "Atan": _unary(np.arctan),
    "Cast": lambda of, x: x[0] != 0 if of.get("to") == TensorProto.BOOL else np.asarray(x[0], np.float64),
    "Ceil": _unary(np.ceil),
    "Celu": lambda of, x: _elu(x[0], of.get("alpha", 1.0), 1.0, of.get("alpha", 1.0)),
    "Clip": _clip,
    "Cos": _unary(np.cos),
    "DequantizeLinear": _dequantize,
    "Div": _all(np.divide),
    "Elu": lambda of, x: _elu(x[0], of.get("alpha", 1.0)),
    "Equal": _all(np.equal),
    "Erf": _unary(_erf),
    "Exp": _unary(np.exp),
    "Floor": _unary(np.floor),
    "Gelu": lambda of, x: _gelu(of, x[0]),
    "Greater": _all(np.greater),
    "GreaterOrEqual": _all(np.greater_equal),
    "HardSigmoid": lambda of, x: np.clip(of.get("alpha", 0.2) * x[0] + of.get("beta", 0.5), 0, 1),
    "HardSwish": _unary(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Identity": _unary(lambda x: x),
    "LeakyRelu": lambda of, x: np.where(x[0] < 0, of.get("alpha", 0.01) * x[0], x[0]),
    "Less": _all(np.less),
    "LessOrEqual": _all(np.less_equal),
    "Log": _unary(np.log),
    "Max": _all(np.maximum),
    "Min": _all(np.minimum),
    "Mish": _unary(lambda x: x * np.tanh(_softplus(x))),
    "Mul": _all(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Or": _all(np.logical_or),
    "PRelu": lambda _, x: np.where(x[0] < 0, x[1] * x[0], x[0]),
    "Pow": _all(np.power),
    "QuantizeLinear": _quantize,
    "Reciprocal": _unary(np.reciprocal),
    "Relu": _unary(lambda x: np.maximum(x, 0)),
    "Round": _unary(np.rint),
    "Selu": lambda of, x: _elu(
        x[0], of.get("alpha", 1.6732632423543772), of.get("gamma", 1.0507009873554805)
    ),
    "Shrink": lambda of, x: _shrink(of, x[0]),
    "Sigmoid": _unary(_sigmoid),
    "Sign": _unary(np.sign),
    "Sin": _unary(np.sin),
    "Softplus": _unary(_softplus),
    "Softsign": _unary(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _unary(np.sqrt),
    "Sub": _all(np.subtract),
    "Sum": _all(np.add),
    "Swish": lambda of, x: x[0] * _sigmoid(of.get("alpha", 1.0) * x[0]),
    "Tanh": _unary(np.tanh),
    "ThresholdedRelu": lambda of, x: np.where(x[0] > of.get("alpha", 1.0), x[0], 0.0),
    "Where": lambda _, x: np.where(x[0], x[1], x[2]),
}


def is_affine(node: onnx.NodeProto, operand: int) -> bool:
    """Whether the node moves or stretches its input `operand`, the others being numbers."""
    return node.op_type in AFFINE and not is_truth(node) and (node.op_type != "Div" or operand == 0)


def rises(of: Callable[[FloatArray], FloatArray]) -> bool:
    """Whether the function falls nowhere, as far as a fine grid of numbers shows."""
    with np.errstate(all="ignore"):
        values = of(GRID)
    values = values[np.isfinite(values)]
    return len(values) > 1 and bool((np.diff(values) >= -1e-9 * np.abs(values[1:])).all())
