"""What the bytes of a real-valued input stand for: a range for each channel, divided into 255 steps.

A feature with a range of its own keeps 8 bits of precision; one range for all features would round a small feature to
nothing beside a large one. Channels that are alike, such as pixels, share one range, so that a pixel which was dark in
all samples can be bright later.

"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.encoding import encode_rows
from fedvm.compiler.errors import CalibrationError, ModelError
from fedvm.compiler.graph import FloatArray, Layout, Shape

STEPS = 255
"""Steps between the bytes 0 and 255."""
ALIKE = 4
"""Channels share a range if none of their own ranges is narrower than the shared one by more than this factor. So at
most two bits are lost."""
SAME_FLOOR, HALF = 0.75, 0.5
"""Channels also share a range, as pixels do, if this share of them starts at the same value and the median channel
fills half of the range."""
OWN_AXIS = 2.0
"""The last axis holds the features if the ranges along it are narrower by this factor (geometric mean)."""
CONSTANT = 2.0**-10
"""Width of the range of a channel that never varied, relative to its value."""
GRID_ERROR = 0.01
"""How far, in steps, a value may be off a grid and still count as on it: float32 holds 0.1 inexactly."""


def by_channel(x: NDArray[Any], layout: Layout, shape: Shape) -> NDArray[Any]:
    """Inputs `[N, *onnx_shape]` as `[N, C, H·W]`, or `[N, C, W·H]` where they lie so; shape: `(C, H, W)`, layout: how
    the elements lie."""
    channels, height, width = shape
    if layout.endswith("C"):
        return x.reshape(len(x), height * width, channels).transpose(0, 2, 1)
    return x.reshape(len(x), channels, height * width)


def to_bytes(
    x: NDArray[Any], layout: Layout, shape: Shape, scale: FloatArray, offset: FloatArray
) -> NDArray[np.uint8]:
    """Bytes q for real inputs `[N, *onnx_shape]`, in their shape: the nearest to `(x − offset) / scale` (`[C]`).

    Values beyond the range become its ends.
    """
    real = by_channel(x, layout, shape).astype(np.float64)
    q = np.clip(np.rint((real - offset[None, :, None]) / scale[None, :, None]), 0, STEPS).astype(np.uint8)
    return np.ascontiguousarray(q.transpose(0, 2, 1) if layout.endswith("C") else q).reshape(x.shape)


def quantize_input(spec: Mapping[str, Any], x: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes, uint8 `[N, *shape]`, that stand for real inputs `[N, *shape]` of a compiled model; of a tabular model
    for rows `[N, features]` of numbers and text.

    spec: `manifest["input"]`. uint8 inputs are returned unchanged.

    Raises:
        ValueError: another shape; values that are not numbers, NaN or infinite; or real numbers although the model
            takes bytes.
    """
    if "row" in spec and x.dtype != np.uint8:
        return encode_rows(spec["row"], x)
    shape = tuple(spec["shape"])
    if x.shape[1:] != shape:
        raise ValueError(
            f"inputs have shape {list(x.shape)}, the model takes [N, {', '.join(map(str, shape))}]"
        )
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind not in "fiu" or not np.isfinite(x).all():
        raise ValueError("inputs must be finite numbers; these hold NaN, infinity or something else")
    channels, height, width = spec["tensor"]
    scale, offset = (np.asarray(spec[name], np.float64) for name in ("scale", "offset"))
    return to_bytes(x, spec["layout"], (channels, height, width), scale, offset)


def scale_of(low: FloatArray, high: FloatArray) -> FloatArray:
    """The size of one step of a byte, `[C]`, such that `(low, low + 255 · scale)` gives the same scale again."""
    while True:
        scale: FloatArray = (high - low) / STEPS
        again = low + STEPS * scale
        if np.array_equal((again - low) / STEPS, scale):
            return scale
        high = again


