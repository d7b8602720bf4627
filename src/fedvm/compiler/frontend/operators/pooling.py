"""Maxima and averages over windows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.operators.linear import apply_conv, channels_first, convolve, summed
from fedvm.compiler.frontend.operators.node import Lowering, Node
from fedvm.compiler.frontend.operators.windows import (
    apart,
    check_positions,
    pair_of,
    side_by_side,
    window_pads,
)
from fedvm.compiler.frontend.values import Part, Pending, Ref, Tensor, planes, tensor_of
from fedvm.compiler.frontend.varying import by_position, divisors
from fedvm.compiler.graph import FloatArray, MaxPool


def _max_pool(node: Node) -> list[Tensor]:
    if len(node.proto.output) > 1:
        raise node.refuse("the indices output has no kernel")
    if any(d != 1 for d in node.attribute("dilations", [1])):
        raise node.refuse("dilated pooling has no kernel")
    tensor, kernel, stride, pads = pooling_of(node)
    return [squeezed(node, apply_max_pool(node, tensor, kernel, stride, pads))]


def _global_max_pool(node: Node) -> list[Tensor]:
    tensor = image_of(node)
    size = (int(tensor.index.shape[2]), int(tensor.index.shape[3]))
    return [squeezed(node, apply_max_pool(node, tensor, size, (1, 1), (0, 0, 0, 0)))]


def apply_max_pool(
    node: Node,
    tensor: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Tensor:
    found = planes(tensor)
    if found is None:
        tensor = channels_first(node, tensor)
        found = planes(tensor)
    if found is None:
        raise node.refuse("the input is not in channel, height, width order")
    if any(found.pads):
        # An explicit padding is one that never wins when nothing inside is smaller than it.
        if any(pads) or any(_lower_bound(node, part) < tensor.fill for part in tensor.parts):
            raise node.refuse(
                "pads activations with a value that could win; pad inside the pooling layer instead"
            )
        pads = found.pads
    if max(pads[0], pads[2]) >= kernel[0] or max(pads[1], pads[3]) >= kernel[1]:
        raise node.refuse("pads are as wide as the window, which then holds nothing")
    shapes = []
    parts: list[Part] = []
    for part in tensor.parts:
        if (
            isinstance(part, Ref)
            or part.pool is not None
            or not (part.function is None or part.function.increasing)
        ):
            part = build.pending(node.builder.settle(part))
        height, width = part.shape[1:]
        shapes.append(
            (
                part.shape[0],
                (height + pads[0] + pads[2] - kernel[0]) // stride[0] + 1,
                (width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1,
            )
        )
        parts.append(replace(part, pool=MaxPool(kernel, stride, pads), shape=shapes[-1]))
    return _by_channel(parts, tensor)


def _lower_bound(node: Node, part: Part) -> float:
    if isinstance(part, Pending):
        return part.low
    return 0.0 if node.builder.is_nonnegative(part) else -math.inf


def _average_pool(node: Node) -> list[Tensor]:
    if any(d != 1 for d in node.attribute("dilations", [1])):
        raise node.refuse("dilated pooling has no kernel")
    tensor, kernel, stride, pads = pooling_of(node)
    size, spatial = tensor.index.shape[2:], node.tensor().index.ndim - 2
    included = node.attribute("count_include_pad", 0)
    counted = window_pads(node, size, kernel, stride, spatial) if included else (0, 0, 0, 0)
    counts = divisors(size, kernel, stride, pads, counted)
    least = int(counts.min())
    if least < 1:
        raise node.refuse("a window holds nothing but padding; use smaller pads")
    result = depthwise(node, tensor, kernel, stride, pads, 1 / least)
    if int(counts.max()) > least:
        factor = np.broadcast_to(least / counts, result.index.shape)
        result = by_position(node.builder.settle_all(result), factor, np.zeros(factor.shape))
    return [squeezed(node, result)]


def _global_average_pool(node: Node) -> list[Tensor]:
    tensor = image_of(node)
    size = (int(tensor.index.shape[2]), int(tensor.index.shape[3]))
    tensor = channels_first(node, tensor)
    if planes(tensor) is None:
        result = summed(node, tensor, [2, 3], 1 / math.prod(size), (1, tensor.index.shape[1], 1, 1))
        return [squeezed(node, result)]
    return [squeezed(node, depthwise(node, tensor, size, (1, 1), (0, 0, 0, 0), 1 / math.prod(size)))]


def depthwise(
    node: Node,
    tensor: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    value: float,
) -> Tensor:
    """Every channel convolved with a kernel of equal values; channels keep their parts."""
    tensor = channels_first(node, tensor)
    channels = tensor.index.shape[1]
    found = planes(tensor)
    several = len(tensor.parts) > 1 or kernel == tensor.index.shape[2:]
    if several and found is not None and not any(found.pads):
        parts: list[Part] = [
            apply_conv(
                node, tensor_of(part), _equal(part.shape[0], kernel, value), stride, pads, part.shape[0]
            )
            for part in tensor.parts
        ]
        return _by_channel(parts, tensor)
    weight = _equal(channels, kernel, value)
    return convolve(node, tensor, weight, stride, pads, channels, np.zeros(channels))


def _equal(channels: int, kernel: tuple[int, int], value: float) -> FloatArray:
    return np.full((channels, 1, *kernel), value)


def _by_channel(parts: list[Part], old: Tensor) -> Tensor:
    """The pooled parts in the channel order that the tensor had before pooling."""
    found = planes(old)
    assert found is not None
    new = Tensor(tuple(parts), old.index)
    height, width = parts[0].shape[1:]
    starts = np.array(new.starts)[found.part] + found.channel * height * width
    inner = np.arange(height * width).reshape(height, width)
    return replace(new, index=(starts[:, None, None] + inner)[None].astype(np.int64), fill=0.0)


def image_of(node: Node) -> Tensor:
    tensor = node.tensor()
    if tensor.index.ndim not in (3, 4):
        raise node.refuse("only 1-D and 2-D pooling are supported")
    tensor = replace(tensor, index=tensor.index[:, :, None, :]) if tensor.index.ndim == 3 else tensor
    return side_by_side(tensor)[0]


def squeezed(node: Node, result: Tensor) -> Tensor:
    """The result with the frames and the rank that the node's input has."""
    result = apart(result, node.tensor().index.shape[0])
    return replace(result, index=result.index[:, :, 0]) if node.tensor().index.ndim == 3 else result


