"""Constants that vary over positions: averages whose divisor does, mean images, normalisation along the last axis.

A layer of the program has one factor for each channel. If a layout of the input makes the constants one for each
channel, the input takes it. Elsewhere a tensor becomes an arrangement of several scaled versions of itself, which a
dense layer folds into its weights; a convolution cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.builder import Builder
from fedvm.compiler.frontend.values import PADDING, Part, Ref, Tensor
from fedvm.compiler.graph import INPUT, FloatArray, IntArray, Shape

MOST_VERSIONS = 64
"""Versions of one tensor, each with a factor and an offset of its own."""


class Relayout(Exception):
    """The input turned out to be laid out in another way than assumed; lowering starts over with this one. reason: why,
    if what follows may not be able to read it so."""

    def __init__(self, layout: str, shape: Shape, reason: str = "") -> None:
        super().__init__(layout, shape, reason)
        self.layout, self.shape, self.reason = layout, shape, reason


def layout_for(
    builder: Builder, tensor: Tensor, scale: FloatArray, offset: FloatArray, what: str
) -> Relayout | None:
    """The layout of the input in which constants, one for each element `[C·H·W]` in the present layout, are one for
    each channel; None if the tensor is something else than the input. what: the constants' node, in words."""
    parts = tensor.parts
    if len(parts) != 1 or not isinstance(parts[0], Ref) or parts[0].source != INPUT:
        return None
    spec = builder.spec
    channels, height, width = spec.shape
    if spec.layout == "HWC":
        scale, offset = (
            v.reshape(channels, height, width).transpose(1, 2, 0).ravel() for v in (scale, offset)
        )
    for layout, shape in _layouts(spec.onnx_shape):
        if (layout, shape) == (spec.layout, spec.shape):
            continue
        reason = "" if math.prod(shape[1:]) > 1 else what
        if all(_per_channel(v, layout, shape) for v in (scale, offset)):
            return Relayout(layout, shape, reason)
    return None


def _layouts(onnx_shape: tuple[int, ...]) -> Iterator[tuple[Literal["CHW", "HWC"], Shape]]:
    """What an input of this shape may be: an image or a series with channels first or last, or a vector."""
    if len(onnx_shape) == 3:
        a, b, c = onnx_shape
        yield "CHW", (a, b, c)
        yield "HWC", (c, a, b)
    elif len(onnx_shape) == 2:
        a, b = onnx_shape
        yield "CHW", (a, 1, b)
        yield "HWC", (b, 1, a)
    yield "CHW", (math.prod(onnx_shape), 1, 1)


def _per_channel(value: FloatArray, layout: str, shape: Shape) -> bool:
    """Whether values in the order of the ONNX input are the same all over each channel."""
    rows = value.reshape(-1, shape[0]).T if layout == "HWC" else value.reshape(shape[0], -1)
    return bool((rows == rows[:, :1]).all())


def by_position(tensor: Tensor, scale: NDArray[Any], offset: NDArray[Any]) -> Tensor:
    """`scale · tensor + offset`, element by element, of a tensor of finished parts; arrays of the tensor's shape.

    Raises UnsupportedOperator if there are too many different values.
    """
    pairs = np.stack([np.asarray(scale, np.float64).ravel(), np.asarray(offset, np.float64).ravel()], axis=1)
    values, version = np.unique(pairs, axis=0, return_inverse=True)
    if len(values) > MOST_VERSIONS:
        raise UnsupportedOperator(
            f"the constant has {len(values)} different values over positions; at most {MOST_VERSIONS} are supported, "
            "one for each channel without limit"
        )
    parts: list[Part] = []
    for factor, shift in values:
        for part in tensor.parts:
            own = np.ones(part.shape[0])
            parts.append(build.affine(part, factor * own, shift * own))
    moved = tensor.index + version.reshape(tensor.index.shape) * tensor.starts[-1]
    return replace(tensor, parts=tuple(parts), index=np.where(tensor.index == PADDING, PADDING, moved))


def divisors(
    size: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    counted: tuple[int, int, int, int],
) -> IntArray:
    """How many elements each window of a pooling averages, `[H', W']`.

    pads: (top, left, bottom, right) for the windows; counted: those of them that count as elements, which are zeros.
    """
    along = []
    for axis in range(2):
        first = (
            np.arange((size[axis] + pads[axis] + pads[axis + 2] - kernel[axis]) // stride[axis] + 1)
            * stride[axis]
        )
        begin = first - pads[axis]
        end = np.minimum(begin + kernel[axis], size[axis] + counted[axis + 2])
        along.append(end - np.maximum(begin, -counted[axis]))
    return np.asarray(along[0][:, None] * along[1][None, :], np.int64)