def measured(samples: NDArray[Any], layout: Layout, shape: Shape) -> tuple[FloatArray, FloatArray]:
    """`(low, high)`, each `[C]`: the ranges of real samples `[N, *onnx_shape]`.

    Values that all lie on a grid of at most 255 steps (classes, counts, tenths) are held exactly. Raises
    CalibrationError if no channel varies.
    """  # fmt: skip
    values = by_channel(samples, layout, shape).astype(np.float64)
    low, high = values.min(axis=(0, 2)), values.max(axis=(0, 2))
    if (low == high).all():
        same = f"are {low.min():g}" if low.min() == high.max() else "have the same values"
        raise CalibrationError(
            f"all calibration inputs {same}; give typical inputs, which vary, or input_range"
        )
    if _alike(low, high):
        shared = _range(values)
        return np.full(len(low), shared[0]), np.full(len(low), shared[1])
    ranges = np.array([_range(values[:, c]) for c in range(len(low))])
    return ranges[:, 0], ranges[:, 1]


def last_axis_differs(samples: NDArray[Any]) -> bool:
    """Whether the features of samples `[N, A, ..., B]` lie along the last axis and not along the first."""
    first, last = samples.shape[1], samples.shape[-1]
    if samples.ndim not in (3, 4) or min(first, last) < 2 or first == last:
        return False
    widths = [
        np.ptp(np.moveaxis(samples, axis, 0).reshape(samples.shape[axis], -1), axis=1) for axis in (-1, 1)
    ]
    along_last, along_first = (np.exp(np.log(w[w > 0]).mean()) if (w > 0).any() else 0.0 for w in widths)
    return bool(0 < along_last * OWN_AXIS < along_first)


def given(bounds: Any, channels: int) -> tuple[FloatArray, FloatArray]:
    """`(low, high)`, each `[C]`, of a range that was given: two numbers, or for each channel. Raises ModelError if it
    is not a range or has another number of channels."""
    try:
        low, high = (np.asarray(bound, np.float64) for bound in bounds)
    except (TypeError, ValueError):
        raise ModelError("input_range must be (low, high): numbers, or lists of one a channel") from None
    for bound in (low, high):
        if bound.ndim > 1 or bound.size not in (1, channels) or not np.isfinite(bound).all():
            raise ModelError(
                f"input_range has {bound.size} values: give finite numbers, one or one for each of {channels} channels"
            )
    low, high = (np.broadcast_to(bound.ravel(), (channels,)).copy() for bound in (low, high))
    if not (low < high).all():
        raise ModelError(f"input_range {bounds} must hold two finite numbers, the smaller first")
    return low, high


def with_level(low: float, high: float, value: float, dropped: int) -> tuple[float, float]:
    """The smallest range around `low..high` in which `value` is a level, so that padding can represent it exactly.
    dropped: number of low bits of a byte that the network does not see; the rest stands for the mean of the possible
    bytes.
    """
    low, high = min(low, value), max(high, value)
    step, middle = 2.0**dropped, (2.0**dropped - 1) / 2
    top = (STEPS + 1) / step - 1
    at = middle + step * float(
        np.clip(np.rint(((value - low) / (high - low) * STEPS - middle) / step), 0, top)
    )
    scale = max((value - low) / at if at > 0 else 0.0, (high - value) / (STEPS - at) if at < STEPS else 0.0)
    return value - scale * at, value + scale * (STEPS - at)


def _alike(low: FloatArray, high: FloatArray) -> bool:
    width = high - low
    share = width[width > 0] / (high.max() - low.min())
    if (share >= 1 / ALIKE).all():
        # A channel that is constant far from the others would widen the range of all.
        varied = width > 0
        return bool(high.max() - low.min() <= ALIKE * (high[varied].max() - low[varied].min()))
    return bool((low == low.min()).mean() >= SAME_FLOOR and np.median(share) >= HALF)


def _range(values: FloatArray) -> tuple[float, float]:
    """The range of one channel, or of several that share it."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, low + max(abs(low), 1.0) * CONSTANT
    levels = np.unique(values)
    if len(levels) > STEPS + 1:
        return low, high
    count = np.rint((high - low) / np.diff(levels).min())
    if count > STEPS:
        return low, high
    step = (high - low) / count
    off = np.abs((levels - low) / step - np.rint((levels - low) / step))
    return (low, low + step * STEPS / (STEPS // count)) if off.max() <= GRID_ERROR else (low, high)
