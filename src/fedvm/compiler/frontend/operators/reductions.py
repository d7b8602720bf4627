"""Means, sums and maxima over axes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.operators.linear import apply_dense, channels_first, summed
from fedvm.compiler.frontend.operators.node import Lowering, Node
from fedvm.compiler.frontend.operators.pooling import apply_max_pool, depthwise
from fedvm.compiler.frontend.values import Tensor, planes


def _reduce_mean(node: Node) -> list[Tensor]:
    return [_reduce(node, mean=True)]


def _reduce_sum(node: Node) -> list[Tensor]:
    return [_reduce(node, mean=False)]


def _reduce_max(node: Node) -> list[Tensor]:
    axes, shape = reduced_axes(node)
    if not axes:
        return [node.tensor()]
    image = reduced_image(node, axes)
    if image is not None and planes(image) is None:
        image = channels_first(node, image)
    if image is None or planes(image) is None:
        raise node.refuse(
            f"the maximum over the axes {axes} has no kernel; only that over height and width has"
        )
    size = (int(image.index.shape[2]), int(image.index.shape[3]))
    result = apply_max_pool(node, image, size, (1, 1), (0, 0, 0, 0))
    return [replace(result, index=result.index.reshape(shape))]


def _reduce(node: Node, mean: bool) -> Tensor:
    """Mean or sum over some axes: an average where they are height and width, else a matrix product."""
    axes, shape = reduced_axes(node)
    tensor = node.tensor()
    if not axes:
        return tensor
    count = math.prod(tensor.index.shape[axis] for axis in axes)
    value = 1 / count if mean else 1.0
    image = reduced_image(node, axes)
    if image is not None:
        image = channels_first(node, image)
        if planes(image) is not None:
            size = (int(image.index.shape[2]), int(image.index.shape[3]))
            result = depthwise(node, image, size, (1, 1), (0, 0, 0, 0), value)
            return replace(result, index=result.index.reshape(shape))
    if axes == [tensor.index.ndim - 1] and math.prod(tensor.index.shape[:-1]) > 1:
        result = apply_dense(node, tensor, np.full((1, count), value))
        return replace(result, index=result.index.reshape(shape))
    if tensor.index.ndim == 4 and axes == [1]:  # of channels, at every place
        last = apply_dense(
            node, replace(tensor, index=tensor.index.transpose(0, 2, 3, 1)), np.full((1, count), value)
        )
        return replace(last, index=last.index.reshape(shape))
    return summed(node, tensor, axes, value, shape)


def reduced_axes(node: Node) -> tuple[list[int], tuple[int, ...]]:
    """The axes of a reduction, ascending, and the shape of its result."""
    before = node.tensor().index.shape
    rank = len(before)
    axes = node.ints("axes", 1)
    if not axes:
        axes = [] if node.attribute("noop_with_empty_axes", 0) else list(range(rank))
    if any(not -rank <= axis < rank for axis in axes):
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has bad axes: {axes}")
    axes = sorted({axis % rank for axis in axes})
    if node.attribute("keepdims", 1):
        return axes, tuple(1 if axis in axes else n for axis, n in enumerate(before))
    return axes, tuple(n for axis, n in enumerate(before) if axis not in axes)


def reduced_image(node: Node, axes: list[int]) -> Tensor | None:
    """The input of a reduction over two axes, or one, as `[1, C, H, W]`; None if other axes than C are left."""
    tensor = node.tensor()
    rank = tensor.index.ndim
    channel = [axis for axis in range(1, rank) if axis not in axes]
    if rank not in (3, 4) or len(channel) != 1 or 0 in axes or tensor.index.shape[0] != 1:
        return None
    index = tensor.index.transpose(0, channel[0], *axes)
    return replace(tensor, index=index[:, :, None, :] if rank == 3 else index)


REDUCTIONS: dict[str, Lowering] = {
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce_mean,
    "ReduceSum": _reduce_sum,
}
