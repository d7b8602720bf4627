"""Larger maps without larger layers: transposed convolutions, and convolutions over what was enlarged.

A map that was enlarged by s is kept as s² maps of the old size, its phases: row s·i + p is row i of phase p. A
transposed convolution gives the phases of its result as channels of an ordinary convolution; so does a convolution that
reads phases. Nothing is computed for the zeros or the copies in between.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.builder import Builder
from fedvm.compiler.frontend.load import MAX_ELEMENTS
from fedvm.compiler.frontend.values import PADDING, Part, Pending, Tensor, planes
from fedvm.compiler.graph import Conv, FloatArray, IntArray

MOST = 4
"""Largest factor by which a map that a convolution reads may have been enlarged."""
Pair = tuple[int, int]


def in_phases(builder: Builder, tensor: Tensor) -> tuple[Tensor, Pair] | None:
    """`[1, C, H, W]` as `[1, C·s·s', H/s, W/s']`, maps that a convolution can read, and the factors (s, s'); None if
    it is no enlarged map. What was not enlarged beside it is taken apart into phases by a layer."""
    if tensor.index.ndim != 4 or tensor.index.shape[0] != 1 or (tensor.index == PADDING).any():
        return None
    for factors in sorted(np.ndindex(MOST, MOST), key=sum):
        down, along = factors[0] + 1, factors[1] + 1
        height, width = tensor.index.shape[2:]
        if down * along == 1 or height % down or width % along:
            continue
        for candidate in (tensor, _all_apart(builder, tensor, (down, along))):
            if candidate is None:
                continue
            index = candidate.index.reshape(1, -1, height // down, down, width // along, along)
            index = index.transpose(0, 1, 3, 5, 2, 4).reshape(1, -1, height // down, width // along)
            found = replace(candidate, index=index)
            if planes(found) is not None:
                return found, (down, along)
    return None


def _all_apart(builder: Builder, tensor: Tensor, by: Pair) -> Tensor | None:
    """The tensor with the parts of its own height and width in phases; None if it has none, or nothing else."""
    size = tensor.index.shape[2:]
    whole = [part.shape[1:] == size for part in tensor.parts]
    if all(whole) or not any(whole):
        return None
    parts: list[Part] = []
    remap: list[IntArray] = []
    start = 0
    for part, is_whole in zip(tensor.parts, whole, strict=True):
        count = math.prod(part.shape)
        places = np.arange(count)
        if is_whole:
            ref = builder.settle_plain(part)
            channels = ref.shape[0]
            weight = np.zeros((channels, by[0] * by[1], 1, *by))
            for phase, (y, x) in enumerate(np.ndindex(*by)):
                weight[:, phase, 0, y, x] = 1.0
            term = Conv(ref.source, weight.reshape(-1, 1, *by), by, (0, 0, 0, 0), 0, channels)
            shape = (channels * by[0] * by[1], size[0] // by[0], size[1] // by[1])
            part = builder.settle(Pending((term,), np.zeros(shape[0]), shape))
            apart = places.reshape(channels, by[0], by[1], *shape[1:])  # where each phase's elements lie
            places = apart.transpose(0, 3, 1, 4, 2).reshape(-1)
        remap.append(places + start)
        parts.append(part)
        start += count
    return Tensor(tuple(parts), np.concatenate(remap)[tensor.index])


def over_phases(
    weight: FloatArray, stride: Pair, pads: tuple[int, int, int, int], by: Pair, size: Pair
) -> Any:
    """A convolution over a map of `size` as one over its phases: (weight `[O·q, C·s·s', …]`, stride, pads, factors
    of the result, its height and width); None if its stride does not fit.

    weight: `[O, C, kh, kw]` of one group.
    """
    plan = [_along(weight.shape[2 + a], stride[a], pads[a], pads[a + 2], by[a], size[a]) for a in range(2)]
    if any(p is None for p in plan):
        return None
    (ty, sy, py, qy, h), (tx, sx, px, qx, w) = plan
    outputs, inputs = weight.shape[:2]
    result = np.zeros((outputs, qy, qx, inputs, by[0], by[1], len(ty[0][0]), len(tx[0][0])))
    if result.size > MAX_ELEMENTS:
        return None
    for (a, b), (i, j) in ((q, p) for q in np.ndindex(qy, qx) for p in np.ndindex(*by)):
        for y, ky in enumerate(ty[a][i]):
            for x, kx in enumerate(tx[b][j]):
                if ky >= 0 and kx >= 0:
                    result[:, a, b, :, i, j, y, x] = weight[:, :, ky, kx]
    flat = result.reshape(outputs * qy * qx, inputs * by[0] * by[1], *result.shape[-2:])
    return flat, (sy, sx), (py[0], px[0], py[1], px[1]), (qy, qx), (h, w)


def _along(kernel: int, stride: int, begin: int, end: int, by: int, size: int) -> Any:
    """One axis: for each phase of the result and each of the source the tap at every offset, −1 for none; the
    stride, (begin, end) of the padding, the phases of the result and its length."""
    length = (size + begin + end - kernel) // stride + 1
    if stride % by == 0:
        phases, step = 1, stride // by
    elif stride == 1:
        phases, step = by, 1
    else:
        return None
    reached = [(q + k - begin) // by for q in range(phases) for k in range(kernel)]
    least, most = min(0, *reached), max(reached)
    taps = [[[-1] * (most - least + 1) for _ in range(by)] for _ in range(phases)]
    for q in range(phases):
        for k in range(kernel):
            at = q + k - begin
            taps[q][at % by][at // by - least] = k
    count = -(-length // phases)
    beyond = (count - 1) * step + most - (size // by - 1)
    return taps, step, (-least, max(0, beyond)), phases, length


def from_phases(tensor: Tensor, by: Pair, size: Pair) -> Tensor:
    """Channels `[1, O·s·s', H', W']` that are the phases of maps as these maps `[1, O, H, W]` of `size`."""
    height, width = tensor.index.shape[2:]
    index = tensor.index.reshape(-1, *by, height, width)
    whole = index.transpose(0, 3, 1, 4, 2).reshape(1, -1, height * by[0], width * by[1])
    return replace(tensor, index=np.ascontiguousarray(whole[:, :, : size[0], : size[1]]))


def transposed_as_phases(
    weight: FloatArray, stride: Pair, pads: tuple[int, int, int, int], size: Pair, out: Pair, groups: int
) -> tuple[FloatArray, tuple[int, int, int, int]]:
    """A transposed convolution as an ordinary one over the same map, whose channels are the phases of the result.

    weight: `[C, O / groups, kh, kw]`; size, out: of the map and of the result. Returns (weight `[O·s·s', C / groups,
    …]`, pads).
    """
    plan = [_transposed_along(weight.shape[2 + a], stride[a], pads[a], size[a], out[a]) for a in range(2)]
    (ty, py), (tx, px) = plan
    inputs, each = weight.shape[0] // groups, weight.shape[1]
    result = np.zeros((groups, each, stride[0], stride[1], inputs, len(ty[0]), len(tx[0])))
    own = weight.reshape(groups, inputs, each, *weight.shape[2:])
    for a, b in np.ndindex(*stride):
        for y, ky in enumerate(ty[a]):
            for x, kx in enumerate(tx[b]):
                if ky >= 0 and kx >= 0:
                    result[:, :, a, b, :, y, x] = own[:, :, :, ky, kx].transpose(0, 2, 1)
    flat = result.reshape(groups * each * stride[0] * stride[1], inputs, len(ty[0]), len(tx[0]))
    return flat, (py[0], px[0], py[1], px[1])


def _transposed_along(
    kernel: int, stride: int, begin: int, size: int, out: int
) -> tuple[list[list[int]], Pair]:
    """One axis: for each phase the tap at every offset, −1 for none, and (begin, end) of the padding."""
    at = {
        (q, (q + begin - k) // stride): k
        for q in range(stride)
        for k in range((q + begin) % stride, kernel, stride)
    }
    if not at:
        raise ModelError("a transposed convolution whose padding leaves nothing")
    least, most = min(0, *(o for _, o in at)), max(0, *(o for _, o in at))
    taps = [[at.get((q, o), -1) for o in range(least, most + 1)] for q in range(stride)]
    beyond = -(-out // stride) - 1 + most - (size - 1)
    return taps, (-least, max(0, beyond))
