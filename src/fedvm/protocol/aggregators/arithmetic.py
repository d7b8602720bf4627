"""Exact integer arithmetic on whole vectors, with more fraction bits than the model's."""

from __future__ import annotations

import numpy as np

from fedvm.protocol.aggregators.rule import MICROS
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import SumVector

GUARD_BITS = 16
"""A server's memory is kept in units of 2^−(fraction_bits + 16), so that rounding does not add up over rounds."""


def guarded_mean(sums: WeightedSums) -> SumVector:
    """floor(S · 2^16 / W), int64 (n,), exactly and without overflow: |S / W| ≤ 2^31 and S mod W < 2^32."""
    weight = np.int64(sums.total_weight)
    quotient, remainder = np.divmod(sums.sums, weight)
    guarded: SumVector = (quotient << GUARD_BITS) + (remainder << GUARD_BITS) // weight
    return guarded


def times_micros(values: SumVector, micros: int) -> SumVector:
    """floor(values · micros / 10^6), int64 (n,). Exact where the result fits int64.

    With values = a · 10^6 + b, 0 ≤ b < 10^6, it is a · micros + floor(b · micros / 10^6), and b · micros < 2^52
    for micros < 2^32.
    """
    whole, rest = np.divmod(values, np.int64(MICROS))
    scaled: SumVector = whole * np.int64(micros) + rest * np.int64(micros) // np.int64(MICROS)
    return scaled


def shown_micros(micros: int) -> str:
    """Millionths as a decimal number without trailing zeros."""
    whole, rest = divmod(micros, MICROS)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")
