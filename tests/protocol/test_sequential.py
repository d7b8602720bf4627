"""The sequential test: its integers against decimal arithmetic, its errors against ten thousand trials."""

from decimal import ROUND_FLOOR, Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedvm.protocol import (
    AccuracyTest,
    EncodingError,
    RangeError,
    SamplePool,
    SampleTree,
    Verdict,
    thresholds,
)
from fedvm.protocol.sequential import PPM, ln_micros

TEST = AccuracyTest(fail_ppm=800_000, pass_ppm=930_000, alpha_ppm=10_000, beta_ppm=50_000)
TRIALS = 10_000


@given(st.integers(1, PPM), st.integers(1, PPM))
def test_logarithms_are_rounded_down(a: int, b: int) -> None:
    low, high = min(a, b), max(a, b)
    with localcontext() as context:
        context.prec = 60
        exact = (Decimal(high) / Decimal(low)).ln() * PPM
        assert ln_micros(high, low) == int(exact.to_integral_value(ROUND_FLOOR))


def passes(accuracy: float, max_samples: int, seed: int) -> float:
    """Share of trials that a model of this accuracy passes, all of them run side by side."""
    limits = thresholds(TEST)
    right = np.random.default_rng(seed).random((TRIALS, max_samples)) < accuracy
    scores = np.cumsum(np.where(right, limits.gain, -limits.loss), axis=1)
    passed, failed = scores >= limits.pass_at, scores <= -limits.fail_at
    never = max_samples
    first_pass = np.where(passed.any(axis=1), passed.argmax(axis=1), never)
    first_fail = np.where(failed.any(axis=1), failed.argmax(axis=1), never)
    return float((first_pass < first_fail).mean())


@pytest.mark.parametrize("accuracy", [0.8, 0.75, 0.5])
def test_a_bad_model_passes_with_probability_alpha_at_most(accuracy: float) -> None:
    # Four standard deviations of a share of TRIALS at α = 1 %.
    assert passes(accuracy, 400, seed=1) <= 0.01 + 4 * (0.01 * 0.99 / TRIALS) ** 0.5


@pytest.mark.parametrize("accuracy", [0.93, 0.96, 0.99])
def test_a_good_model_fails_with_probability_beta_at_most(accuracy: float) -> None:
    assert passes(accuracy, 400, seed=2) >= 0.95 - 4 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_few_samples_only_make_passing_rarer() -> None:
    assert passes(0.8, 60, seed=3) <= passes(0.8, 400, seed=3)
    assert passes(0.93, 40, seed=3) < passes(0.93, 400, seed=3)


def test_verdicts_are_those_of_the_sums() -> None:
    limits = thresholds(TEST)
    assert limits.fewest == 31
    assert limits.verdict(30, 30, 100) is Verdict.OPEN
    assert limits.verdict(31, 31, 31) is Verdict.PASSED
    assert limits.verdict(30, 30, 30) is Verdict.FAILED
    assert limits.verdict(2, 0, 100) is Verdict.OPEN
    assert limits.verdict(3, 0, 100) is Verdict.FAILED


@pytest.mark.parametrize("test", [(0, 1, 1, 1), (2, 2, 1, 1), (1, PPM, 1, 1), (1, 2, 0, 1), (1, 2, 1, PPM)])
def test_what_is_no_test_is_refused(test: tuple[int, int, int, int]) -> None:
    with pytest.raises(RangeError):
        AccuracyTest(*test)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 50), st.integers(0, 5))
def test_a_pool_gives_every_index_once(seed: bytes, count: int, restart: int) -> None:
    pool = SamplePool(count)
    drawn = [pool.draw(seed if number > restart else bytes(32), number) for number in range(count)]
    assert sorted(drawn) == list(range(count))
    with pytest.raises(RangeError, match="all samples were used"):
        pool.draw(seed, count)


def test_an_empty_validation_set_is_refused() -> None:
    with pytest.raises(EncodingError, match="at least one sample"):
        SampleTree(())
