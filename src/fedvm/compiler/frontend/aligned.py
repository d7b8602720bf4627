"""Brings two tensors whose elements meet one by one (a sum, a product) into one shape of maps, whatever their axes.

What is repeated along an axis (one number a channel, one for each position) is repeated by a layer: a 1 × 1 convolution
over channels, kernels of ones over height and width.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.builder import Builder
from fedvm.compiler.frontend.values import PADDING, Part, Pending, Ref, Tensor, planes
from fedvm.compiler.graph import Conv, Dense, IntArray, Shape

MOST_SELECTED = 1 << 20
"""Weights, nearly all zero, of a dense layer that puts elements in order."""


def aligned(builder: Builder, left: Tensor, right: Tensor, label: str) -> tuple[Part, Part, IntArray]:
    """Both tensors, broadcast to one ONNX shape, as parts of one (C, H, W), and the index array of the result.

    label: the node, for errors. Raises ModelError if their shapes do not fit each other, UnsupportedOperator if
    putting them in order would take too large a layer.
    """
    if (left.index == PADDING).any() or (right.index == PADDING).any():
        raise UnsupportedOperator(
            f"{label}: a padded tensor must go into a convolution or a pooling layer first"
        )
    try:
        shape = np.broadcast_shapes(left.index.shape, right.index.shape)
    except ValueError as error:
        raise ModelError(f"{label}: {error}") from error
    tensors = [replace(t, index=np.broadcast_to(t.index, shape)) for t in (left, right)]
    for number, own in enumerate(tensors):  # in the maps of one of them, if the other can be brought there
        if len(own.parts) != 1 or not own.whole:
            continue
        found = _in_maps_of(builder, own, tensors[1 - number])
        if found is not None:
            own_part, other = own.parts[0], found
            a, b = (other, own_part) if number else (own_part, other)
            return a, b, np.ascontiguousarray(own.index)
    count = math.prod(shape)
    sizes = [tensor.starts[-1] for tensor in tensors]
    if count * max(sizes) > MOST_SELECTED:
        raise UnsupportedOperator(
            f"{label}: tensors of {count:,} elements whose axes lie in different orders, or of which one is repeated "
            f"along axes that are no channels, rows or columns. A layer that puts {max(sizes):,} elements in order has "
            f"{count * max(sizes):,} weights; up to {MOST_SELECTED:,} are taken"
        )
    a, b = (vector_of(builder, tensor) for tensor in tensors)
    return a, b, np.arange(count, dtype=np.int64).reshape(shape)


def vector_of(builder: Builder, tensor: Tensor) -> Part:
    """The tensor as a vector in ONNX order: a dense layer that chooses one element for each, where it is none yet."""
    flat = tensor.index.ravel()
    count = len(flat)
    part = tensor.parts[0]
    if len(tensor.parts) == 1 and part.shape == (count, 1, 1) and (flat == np.arange(count)).all():
        return part
    settled = builder.settle_all(tensor)
    bias = np.zeros(count)
    terms: dict[str, Dense] = {}
    for number, ref in enumerate(settled.parts):
        assert isinstance(ref, Ref)
        inside = (flat >= settled.starts[number]) & (flat < settled.starts[number + 1])
        if not inside.any():
            continue
        outputs, local = np.flatnonzero(inside), flat[inside] - settled.starts[number]
        channel = local // (ref.shape[1] * ref.shape[2])
        size = math.prod(ref.shape)
        known = terms.get(ref.source)
        weight = np.zeros((count, size)) if known is None else np.asarray(known.weight, np.float64)
        weight[outputs, local] += ref.scale[channel]
        bias[outputs] += ref.offset[channel]
        terms[ref.source] = Dense(ref.source, weight)
    return Pending(tuple(terms.values()), bias, (count, 1, 1))


def _in_maps_of(builder: Builder, own: Tensor, other: Tensor) -> Part | None:
    """`other` in the (C, H, W) of `own`, which is one whole part; None if no cheap layer brings it there."""
    shape = own.parts[0].shape
    where = np.empty(own.index.size, np.int64)
    where[own.index.ravel()] = other.index.ravel()
    if len(other.parts) == 1 and other.parts[0].shape == shape and (np.diff(where) == 1).all():
        return other.parts[0]
    maps = where.reshape(shape)
    if shape[1:] == (1, 1):
        return _chosen(builder, other, maps) if maps.size * other.starts[-1] <= MOST_SELECTED else None
    flat_h, flat_w = bool((maps == maps[:, :1]).all()), bool((maps == maps[:, :, :1]).all())
    core = maps[:, : 1 if flat_h else None, : 1 if flat_w else None]
    part = _chosen(builder, other, core)
    if part is None:
        return None
    if flat_w and shape[2] > 1:
        part = _repeated(builder, part, 2, shape[2])
    if flat_h and shape[1] > 1:
        part = _repeated(builder, part, 1, shape[1])
    return part


def _chosen(builder: Builder, tensor: Tensor, index: IntArray) -> Part | None:
    """The elements at `index` `[C, H, W]` as a part of that shape, by a 1 × 1 convolution over whole maps; for a
    vector by a dense layer."""
    wanted = replace(builder.settle_all(tensor), index=index[None])
    if planes(wanted) is not None:
        return build.conv(wanted, np.eye(len(index))[:, :, None, None], (1, 1), (0, 0, 0, 0), 1)
    if index.shape[1:] != (1, 1):
        return None
    return vector_of(builder, replace(wanted, index=index.ravel()))


def _repeated(builder: Builder, part: Part, axis: int, count: int) -> Pending:
    """The part, of one row or column, repeated `count` times along the axis (1: rows, 2: columns): a kernel of ones
    that meets it once at each place, and zeros beside it."""
    ref = builder.settle_plain(part)
    channels = ref.shape[0]
    kernel = (count, 1) if axis == 1 else (1, count)
    pads = (count - 1, 0, count - 1, 0) if axis == 1 else (0, count - 1, 0, count - 1)
    term = Conv(ref.source, np.ones((channels, 1, *kernel)), (1, 1), pads, 0, channels)
    shape: Shape = (channels, count, ref.shape[2]) if axis == 1 else (channels, ref.shape[1], count)
    return Pending((term,), np.zeros(channels), shape)
