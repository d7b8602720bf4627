"""Discrete Gaussian noise, drawn exactly: integers alone, no floating-point number whose low bits could give away
what was added (I. Mironov, CCS 2012).

Algorithms 1 to 3 of Canonne, Kamath and Steinke 2020 ("The Discrete Gaussian for Differential Privacy", NeurIPS), for
many draws at once. With a whole scale σ, and the discrete Laplace distribution of the same scale to propose from, every
coin that they toss splits into coins whose odds are ratios of integers up to σ.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol import RangeError

Words = Callable[[int], NDArray[np.uint64]]
"""From a count to so many independent, uniform 64-bit words, uint64 (count,)."""
LARGEST_SCALE: Final = 1 << 47
"""More than a lane of six bytes holds. Draws of it stay far below 2^63."""
_Trial = Callable[[NDArray[np.intp], int], NDArray[np.bool_]]
"""Trials of those at the given positions, which succeed with odds of γ/k."""


def secure_words(count: int) -> NDArray[np.uint64]:
    """Words from the operating system's cryptographic generator."""
    return np.frombuffer(os.urandom(8 * count), dtype=np.uint64)


def seeded_words(seed: int) -> Words:
    """Words that follow from a seed: **for simulations only**, since whoever knows the seed can take the noise off."""
    generator = np.random.default_rng(seed)
    return lambda count: generator.integers(0, 1 << 64, count, dtype=np.uint64)


def discrete_gaussian(scale: int, count: int, words: Words) -> NDArray[np.int64]:
    """Independent integers x with odds in proportion to exp(−x²/(2·scale²)), int64 (count,).

    Their standard deviation is `scale`, less a part of 10^−6 for scale 1 and of less than 10^−30 from scale 2 on.

    Raises:
        RangeError: the scale is not within 1 and `LARGEST_SCALE`.
    """
    if not 1 <= scale <= LARGEST_SCALE:
        raise RangeError(
            f"noise of scale {scale} cannot be drawn: 1 to {LARGEST_SCALE} units of the fixed point can"
        )
    parts, missing = [np.zeros(0, dtype=np.int64)], count
    while missing > 0:
        # Of a hundred proposals 48 are kept, so this mostly ends after one turn.
        parts.append(_accepted(scale, missing * 9 // 4 + 64, words)[:missing])
        missing -= parts[-1].size
    return np.concatenate(parts)


def _accepted(scale: int, proposals: int, words: Words) -> NDArray[np.int64]:
    """Proposals y = ±(u + scale·v) of the discrete Laplace distribution (algorithm 2), those that algorithm 3 keeps."""
    inside = _below(scale, proposals, words)
    inside = inside[_exp_coins(inside.size, _ratio(inside, scale, words))]
    turns = _geometric(inside.size, words)
    negative = _below(2, inside.size, words) == 1
    once = ~(negative & (inside == 0) & (turns == 0))  # zero has one sign
    inside, turns, negative = inside[once], turns[once], negative[once]
    # Kept with odds of exp(−(|y| − scale)²/(2·scale²)). With r = rest/scale in [0, 1] the square is (steps + r)².
    steps, rest = np.maximum(turns - 1, 0), np.where(turns > 0, inside, scale - inside)
    kept = _all(steps * steps, lambda at: _exp_coins(at.size, _one_in(2, words)))
    kept &= _all(steps, lambda at: _exp_coins(at.size, _ratio(rest[at], scale, words)))
    at = np.flatnonzero(kept)
    kept[at] = _exp_coins(at.size, _half_square(rest[at], scale, words))
    size = inside[kept] + scale * turns[kept]
    return np.asarray(np.where(negative[kept], -size, size))


def _geometric(count: int, words: Words) -> NDArray[np.int64]:
    """How often a coin of odds exp(−1) succeeds before it fails."""
    found, alive = np.zeros(count, dtype=np.int64), np.arange(count)
    while alive.size:
        alive = alive[_exp_coins(alive.size, _one_in(1, words))]
        found[alive] += 1
    return found


def _all(
    times: NDArray[np.int64], toss: Callable[[NDArray[np.intp]], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Whether as many tosses as `times` says all succeed, for each."""
    kept, alive, done = np.ones(times.size, dtype=np.bool_), np.flatnonzero(times > 0), 0
    while alive.size:
        fell = ~toss(alive)
        kept[alive[fell]] = False
        done += 1
        alive = alive[~fell]
        alive = alive[times[alive] > done]
    return kept


def _exp_coins(count: int, trial: _Trial) -> NDArray[np.bool_]:
    """Coins of odds exp(−γ), for γ in [0, 1] with trials of γ/k (algorithm 1)."""
    heads, alive, turn = np.zeros(count, dtype=np.bool_), np.arange(count), 1
    while alive.size:
        goes_on = trial(alive, turn)
        heads[alive[~goes_on]] = turn % 2 == 1
        alive = alive[goes_on]
        turn += 1
    return heads


def _one_in(number: int, words: Words) -> _Trial:
    """γ = 1/number."""
    return lambda at, turn: _below(number * turn, at.size, words) == 0


def _ratio(numerators: NDArray[np.int64], denominator: int, words: Words) -> _Trial:
    """γ = numerator/denominator."""

    def trial(at: NDArray[np.intp], turn: int) -> NDArray[np.bool_]:
        return (_below(denominator, at.size, words) < numerators[at]) & _one_in(1, words)(at, turn)

    return trial


def _half_square(numerators: NDArray[np.int64], denominator: int, words: Words) -> _Trial:
    """γ = (numerator/denominator)²/2."""

    def trial(at: NDArray[np.intp], turn: int) -> NDArray[np.bool_]:
        both = _below(denominator, at.size, words) < numerators[at]
        both &= _below(denominator, at.size, words) < numerators[at]
        return both & _one_in(2, words)(at, turn)

    return trial


def _below(bound: int, count: int, words: Words) -> NDArray[np.int64]:
    """Uniform integers from 0 to bound − 1, int64 (count,)."""
    mask = np.uint64((1 << (bound - 1).bit_length()) - 1)
    if not mask:
        return np.zeros(count, dtype=np.int64)
    found = (words(count) & mask).astype(np.int64)
    while (outside := np.flatnonzero(found >= bound)).size:
        found[outside] = (words(outside.size) & mask).astype(np.int64)
    return found
