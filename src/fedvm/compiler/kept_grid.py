"""Layers whose integers the file gives: its scales stay, and weights are held as exactly as the sums allow.

A layer of the program rescales by a shift alone, so the weights of output step s are held as `w · 2^shift / s`. If all
scales are powers of two, these are the file's own integers. Otherwise they are the nearest integers, at the least shift
at which that no longer matters, or at the largest whose sums are exact. Where a sum lies exactly between two integers,
the program takes the upper one, and the file the even one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.fitted_terms import FittedTerm
from fedvm.compiler.graph import SIGNS, Dense, FloatArray, FloatLayer, IntegerLayer, Pointwise
from fedvm.compiler.scales import MAX_SHIFT, Scales
from fedvm.compiler.trained_grid import BIAS_ERROR, WEIGHT_ERROR

KEPT_BITS = 24
"""Bits that a weight may take; the sums decide."""
SMALL = 0.1
"""Root mean square error, in steps of the output, that is small beside that of the file's own rounding, 0.29."""
SIGN_LIMIT = 127
"""Largest weight of a sum of which only the sign is taken."""


class Fit(Protocol):
    """How a layer's real weights become integers; see `layer_fit.py`."""

    @property
    def layer(self) -> FloatLayer: ...
    @property
    def terms(self) -> Sequence[FittedTerm]: ...
    def rounded(self, scales: Scales) -> IntegerLayer: ...
    def too_wide(self, layer: IntegerLayer) -> NDArray[np.bool_]: ...
    def bias_on_steps(self, weights: list[FloatArray]) -> FloatArray: ...


def kept_bits(layer: FloatLayer) -> int:
    """The bits of the outputs of a layer with a grid."""
    low, high = _ends(layer)
    return max(1, (high - low).bit_length())


def keep(fit: Fit) -> IntegerLayer | None:
    """The layer with the integers of its grid; None if its sums cannot be exact."""
    grid = fit.layer.grid
    assert grid is not None
    if grid is SIGNS:
        return _signs(fit)
    zero = grid.zero - _ends(fit.layer)[0]
    count = len(fit.layer.bias)
    bias = fit.bias_on_steps([term.flat for term in fit.terms])
    error = np.empty((MAX_SHIFT + 1, count))
    exact, wide = np.empty(error.shape, np.bool_), np.empty(error.shape, np.bool_)
    for shift in range(MAX_SHIFT + 1):
        scales = Scales(np.full(count, grid.step), np.full(count, shift, np.int64), zero)
        layer = fit.rounded(scales)
        error[shift], exact[shift] = _error(layer, scales, fit.terms, bias)
        wide[shift] = fit.too_wide(layer)
    if any(
        isinstance(term, Dense) for term in fit.layer.terms
    ):  # outputs share words, which are shifted as a whole
        exact[:], wide[:] = exact.all(axis=1, keepdims=True), wide.any(axis=1, keepdims=True)
        error[:] = error.max(axis=1, keepdims=True)
    if wide.all(axis=0).any():
        return None
    chosen = np.where(wide, np.inf, error).argmin(axis=0)
    for good in (~wide & (error <= SMALL), ~wide & exact):
        chosen = np.where(good.any(axis=0), good.argmax(axis=0), chosen)
    own = np.arange(count)
    left = np.where(exact[chosen, own], 0.0, error[chosen, own])
    result = fit.rounded(Scales(np.full(count, grid.step), chosen.astype(np.int64), zero))
    return replace(result, kept=float(np.sqrt(np.square(left).mean())))


def _ends(layer: FloatLayer) -> tuple[int, int]:
    """The grid's integers for the smallest and the largest output."""
    grid, activation = layer.grid, layer.activation
    assert grid is not None
    if isinstance(activation, Pointwise):
        return grid.low, grid.high
    assert isinstance(activation, tuple)
    return grid.level(activation[1]), grid.level(activation[2])


def _error(
    layer: IntegerLayer, scales: Scales, terms: Sequence[FittedTerm], bias: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Root mean square error `[O]` in steps of the output before it is rounded, and which outputs are exact."""
    multiplier = scales.multiplier
    half = np.where(scales.shift > 0, 2.0 ** (scales.shift - 1.0), 0.0)
    off = layer.bias - (bias * multiplier + scales.zero * 2.0**scales.shift + half)
    exact = np.abs(off) <= BIAS_ERROR
    variance = np.zeros(len(bias))
    for term, held in zip(layer.terms, terms, strict=True):
        groups, outputs, size = held.weight.shape
        wanted = held.weight * multiplier.reshape(groups, outputs, 1)
        wrong = np.asarray(term.weight, np.float64).reshape(wanted.shape) - wanted
        whole = np.abs(wrong) <= WEIGHT_ERROR * np.maximum(np.abs(wanted), 1)
        exact &= whole.reshape(len(bias), size).all(axis=1)
        if held.uniform:
            spread = np.square(wrong[:, :, 0]) * held.moments[:, :, 0]
        else:
            spread = np.einsum("gok,gko->go", wrong, held.moments @ wrong.transpose(0, 2, 1))
        variance += np.maximum(spread, 0).ravel() / len(held.rows)
        off = off + (wrong @ held.mean[:, :, None]).ravel()
    return np.sqrt(variance + np.square(off)) / 2.0**scales.shift, exact


def _signs(fit: Fit) -> IntegerLayer | None:
    """The layer whose outputs are the signs of its sums: at any scale that makes the weights whole."""
    flat = np.concatenate([term.flat for term in fit.terms], axis=1)
    bias = fit.bias_on_steps([term.flat for term in fit.terms])
    peak = np.abs(flat).max(axis=1)
    peak = np.where(peak > 0, peak, 1.0)
    best: list[Any] = [None] * len(bias)
    for size in range(1, SIGN_LIMIT + 1):
        scaled = flat * (size / peak)[:, None]
        off = np.abs(scaled - np.rint(scaled))
        whole = (off <= WEIGHT_ERROR * np.abs(scaled)).all(axis=1)
        for o in np.flatnonzero(whole):
            best[o] = best[o] or size
    factor = np.array([size or SIGN_LIMIT for size in best]) / peak
    terms = tuple(
        replace(
            t.term, weight=np.rint(t.flat * factor[:, None]).reshape(t.term.weight.shape).astype(np.int64)
        )
        for t in fit.terms
    )
    # The sum of whole numbers and a bias is not negative if the sum and the bias's floor are not; then it is 1 with 1.
    whole_bias = np.floor(bias * factor + BIAS_ERROR).astype(np.int64) + 1
    count = len(bias)
    layer = IntegerLayer(
        fit.layer.name, terms, whole_bias, np.zeros(count, np.int64), fit.layer.shape, np.ones(count), 0, 1,
        fit.layer.pool, kept=0.0 if all(best) else float(np.sqrt(1 / 12)),
    )  # fmt: skip
    return None if fit.too_wide(layer).any() else layer
