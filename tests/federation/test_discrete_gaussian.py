"""Discrete Gaussian noise: its distribution is the exact one, from the smallest scale to the largest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fedvm.federation.client.discrete_gaussian import (
    LARGEST_SCALE,
    discrete_gaussian,
    secure_words,
    seeded_words,
)
from fedvm.protocol import RangeError

DRAWS, LEAST_P = 400_000, 1e-4
"""Seeds are fixed: a p-value below 1e-4 is a wrong distribution, not chance."""


def pmf(scale: int, reach: int) -> np.ndarray:
    """The exact odds of −reach … reach, by definition."""
    weights = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * scale**2))
    return np.asarray(weights / weights.sum())


@pytest.mark.parametrize("scale", [1, 2, 3, 7, 20])
def test_small_scales_have_the_exact_distribution(scale: int) -> None:
    reach = 12 * scale
    drawn = discrete_gaussian(scale, DRAWS, seeded_words(scale))
    found = np.bincount(drawn + reach, minlength=2 * reach + 1)
    expected = pmf(scale, reach) * DRAWS
    inner = expected >= 10  # what lies outside, at both ends, is one class
    counts = np.append(found[inner], found[~inner].sum())
    wanted = np.append(expected[inner], expected[~inner].sum())
    assert stats.chisquare(counts, wanted).pvalue > LEAST_P
    # The tails alone, which a chi-square over all values hardly sees.
    beyond = stats.binomtest(int((np.abs(drawn) > 3 * scale).sum()), DRAWS, _tail(scale, 3 * scale))
    assert beyond.pvalue > LEAST_P


def _tail(scale: int, least: int) -> float:
    reach = 12 * scale
    return float(pmf(scale, reach)[np.abs(np.arange(-reach, reach + 1)) > least].sum())


@pytest.mark.parametrize("scale", [(1 << 20) - 1, (1 << 40) + 12_345, LARGEST_SCALE])
def test_large_scales_are_neither_biased_nor_coarse(scale: int) -> None:
    drawn = discrete_gaussian(scale, DRAWS, seeded_words(scale))
    assert drawn.dtype == np.int64
    real = drawn / scale
    assert abs(real.mean()) < 4 / math.sqrt(DRAWS)
    assert abs(real.var() - 1) < 4 * math.sqrt(2 / DRAWS)
    assert stats.kstest(real, "norm").pvalue > LEAST_P
    assert stats.chisquare(np.bincount(drawn % 16, minlength=16)).pvalue > LEAST_P, (
        "of low bits none is fixed"
    )
    assert np.unique(drawn).size > DRAWS * 0.85


def test_draws_are_independent() -> None:
    drawn = discrete_gaussian(1000, DRAWS, seeded_words(3))
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4 / math.sqrt(DRAWS)


def test_where_the_words_come_from() -> None:
    assert np.array_equal(
        discrete_gaussian(9, 100, seeded_words(1)), discrete_gaussian(9, 100, seeded_words(1))
    )
    assert not np.array_equal(secure_words(8), secure_words(8))
    assert discrete_gaussian(9, 1, secure_words).shape == (1,)
    assert discrete_gaussian(9, 0, secure_words).shape == (0,)


@pytest.mark.parametrize("scale", [0, -1, LARGEST_SCALE + 1])
def test_scales_that_cannot_be_drawn_are_refused(scale: int) -> None:
    with pytest.raises(RangeError, match="cannot be drawn"):
        discrete_gaussian(scale, 1, secure_words)
