"""FedAdam: Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295, algorithm 2.

With the bias correction of Kingma & Ba 2014 (arXiv:1412.6980) in the learning rate, as Flower has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

from numpy.typing import NDArray

from fedvm.protocol.aggregators.moments import TwoMoments, divisors
from fedvm.protocol.aggregators.rule import MICROS, Point, RoundFacts, ServerState
from fedvm.protocol.mean import WeightedSums

_UNIT_BITS = 64  # the scalars of the bias correction are in units of 2^−64
_UNIT = 1 << _UNIT_BITS


@dataclass(frozen=True)
class ServerAdam(TwoMoments):
    """m ← floor(β₁·m + (1−β₁)·Δ), v ← floor(β₂·v + (1−β₂)·Δ²) with Δ = floor(S·2^16 / W); both are 0 at first.

    The model moves by floor(2^f · η · c · m / (isqrt(v) + T)), T = ceil(τ · 2^(f+16)), with the correction
    c = sqrt(1 − β₂^(r+1)) / (1 − β₁^(r+1)) of round r in units of 2^−64, both powers and the root rounded down.
    All parameters are in millionths. The numbers are Python's, so that nothing overflows; m is in units of
    2^−(f+16), v in units of its square.

    Raises:
        EncodingError: a parameter is out of range.
    """

    title = "FedAdam"
    kind = 2

    def second_moment(self, before: NDArray[Any], square: NDArray[Any]) -> NDArray[Any]:
        """floor(β₂·v + (1−β₂)·Δ²)."""
        mixed: NDArray[Any] = (self.beta_2 * before + (MICROS - self.beta_2) * square) // MICROS
        return mixed

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> NDArray[Any]:
        """What the model moves by, Python integers (n,)."""
        first, second = state
        power = facts.number + 1
        root = isqrt((_UNIT - _power(self.beta_2, power)) << _UNIT_BITS)
        rate = (self.eta * root) << facts.fraction_bits
        scarcity = MICROS * (_UNIT - _power(self.beta_1, power))
        step: NDArray[Any] = rate * first // (scarcity * divisors(second, self.tau, facts))
        return step


def _power(micros: int, exponent: int) -> int:
    """floor((micros / 10^6)^exponent · 2^64), exact."""
    return int((micros**exponent << _UNIT_BITS) // MICROS**exponent)
