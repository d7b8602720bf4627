import numpy as np
import pytest
from eth_utils.address import to_checksum_address

from fedvm.protocol import Commitment, CountedUpdate, EncodingError, RangeError, ShapeError, weighted_mean

A, B, C = (f"0x{i:040x}" for i in (0xA, 0xB, 0xC))


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def counted(member: str, weight: int, vector: np.ndarray) -> CountedUpdate:
    return CountedUpdate(Commitment(member, weight, bytes(32), 0), vector)


def test_the_mean_rounds_down_also_below_zero() -> None:
    result = weighted_mean(
        ints(100, 100, 100),
        [
            counted(A, 1, ints(1, -1, 3)),
            counted(B, 2, ints(0, 0, 3)),
        ],
    )
    assert result.total_weight == 3
    assert result.sums.tolist() == [1, -1, 9]
    assert result.model.tolist() == [100, 99, 103]


def test_extreme_sums_stay_exact() -> None:
    low = ints(-(2**31))
    contributions = [
        counted(A, 2**31 - 1, low),
        counted(B, 2**31, low),
    ]
    result = weighted_mean(ints(0), contributions)
    assert result.sums.tolist() == [-(2**31) * (2**32 - 1)]
    assert result.model.tolist() == [-(2**31)]


def test_a_total_weight_that_could_overflow_is_refused() -> None:
    contributions = [
        counted(A, 2**31, ints(1)),
        counted(B, 2**31, ints(1)),
    ]
    with pytest.raises(RangeError, match="total weight 4294967296"):
        weighted_mean(ints(0), contributions)


def test_a_model_that_leaves_int32_is_refused_with_the_element_named() -> None:
    with pytest.raises(RangeError, match="element 1 of the new model is 2147483648"):
        weighted_mean(ints(0, 2**31 - 1), [counted(A, 5, ints(1, 1))])


def test_each_member_counts_once_in_any_order() -> None:
    ordered = [
        counted(A, 1, ints(1)),
        counted(B, 3, ints(9)),
    ]
    assert weighted_mean(ints(0), ordered).model == weighted_mean(ints(0), ordered[::-1]).model
    for twice in (A, to_checksum_address(A).lower()):
        with pytest.raises(EncodingError, match="comes twice"):
            weighted_mean(ints(0), [*ordered, counted(twice, 1, ints(1))])


def test_bad_contributions_are_refused() -> None:
    with pytest.raises(EncodingError, match="no accepted updates"):
        weighted_mean(ints(0), [])
    with pytest.raises(EncodingError, match=r"weight of 0x0+a is zero"):
        weighted_mean(ints(0), [counted(A, 0, ints(1))])
    with pytest.raises(ShapeError, match="has 2 elements, the model 1"):
        weighted_mean(ints(0), [counted(A, 1, ints(1, 2))])
    with pytest.raises(ShapeError, match="int32"):
        weighted_mean(ints(0), [counted(A, 1, np.array([1.0]))])
    with pytest.raises(EncodingError, match="hex digits"):
        weighted_mean(ints(0), [counted("0x12", 1, ints(1))])
