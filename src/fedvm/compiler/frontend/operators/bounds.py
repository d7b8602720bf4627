"""Functions of every element, and bounds, which need no table."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.operators.node import Lowering, Node
from fedvm.compiler.frontend.operators.sums import added, scale_shift
from fedvm.compiler.frontend.values import PADDING, Part, Pending, Ref, Tensor
from fedvm.compiler.graph import SIGNS, Pointwise


def applied(node: Node, tensor: Tensor, function: Pointwise) -> Tensor:
    """The function of every element."""
    parts = []
    for part in tensor.parts:
        if isinstance(part, Pending) and part.grid is not None and (part.function or part.grid is SIGNS):
            part = node.builder.settle(part)
        grid = node.builder.grid_of(part) if isinstance(part, Ref) else None
        parts.append(build.applied(part, function, None if grid is SIGNS else grid))
    fill = tensor.fill
    if (tensor.index == PADDING).any():
        fill = float(function.of(np.array([fill]))[0])
    return replace(tensor, parts=tuple(parts), fill=fill)


def _clip_to(node: Node, tensor: Tensor, low: float, high: float) -> Tensor:
    if not low < high:
        raise node.refuse(f"clips to the empty range {low}..{high}")
    parts: list[Part] = []
    for part in tensor.parts:
        if isinstance(part, Ref):
            if low <= 0 and high == math.inf and node.builder.is_nonnegative(part):
                parts.append(part)
                continue
            part = build.pending(part)
        elif part.grid is not None and not (part.grid.holds(low) and part.grid.holds(high)):
            part = build.pending(node.builder.settle(part))
        if part.function is not None:
            parts.append(build.bounded(part, low, high))
            continue
        new_low, new_high = min(max(part.low, low), high), max(min(part.high, high), low)
        if not new_low < new_high:
            raise node.refuse("the activation is constant")
        parts.append(replace(part, low=new_low, high=new_high))
    fill = min(max(tensor.fill, low), high)
    return replace(tensor, parts=tuple(parts), fill=fill)


def _relu(node: Node) -> list[Tensor]:
    return [_clip_to(node, node.tensor(), 0.0, math.inf)]


def _clip(node: Node) -> list[Tensor]:
    low = float(node.array(1).ravel()[0]) if node.given(1) else float(node.attribute("min", -math.inf))
    high = float(node.array(2).ravel()[0]) if node.given(2) else float(node.attribute("max", math.inf))
    return [_clip_to(node, node.tensor(), low, high)]


def _maximum(node: Node) -> list[Tensor]:
    return [_clip_to(node, *_tensor_and_number(node), math.inf)]


def _minimum(node: Node) -> list[Tensor]:
    tensor, number = _tensor_and_number(node)
    return [_clip_to(node, tensor, -math.inf, number)]


def _tensor_and_number(node: Node) -> tuple[Tensor, float]:
    position = 0 if isinstance(node.inputs[0], Tensor) else 1
    bound = node.array(1 - position).ravel()
    if len(node.inputs) != 2 or (bound != bound[0]).any():
        raise node.refuse("only one activation and one number can be compared")
    return node.tensor(position), float(bound[0])


def _prelu(node: Node) -> list[Tensor]:
    """`αx + (1 − α)·relu(x)`, α varying by channel: a sum of the linear tensor and its positive part."""
    alpha = node.array(1)
    tensor = node.builder.settle_all(node.tensor())
    positive = _clip_to(node, tensor, 0.0, math.inf)
    return [added(node, scale_shift(node, tensor, alpha, 0.0), scale_shift(node, positive, 1 - alpha, 0.0))]


def _hard_sigmoid(node: Node) -> list[Tensor]:
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    return [_clip_to(node, scale_shift(node, node.tensor(), alpha, beta), 0.0, 1.0)]


BOUNDS: dict[str, Lowering] = {
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "Max": _maximum,
    "Min": _minimum,
    "PRelu": _prelu,
    "Relu": _relu,
}
