"""Rearrangements of elements, at no cost: views, slices, joins, padding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.load import FLOATS, MAX_ELEMENTS
from fedvm.compiler.frontend.operators.node import Array, Lowering, Node
from fedvm.compiler.frontend.values import PADDING, Part, Tensor


def _identity(node: Node) -> list[Tensor]:
    return [node.tensor()]


def _dropout(node: Node) -> list[Tensor]:
    if node.given(2) and bool(node.array(2).ravel()[0]):
        raise node.refuse("training mode; export the model after model.eval()")
    return [node.tensor()]


def _cast(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    if node.attribute("to") not in FLOATS and not tensor.head:
        name = TensorProto.DataType.Name(node.attribute("to"))
        raise node.refuse(f"casting activations to {name} would round them; remove the cast")
    return [tensor]


def _view(change: Callable[[Node, Array], Array]) -> Callable[[Node], list[Tensor]]:
    def lower(node: Node) -> list[Tensor]:
        tensor = node.tensor()
        try:
            return [replace(tensor, index=change(node, tensor.index))]
        except (ValueError, IndexError, np.exceptions.AxisError) as error:
            raise ModelError(f"node {node.proto.name or node.proto.op_type} has bad axes: {error}") from error

    return lower


def _reshape(node: Node, index: Array) -> Array:
    shape = [int(n) for n in node.array(1).ravel()]
    if not node.attribute("allowzero", 0):
        shape = [index.shape[axis] if n == 0 else n for axis, n in enumerate(shape)]
    return index.reshape(shape)


def _flatten(node: Node, index: Array) -> Array:
    axis = node.attribute("axis", 1)
    axis += index.ndim if axis < 0 else 0
    return index.reshape(math.prod(index.shape[:axis]), -1)


def _transpose(node: Node, index: Array) -> Array:
    return index.transpose(node.attribute("perm"))


def _squeeze(node: Node, index: Array) -> Array:
    axes = node.ints("axes", 1)
    return index.squeeze() if axes is None else index.squeeze(tuple(axes))


def _unsqueeze(node: Node, index: Array) -> Array:
    axes = node.ints("axes", 1)
    if axes is None:
        raise ValueError("axes are missing")
    return np.expand_dims(index, tuple(axes))


def _slice(node: Node, index: Array) -> Array:
    starts, ends = node.ints("starts", 1), node.ints("ends", 2)
    if starts is None or ends is None:
        raise ValueError("starts or ends are missing")
    axes = node.ints("axes", 3) or list(range(len(starts)))
    steps = node.ints("steps", 4) or [1] * len(starts)
    cuts = [slice(None)] * index.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0 and end < -index.shape[axis]:  # beyond the first
            cuts[axis] = slice(start, None, step)
        else:
            cuts[axis] = slice(start, end, step)
    result = index[tuple(cuts)]
    if not result.size:
        raise ValueError("the slice is empty")
    return result


def _gather(node: Node, index: Array) -> Array:
    positions = node.array(1).astype(np.int64)
    if positions.size * index.size > MAX_ELEMENTS:
        raise ValueError("the result is too large")
    return index.take(positions, axis=node.attribute("axis", 0))


def _split(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    axis = node.attribute("axis", 0)
    sizes = node.ints("split", 1)
    count = len(node.proto.output)
    if not -tensor.index.ndim <= axis < tensor.index.ndim:
        raise ModelError(f"node {node.proto.name or 'Split'} has a bad axis")
    length = tensor.index.shape[axis]
    if sizes is None:
        each = -(-length // count)
        sizes = [min(each, length - each * i) for i in range(count)]
    if sum(sizes) != length or min(sizes) <= 0 or len(sizes) != count:
        raise ModelError(f"node {node.proto.name or 'Split'} splits {length} into {sizes}")
    pieces = np.split(tensor.index, np.cumsum(sizes)[:-1], axis=axis)
    return [replace(tensor, index=piece) for piece in pieces]


def _concat(node: Node) -> list[Tensor]:
    parts: list[Part] = []
    indices: list[Array] = []
    start = 0
    for position in range(len(node.inputs)):
        tensor = node.tensor(position)
        if (tensor.index == PADDING).any() or tensor.head:
            raise node.refuse("input is padded or a head; only feature maps can be joined")
        parts += tensor.parts
        indices.append(tensor.index + start)
        start += tensor.starts[-1]
    axis = node.attribute("axis", 1)
    try:
        joined = np.concatenate(indices, axis=axis)
    except ValueError as error:
        raise ModelError(f"node {node.proto.name or 'Concat'}: {error}") from error
    # The parts will be read together with others, so that each has to stand on its own.
    return [node.builder.settle_all(Tensor(tuple(parts), joined))]


def _pad(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    if node.attribute("mode", "constant") != "constant":
        raise node.refuse("only constant padding is supported")
    pads = node.ints("pads", 1)
    fill = float(node.array(2).ravel()[0]) if node.given(2) else float(node.attribute("value", 0.0))
    axes = node.ints("axes", 3) or list(range(tensor.index.ndim))
    if pads is None or len(pads) != 2 * len(axes):
        raise node.refuse("pads do not fit the axes")
    if not any(pads):
        return [tensor]
    if min(pads) < 0 or max(pads) > 4096:
        raise node.refuse("pads must lie in 0..4096")
    if (tensor.index == PADDING).any() and tensor.fill != fill:
        raise node.refuse("two paddings with different values cannot be joined")
    widths = [(0, 0)] * tensor.index.ndim
    for position, axis in enumerate(axes):
        widths[axis] = (pads[position], pads[position + len(axes)])
    if math.prod(n + a + b for n, (a, b) in zip(tensor.index.shape, widths, strict=True)) > MAX_ELEMENTS:
        raise node.refuse("the result is too large")
    return [replace(tensor, index=np.pad(tensor.index, widths, constant_values=PADDING), fill=fill)]


ARRANGE: dict[str, Lowering] = {
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _dropout,
    "Flatten": _view(_flatten),
    "Gather": _view(_gather),
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _view(_reshape),
    "Slice": _view(_slice),
    "Split": _split,
    "Squeeze": _view(_squeeze),
    "Transpose": _view(_transpose),
    "Unsqueeze": _view(_unsqueeze),
}
