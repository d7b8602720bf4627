"""The terms of a layer on the integers that they read, with what is known of these on the calibration data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.calibration import Positions, grouped_weight, term_rows
from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.graph import INPUT, Conv, FloatArray, FloatLayer, Term
from fedvm.compiler.rounding import refit

MOST_READ = 1 << 14
"""Inputs of one output whose second moments are kept: 2 GB."""


@dataclass(frozen=True)
class Source:
    """A tensor the layer reads: its integers on the calibration data `[N, C, H, W]`, the real value of one
    step in each channel, the integer that stands for zero (a fraction where dropped bits count half), and its
    largest value."""

    whole: NDArray[np.float32]
    scale: FloatArray
    zero: float
    high: int


@dataclass(frozen=True)
class FittedTerm:
    """A term on integers with its calibration inputs: weight `[groups, O/groups, K]` real, mean `[groups, K]`
    and centred second moments `[groups, K, K]` of the inputs (of a uniform term their sum alone, `[groups, 1, 1]`, for
    an average may be over a whole image), rows `[R, groups, K]`."""

    term: Term
    weight: FloatArray
    rows: FloatArray
    mean: FloatArray
    moments: FloatArray
    uniform: bool

    @property
    def flat(self) -> FloatArray:
        """The weight as `[O, K]`."""
        return self.weight.reshape(-1, self.weight.shape[2])


def fit_terms(layer: FloatLayer, sources: dict[str, Source], at: Positions) -> list[FittedTerm]:
    """The layer's terms on integers. at: the positions of the output on which they are measured."""
    terms = []
    for term in layer.terms:
        source = sources[term.source]
        absorbed = _absorb(term, source)
        rows = term_rows(absorbed, source.whole, at)
        mean = rows.mean(axis=0)
        centred, uniform = (rows - mean).transpose(1, 0, 2), is_uniform(absorbed)
        if uniform:
            moments = np.square(centred.sum(axis=2)).sum(axis=1)[:, None, None]
        elif centred.shape[2] > MOST_READ:
            raise UnsupportedOperator(
                f"layer {layer.name}: each output is a sum of {centred.shape[2]:,} products, more than {MOST_READ:,}; "
                "use smaller inputs, or pool before it"
            )
        else:
            moments = centred.transpose(0, 2, 1) @ centred
        terms.append(FittedTerm(absorbed, grouped_weight(absorbed), rows, mean, moments, uniform))
    return terms


def is_uniform(term: Term) -> bool:
    """Whether the term is a shortcut or an average: depthwise, with equal weights within each channel."""
    return (
        isinstance(term, Conv)
        and term.groups == len(term.weight)
        and term.weight.shape[1] == 1
        and bool((term.weight == term.weight[:, :, :1, :1]).all())
    )


def _absorb(term: Term, source: Source) -> Term:
    """The term on integers: the source's scales go into the weights, and padding holds its zero."""
    weight = grouped_weight(term)
    repeats = weight.shape[2] * len(weight) // len(source.scale)
    scale = np.repeat(source.scale, repeats).reshape(len(weight), 1, -1)
    scaled = (weight * scale).reshape(term.weight.shape)
    if isinstance(term, Conv):
        padding = (
            int(source.zero)
            if term.source != INPUT
            # All channels of a term are padded with the same byte, the nearest to the value they need.
            else int(np.rint(np.clip(np.ravel(term.pad_value)[0], 0, 255))) >> (8 - source.high.bit_length())
        )
        return replace(term, weight=scaled, pad_value=padding)
    return replace(term, weight=scaled)


def follow(terms: list[FittedTerm], target: FloatArray, strength: float) -> list[FittedTerm]:
    """Weights that compensate for the quantization errors of earlier layers. Only the first ordinary term is corrected;
    two would correct the same error twice.
    """
    error = target - sum(_apply(term.weight, term.rows) for term in terms)
    error = error - error.mean(axis=0)
    for i, term in enumerate(terms):
        if term.uniform or term.term.source == INPUT:
            continue
        weight = term.weight.copy()
        outputs = weight.shape[1]
        for g in range(len(weight)):
            cross = error[:, g * outputs : (g + 1) * outputs].T @ (term.rows[:, g] - term.mean[g])
            weight[g] = refit(weight[g], term.moments[g], cross, strength)
        return [*terms[:i], replace(term, weight=weight), *terms[i + 1 :]]
    return terms


def _apply(weight: FloatArray, rows: FloatArray) -> FloatArray:
    """Grouped product: weight `[g, O/g, K]`, rows `[R, g, K]` to `[R, O]`."""
    parts: list[Any] = [rows[:, g] @ weight[g].T for g in range(len(weight))]
    return np.concatenate(parts, axis=1)