def pooling_of(node: Node) -> tuple[Tensor, tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Input, kernel, stride and pads of a pooling node; ceil_mode becomes padding at the end."""
    spatial = node.tensor().index.ndim - 2
    tensor = image_of(node)
    kernel = pair_of(node, "kernel_shape", spatial, None)
    stride = pair_of(node, "strides", spatial, (1, 1))
    size = tensor.index.shape[2:]
    same = str(node.attribute("auto_pad", "NOTSET")).startswith("SAME")
    if same and any(-(-n // s) * s - s + k < n for n, s, k in zip(size, stride, kernel, strict=True)):
        raise node.refuse(
            "auto_pad SAME with a stride that leaves out the end of the map; export it with pads"
        )
    pads = window_pads(node, size, kernel, stride, spatial)
    if node.attribute("ceil_mode", 0):
        begin, end = pads[:2], list(pads[2:])
        for axis in range(2):
            length = size[axis] + begin[axis] + end[axis]
            steps = math.ceil((length - kernel[axis]) / stride[axis])
            if steps * stride[axis] >= size[axis] + begin[axis]:
                steps -= 1  # the last window must not start in the padding
            end[axis] += max(0, steps * stride[axis] + kernel[axis] - length)
        pads = (*begin, end[0], end[1])
    check_positions(node, size, kernel, pads)
    return tensor, kernel, stride, pads


POOLING: dict[str, Lowering] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
