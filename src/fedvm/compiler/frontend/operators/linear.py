"""Convolutions and matrix products with constant weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.builder import PaddingLevel
from fedvm.compiler.frontend.load import MAX_ELEMENTS
from fedvm.compiler.frontend.operators.node import Lowering, Node
from fedvm.compiler.frontend.operators.sums import added, scale_shift
from fedvm.compiler.frontend.operators.windows import (
    apart,
    check_positions,
    pair_of,
    side_by_side,
    window_pads,
)
from fedvm.compiler.frontend.phases import from_phases, in_phases, over_phases
from fedvm.compiler.frontend.values import PADDING, Pending, Ref, Tensor, planes, tensor_of
from fedvm.compiler.frontend.varying import Relayout
from fedvm.compiler.graph import INPUT, FloatArray

MOST_WEIGHTS = 1 << 18
"""Of the matrix product that a convolution of what is no map becomes."""


def _convolution(node: Node) -> list[Tensor]:
    tensor, weight = node.tensor(), np.asarray(node.array(1), np.float64)
    spatial = weight.ndim - 2
    if spatial not in (1, 2) or tensor.index.ndim != weight.ndim:
        raise node.refuse("only 1-D and 2-D convolutions are supported")
    weight = dilated(node, weight)
    if spatial == 1:
        tensor, weight = replace(tensor, index=tensor.index[:, :, None, :]), weight[:, :, None, :]
    groups = int(node.attribute("group", 1))
    if groups < 1 or len(weight) % groups or weight.shape[1] * groups != tensor.index.shape[1]:
        raise ModelError(
            f"node {node.proto.name or 'Conv'}: weight {weight.shape} and {groups} groups do not fit"
        )
    tensor, frames = side_by_side(tensor)
    weight, groups = np.tile(weight, (frames, 1, 1, 1)), groups * frames
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    stride = pair_of(node, "strides", spatial, (1, 1))
    pads = window_pads(node, tensor.index.shape[2:], kernel, stride, spatial)
    enlarged = (
        None if planes(tensor) is not None else in_phases(node.builder, node.builder.settle_all(tensor))
    )
    bias = np.asarray(node.array(2), np.float64).ravel() if node.given(2) else np.zeros(len(weight) // frames)
    if enlarged is not None:
        whole = _conv_over_phases(
            node, *enlarged, build.ungrouped(weight, groups), stride, pads, np.tile(bias, frames)
        )
    else:
        whole = convolve(node, tensor, weight, stride, pads, groups, np.tile(bias, frames))
    output = apart(whole, frames)
    return [replace(output, index=output.index[:, :, 0]) if spatial == 1 else output]


def _conv_over_phases(
    node: Node,
    tensor: Tensor,
    by: tuple[int, int],
    weight: FloatArray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    bias: FloatArray,
) -> Tensor:
    """The convolution of a map that was enlarged by `by`, given as its phases."""
    size = (tensor.index.shape[2] * by[0], tensor.index.shape[3] * by[1])
    found = over_phases(weight, stride, pads, by, size)
    if found is None:
        raise node.refuse(f"a stride of {stride} over a map that was enlarged by {by} has no kernel")
    flat, step, around, phases, out = found
    each = np.repeat(bias, phases[0] * phases[1])
    return from_phases(convolve(node, tensor, flat, step, around, 1, each), phases, out)


def dilated(node: Node, weight: FloatArray) -> FloatArray:
    """The kernel with zeros between its taps."""
    steps = [int(d) for d in node.attribute("dilations", [])] or [1] * (weight.ndim - 2)
    if len(steps) != weight.ndim - 2 or min(steps) < 1:
        raise ModelError(f"{node.label} has bad dilations: {steps}")
    kernel = [(n - 1) * step + 1 for n, step in zip(weight.shape[2:], steps, strict=True)]
    if math.prod(weight.shape[:2]) * math.prod(kernel) > MAX_ELEMENTS:
        raise node.refuse(f"dilations {steps} make the kernel too large")
    wide = np.zeros((*weight.shape[:2], *kernel))
    taps: tuple[Any, ...] = (..., *(slice(None, None, step) for step in steps))
    wide[taps] = weight
    return wide


def convolve(
    node: Node,
    tensor: Tensor,
    weight: FloatArray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    groups: int,
    bias: FloatArray,
) -> Tensor:
    """The convolution `[1, O, H', W']`; of what is no map (a vector that was folded into one, channels that came from
    rows) as a matrix product, with weights for each place."""
    tensor = channels_first(node, tensor)
    if planes(tensor) is None:
        return _at_each_place(node, tensor, build.ungrouped(weight, groups), stride, pads, bias)
    result = apply_conv(node, tensor, weight, stride, pads, groups)
    return tensor_of(replace(result, bias=result.bias + bias))


def _at_each_place(
    node: Node,
    tensor: Tensor,
    weight: FloatArray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    bias: FloatArray,
) -> Tensor:
    """A convolution of one group as a matrix product."""
    channels, height, width = tensor.index.shape[1:]
    outputs, _, kh, kw = weight.shape
    check_positions(node, (height, width), (kh, kw), pads)
    rows, columns = height + pads[0] + pads[2], width + pads[1] + pads[3]
    down, along = (rows - kh) // stride[0] + 1, (columns - kw) // stride[1] + 1
    weights = outputs * down * along * channels * rows * columns
    if weights > MOST_WEIGHTS:
        raise node.refuse(
            "the input is not in channel, height, width order, or reshaped before the convolution, or a constant "
            "before it varies over positions (an average without count_include_pad at the border, a mean image), or it "
            f"was resized; as a matrix product it would have {weights:,} weights, and up to {MOST_WEIGHTS:,} are taken"
        )
    matrix = np.zeros((outputs, down, along, channels, rows, columns))
    for y, x in np.ndindex(down, along):
        top, left = y * stride[0], x * stride[1]
        matrix[:, y, x, :, top : top + kh, left : left + kw] = weight
    inside = matrix[..., pads[0] : pads[0] + height, pads[1] : pads[1] + width]
    product = build.dense(tensor, np.ascontiguousarray(inside).reshape(outputs * down * along, -1))
    product = replace(product, bias=product.bias + np.repeat(bias, down * along))
    return Tensor((product,), np.arange(len(product.bias)).reshape(1, outputs, down, along))


def apply_conv(
    node: Node,
    tensor: Tensor,
    weight: FloatArray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    groups: int,
) -> Pending:
    """The convolution of a map, without a bias."""
    tensor = node.builder.settle_all(tensor)
    found = planes(tensor)
    assert found is not None, "only maps are convolved"
    if any(pads) and any(found.pads) and tensor.fill:
        raise node.refuse("padding of zeros around another padding")
    if any(pads) or any(found.pads):
        fill = tensor.fill if any(found.pads) else 0.0
        parts = tuple(_paddable(node, part, fill) for part in _refs(tensor))
        tensor = replace(tensor, parts=parts, fill=fill)
    check_positions(node, tensor.index.shape[2:], weight.shape[2:], pads)
    try:
        return build.conv(tensor, weight, stride, pads, groups)
    except UnsupportedOperator as error:
        raise node.refuse(str(error)) from error


def _paddable(node: Node, part: Ref, fill: float) -> Ref:
    """The part as one that can hold `fill` beside its values; a shifted one becomes a layer, which holds zero."""
    if part.source != INPUT:
        return part if not part.offset.any() else node.builder.settle_plain(part)
    q = build.padding_bytes(part, fill)
    if node.builder.adjustable and (q != np.rint(q)).any() | (q < 0).any() | (q > 255).any():
        raise PaddingLevel(np.where(part.scale == 0, np.nan, q))
    # What a byte means is given: the nearest byte is off by half a step at most, unless the value is out of reach.
    if (q >= -0.5).all() and (q <= 255.5).all():
        return part
    if fill:
        raise node.refuse(f"pads the input with {fill:g}, which lies outside what its bytes 0..255 stand for")
    return node.builder.settle_plain(part)


def _refs(tensor: Tensor) -> list[Ref]:
    return [part for part in tensor.parts if isinstance(part, Ref)]


def channels_first(node: Node, tensor: Tensor) -> Tensor:
    """The tensor with finished parts; `Relayout` if it is the input as an image laid out in another way."""
    tensor = node.builder.settle_all(tensor)
    sources = {part.source for part in _refs(tensor)}
    if planes(tensor) is not None or sources != {INPUT} or not node.relayout:
        return tensor
    other = _layout_of_input(node, tensor)
    if other is not None:
        raise other
    return tensor


def _layout_of_input(node: Node, tensor: Tensor) -> Relayout | None:
    """The layout of the input in which the tensor is an arrangement of channel planes, if there is one."""
    if tensor.index.ndim != 4 or tensor.index.shape[0] != 1:
        return None
    spec = node.builder.spec
    size = math.prod(spec.shape)
    order = np.arange(size)
    if spec.layout == "HWC":
        order = order.reshape(spec.shape[1], spec.shape[2], -1).transpose(2, 0, 1).ravel()
    index = tensor.index[0]
    filled = index != PADDING
    inside = index[np.ix_(*(np.flatnonzero(filled.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))))]
    if not inside.size or (inside == PADDING).any():
        return None
    places = order[inside % size]  # in the order of the ONNX input
    height, width = inside.shape[1:]
    if size % (height * width):
        return None
    channels = size // (height * width)
    first, steps = places[:, :1, :1], np.arange(height * width).reshape(height, width)
    shape = (channels, height, width)
    if (places == first + steps).all() and not (first % (height * width)).any():
        return Relayout("CHW", shape)
    if (places == first + steps * channels).all() and (first < channels).all():
        return Relayout("HWC", shape)
    return None


def _gemm(node: Node) -> list[Tensor]:
    weight = np.asarray(node.array(1), np.float64)
    if node.attribute("transA", 0):
        raise node.refuse("transA has no kernel")
    weight = (weight if node.attribute("transB", 0) else weight.T) * float(node.attribute("alpha", 1.0))
    product = apply_dense(node, node.tensor(), weight)
    if not node.given(2):
        return [product]
    bias = node.inputs[2]
    beta = float(node.attribute("beta", 1.0))
    if isinstance(bias, Tensor):
        return [added(node, product, scale_shift(node, bias, beta, 0.0))]
    assert bias is not None
    return [scale_shift(node, product, 1.0, beta * np.asarray(bias, np.float64))]


def _matmul(node: Node) -> list[Tensor]:
    return [apply_dense(node, node.tensor(), np.asarray(node.array(1), np.float64).T)]


def apply_dense(node: Node, tensor: Tensor, weight: FloatArray) -> Tensor:
    """Product with the last axis of the tensor; with other axes present, a 1×1 convolution over them."""
    if weight.ndim != 2 or weight.shape[1] != tensor.index.shape[-1]:
        raise node.refuse(f"weight {weight.shape[::-1]} does not fit the activations {tensor.index.shape}")
    lead = tensor.index.shape[:-1]
    if math.prod(lead) == 1:
        tensor = node.builder.settle_all(tensor)
        return Tensor((build.dense(tensor, weight),), np.arange(len(weight)).reshape(*lead, len(weight)))
    rows = tensor.index.reshape(1, math.prod(lead[:-1]), lead[-1], weight.shape[1])
    image = channels_first(node, replace(tensor, index=rows.transpose(0, 3, 1, 2)))
    if planes(image) is not None:
        result = tensor_of(apply_conv(node, image, weight[:, :, None, None], (1, 1), (0, 0, 0, 0), 1))
        return replace(result, index=result.index.transpose(0, 2, 3, 1).reshape(*lead, len(weight)))
    count = math.prod(lead)
    if weight.size * count * count > MAX_ELEMENTS:
        raise node.refuse(f"products over the axes {lead} of this arrangement are too large")
    blocks = np.asarray(np.kron(np.eye(count), weight), np.float64)
    product = build.dense(node.builder.settle_all(tensor), blocks)
    return Tensor((product,), np.arange(len(blocks)).reshape(*lead, len(weight)))


def summed(node: Node, tensor: Tensor, axes: list[int], value: float, shape: tuple[int, ...]) -> Tensor:
    """`value` times the sum over some axes, in the shape given, as a matrix product."""
    count = math.prod(tensor.index.shape[axis] for axis in axes)
    kept = [axis for axis in range(tensor.index.ndim) if axis not in axes]
    rows = tensor.index.transpose(*kept, *axes).reshape(-1)
    outputs = len(rows) // count
    if len(rows) * outputs > MAX_ELEMENTS:
        raise node.refuse(
            f"the sum over the axes {axes} is too large; only height and width have a kernel of their own"
        )
    weight = np.asarray(np.kron(np.eye(outputs), np.full((1, count), value)), np.float64)
    product = build.dense(node.builder.settle_all(replace(tensor, index=rows)), weight)
    return Tensor((product,), np.arange(outputs).reshape(shape))


LINEAR: dict[str, Lowering] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
