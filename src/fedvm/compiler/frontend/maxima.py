"""Maxima of what is no map (a vector that was folded into one, frames beside each other): by halves, as maxima of two
tensors. Of maps they are pooling layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fedvm.compiler.frontend.gates import GATES
from fedvm.compiler.frontend.operators import OPERATORS
from fedvm.compiler.frontend.operators.linear import channels_first
from fedvm.compiler.frontend.operators.node import Node, Value
from fedvm.compiler.frontend.operators.pooling import image_of, pooling_of, squeezed
from fedvm.compiler.frontend.operators.reductions import reduced_axes, reduced_image
from fedvm.compiler.frontend.values import PADDING, Tensor, planes
from fedvm.compiler.graph import IntArray


def _reduce_max(node: Node) -> list[Tensor]:
    axes, shape = reduced_axes(node)
    image = reduced_image(node, axes) if axes else None
    tensor = node.tensor()
    if not axes or (image is not None and _is_map(node, image)) or (tensor.index == PADDING).any():
        return OPERATORS["ReduceMax"](node)
    kept = [axis for axis in range(tensor.index.ndim) if axis not in axes]
    rows = tensor.index.transpose(*axes, *kept).reshape(-1, *(tensor.index.shape[axis] for axis in kept))
    result = _largest(node, tensor, rows)
    return [replace(result, index=result.index.reshape(shape))]


def _global_max_pool(node: Node) -> list[Tensor]:
    image = image_of(node)
    if _is_map(node, image) or (image.index == PADDING).any():
        return OPERATORS["GlobalMaxPool"](node)
    channels = image.index.shape[1]
    result = _largest(node, image, image.index[0].reshape(channels, -1).T)
    return [squeezed(node, replace(result, index=result.index.reshape(1, channels, 1, 1)))]


def _max_pool(node: Node) -> list[Tensor]:
    if len(node.proto.output) > 1 or any(d != 1 for d in node.attribute("dilations", [1])):
        return OPERATORS["MaxPool"](node)
    image, kernel, stride, pads = pooling_of(node)
    if _is_map(node, image) or any(pads) or (image.index == PADDING).any():
        return OPERATORS["MaxPool"](node)
    windows = np.lib.stride_tricks.sliding_window_view(image.index[0], kernel, axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1]].transpose(3, 4, 0, 1, 2)
    result = _largest(node, image, windows.reshape(-1, *windows.shape[2:]))
    return [squeezed(node, replace(result, index=result.index[None]))]


def _is_map(node: Node, image: Tensor) -> bool:
    return planes(image) is not None or planes(channels_first(node, image)) is not None


def _largest(node: Node, tensor: Tensor, rows: IntArray) -> Tensor:
    """The largest along the first axis of `rows`, elements of the tensor."""
    result = replace(tensor, index=rows)
    while (count := len(result.index)) > 1:
        half = (count + 1) // 2  # of an odd number the one in the middle is in both halves
        both: list[Value | None] = [
            replace(result, index=result.index[:half]),
            replace(result, index=result.index[-half:]),
        ]
        (result,) = GATES["Max"](replace(node, inputs=both))
    return replace(result, index=result.index[0])


MAXIMA: dict[str, Callable[[Node], list[Tensor]]] = {
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
    "ReduceMax": _reduce_max,
}
