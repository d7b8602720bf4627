"""The base fee of the local Filecoin chain, by the test cases of FIP-0115."""

from __future__ import annotations

import pytest

from fedvm.devnet.lotus.machine import charged, overestimation_burn
from fedvm.devnet.lotus.market import effective_premium, next_base_fee, premium_at_percentile


@pytest.mark.parametrize("base, cap, premium, effective", [
    (8, 8, 8, 0), (8, 16, 7, 7), (8, 19, 10, 10), (123456, 123455, 123455, 0), (123456, 1234567, 1111112, 1111111),
])  # fmt: skip
def test_premium(base: int, cap: int, premium: int, effective: int) -> None:
    assert effective_premium(cap, premium, base) == effective


@pytest.mark.parametrize("messages, expected", [
    ([(123, 5_999_999_999), (100, 2_000_000_000)], 0),
    ([(123, 5_999_999_999), (0, 2_000_000_001)], 0),
    ([(123, 5_999_999_999), (100, 2_000_000_001)], 100),
    ([(123, 7_999_999_999), (100, 2_000_000_001)], 100),
    ([(123, 8_000_000_000), (100, 2_000_000_000)], 123),
    ([(100, 9_000_000_000), (123, 8_000_000_000)], 123),
    ([], 0),
])  # fmt: skip
def test_percentile_of_gas(messages: list[tuple[int, int]], expected: int) -> None:
    """A tenth of the FIP's figures, whose table counts eleven digits for a block of ten."""
    assert premium_at_percentile(messages) == expected


@pytest.mark.parametrize("base, premium, following", [
    (8, 0, 8), (8, 1, 8), (8, 2, 9), (8, 3, 9), (15, 0, 14), (15, 1, 15), (15, 2, 16), (15, 3, 16), (807, 0, 707),
    (807, 20, 727), (807, 100, 807), (807, 200, 907), (807, 201, 907), (808, 0, 707), (808, 1, 708), (808, 201, 908),
    (808, 202, 909), (808, 203, 909),
])  # fmt: skip
def test_next_base_fee(base: int, premium: int, following: int) -> None:
    assert next_base_fee(base, premium) == following


def test_what_a_message_pays() -> None:
    assert overestimation_burn(1_000, 1_100) == 0
    assert overestimation_burn(1_000, 1_200) == 20  # (1200 − 1000)·(1200 − 1100)/1000
    assert overestimation_burn(1_000, 10_000) == 9_000  # more than twice: all that is left
    assert charged(1_000, 1_100, 10, 100, 3) == 10 * 1_000 + 3 * 1_100  # the premium is paid for the limit
    assert charged(1_000, 1_200, 10, 12, 3) == 10 * 1_020 + 2 * 1_200
