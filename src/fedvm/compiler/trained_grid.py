"""Recognises layers that were trained on integers, whose weights then need no rounding.

Quantization-aware training leaves a layer's weights on whole multiples of a step, and its activation clipped at a
whole number of output steps. If the two are related by a power of two, the integer layer that was trained can be had
exactly, which no fit to calibration data improves on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.graph import Dense, FloatArray, FloatLayer
from fedvm.compiler.scales import MAX_SHIFT, Scales

WEIGHT_ERROR = 1e-5
"""Relative error of a weight in a float32 file, with room for the folding of a preprocessing."""
BIAS_ERROR = 0.02
"""Steps by which a bias may be off the grid: it adds up more float errors than a weight."""


@dataclass(frozen=True)
class TrainedGrid:
    """Scales with which the weights are whole numbers, and the bits of the output (None: scores)."""

    scales: Scales
    output_bits: int | None


def trained_grid(
    layer: FloatLayer, weights: Sequence[FloatArray], bias: FloatArray, limit: int, output_bits: int | None
) -> TrainedGrid | None:
    """The grid on which all of the layer's weights are whole numbers of magnitude at most `limit`.

    weights: `[O, K]` of each term, on integer inputs; bias `[O]` real; output_bits: the output takes at most so many,
    None for scores. None if the weights are not on such a grid.
    """
    flat = np.concatenate(weights, axis=1)
    if not flat.any():
        return None
    if output_bits is None:
        return _of_scores(flat, bias, limit)
    activation = layer.activation
    if not isinstance(activation, tuple) or activation[1] != 0 or not 0 < activation[2] < np.inf:
        return None
    common = any(isinstance(term, Dense) for term in layer.terms)
    # The fewest bits first: a grid of 2 bits is one of 4 bits too, with weights five times as large.
    for bits in range(1, output_bits + 1):
        step = activation[2] / ((1 << bits) - 1)
        shift = _shifts(flat / step, bias / step, limit, common)
        if shift is not None:
            return TrainedGrid(Scales(np.full(len(flat), step), shift, 0), bits)
    return None


def _of_scores(flat: FloatArray, bias: FloatArray, limit: int) -> TrainedGrid | None:
    """One scale for all scores: the largest weight is some whole number of steps."""
    peak = float(np.abs(flat).max())
    found = [n / peak for n in range(1, limit + 1) if _whole(flat * (n / peak), limit).all()]
    if not found:
        return None
    multiplier = next((m for m in found if _near(bias * m).all()), found[0])
    scales = Scales(np.full(len(flat), 1 / multiplier), np.zeros(len(flat), np.int64), 0)
    return TrainedGrid(scales, None)


def _shifts(flat: FloatArray, bias: FloatArray, limit: int, common: bool) -> NDArray[np.int64] | None:
    """The least shift `[O]` with which weights and, where possible, biases (in output steps) are whole numbers."""
    powers = [2.0**shift for shift in range(MAX_SHIFT + 1)]
    whole = np.stack([_whole(flat * power, limit).all(axis=1) for power in powers])  # [S, O]
    both = whole & np.stack([_near(bias * power) for power in powers])
    if common:
        whole, both = (table & table.all(axis=1, keepdims=True) for table in (whole, both))
    if not whole.any(axis=0).all():
        return None
    shift: NDArray[np.int64] = np.where(both.any(axis=0), both.argmax(axis=0), whole.argmax(axis=0))
    return shift.astype(np.int64)


def _whole(value: FloatArray, limit: int) -> NDArray[np.bool_]:
    nearest = np.rint(value)
    result: NDArray[np.bool_] = np.abs(value - nearest) <= WEIGHT_ERROR * np.abs(value)
    return result & (np.abs(nearest) <= limit)


def _near(value: FloatArray) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = np.abs(value - np.rint(value)) <= BIAS_ERROR
    return result
