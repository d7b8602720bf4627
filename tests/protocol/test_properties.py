"""The promises of docs/protocol.md about rounding, bounds and the mean, for generated inputs."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedvm.protocol import (
    Commitment,
    CountedUpdate,
    dequantize,
    max_sum_squares,
    quantize_model,
    quantize_update,
    sum_squares,
    to_bytes,
    weighted_mean,
)
from fedvm.protocol.vector import int32_from_bytes

FLOATS = st.floats(-1e6, 1e6, allow_subnormal=True)
differences = st.integers(1, 50).flatmap(lambda n: arrays(np.float64, n, elements=FLOATS))
int32s = st.integers(-(2**31), 2**31 - 1)


@given(differences, st.floats(0.01, 1000), st.integers(8, 20))
def test_an_honest_update_is_always_within_the_bound(d: np.ndarray, bound: float, bits: int) -> None:
    assert sum_squares(quantize_update(d, bound, bits)) <= max_sum_squares(bound, bits)


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20).filter(any), st.integers(2, 1000))
@example([13, 1, -24, -20, -46, -43], 3)
def test_also_where_float_error_alone_would_break_it(values: list[int], factor: int) -> None:
    # Clipped, this is an integer vector whose norm is the bound: a unit of float error decides.
    bound = math.sqrt(sum(v * v for v in values))
    update = quantize_update(np.array(values, dtype=np.float64) * factor / 3, bound, 16)
    assert sum_squares(update) <= max_sum_squares(bound, 16)
    if factor >= 3:  # and what the integers take away is no more than a step per element
        assert np.all(np.abs(update - np.array(values) * 2**16) <= 1)


@given(differences, st.integers(8, 11))
def test_quantizing_never_lengthens_an_element_nor_turns_its_sign(d: np.ndarray, bits: int) -> None:
    back = dequantize(quantize_update(d, 1e9, bits), bits)
    assert np.all(np.abs(back) <= np.abs(d))
    assert np.all(back * d >= 0)
    assert np.all(np.abs(d - back) < 2.0**-bits)


@given(st.integers(1, 60).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(-1000, 1000))))
def test_models_round_to_within_half_a_step(values: np.ndarray) -> None:
    assert np.all(np.abs(dequantize(quantize_model(values, 16), 16) - values) <= 2.0**-17)


@given(st.floats(1e-3, 1e6), st.integers(10, 30))
def test_the_integer_bound_is_the_floor_of_the_real_one(bound: float, bits: int) -> None:
    limit = max_sum_squares(bound, bits)
    assert limit <= (Fraction(bound) * 2**bits) ** 2 < limit + 1


@given(st.lists(int32s, min_size=1, max_size=200))
def test_bytes_and_vectors_are_inverse(values: list[int]) -> None:
    vector = np.array(values, dtype=np.int32)
    data = to_bytes(vector)
    assert data == b"".join(v.to_bytes(4, "big", signed=True) for v in values)
    assert np.array_equal(int32_from_bytes(data, len(values)), vector)


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(
            st.tuples(st.integers(1, 2**28), st.lists(st.integers(-(2**30), 2**30), min_size=n, max_size=n)),
            min_size=1,
            max_size=8,
        )
    )
)
def test_the_mean_is_the_floor_of_the_exact_quotient(parts: list[tuple[int, list[int]]]) -> None:
    base = np.zeros(len(parts[0][1]), dtype=np.int32)
    contributions = [
        CountedUpdate(Commitment(f"0x{i + 1:040x}", weight, bytes(32), 0), np.array(update, dtype=np.int32))
        for i, (weight, update) in enumerate(parts)
    ]
    result = weighted_mean(base, contributions)
    total = sum(weight for weight, _ in parts)
    assert result.total_weight == total
    for k in range(base.size):
        exact = sum(weight * update[k] for weight, update in parts)
        assert result.sums[k] == exact
        assert 0 <= exact - int(result.model[k]) * total < total


def test_rounding_to_nearest_would_break_the_bound() -> None:
    """Why updates round toward zero: at the bound, nearest rounding is over it about half of the time."""
    rng = np.random.default_rng(0)
    over = 0
    for _ in range(100):
        d = rng.normal(size=10_000)
        d *= 1.0 / np.linalg.norm(d)
        over += sum_squares(np.rint(np.ldexp(d, 16)).astype(np.int32)) > max_sum_squares(1.0, 16)
        assert sum_squares(quantize_update(d, 1.0, 16)) <= max_sum_squares(1.0, 16)
    assert over == pytest.approx(50, abs=20)
