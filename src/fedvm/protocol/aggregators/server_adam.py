"""FedAdam: Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295, algorithm 2.

With the bias correction of Kingma & Ba 2014 (arXiv:1412.6980) in the learning rate, as Flower has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.aggregators.arithmetic import GUARD_BITS, guarded_mean, shown_micros
from fedvm.protocol.aggregators.rule import (
    MICROS,
    Aggregator,
    Point,
    RoundFacts,
    ServerState,
    check_parameter,
)
from fedvm.protocol.mean import WeightedSums

_MOST_RATE = 100 * MICROS
_UNIT_BITS = 64  # the scalars of the bias correction are in units of 2^−64
_UNIT = 1 << _UNIT_BITS


@dataclass(frozen=True)
class ServerAdam(Aggregator):
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

    eta: int
    beta_1: int
    beta_2: int
    tau: int

    def __post_init__(self) -> None:
        check_parameter("FedAdam's eta, in millionths,", self.eta, 1, _MOST_RATE)
        check_parameter("FedAdam's beta_1, in millionths,", self.beta_1, 0, MICROS - 1)
        check_parameter("FedAdam's beta_2, in millionths,", self.beta_2, 0, MICROS - 1)
        check_parameter("FedAdam's tau, in millionths,", self.tau, 1, _MOST_RATE)

    def parameters(self) -> tuple[int, ...]:
        """(η, β₁, β₂, τ)."""
        return self.eta, self.beta_1, self.beta_2, self.tau

    def shown_parameters(self) -> dict[str, str]:
        """As in Flower."""
        names = ("eta", "beta_1", "beta_2", "tau")
        return dict(zip(names, map(shown_micros, self.parameters()), strict=True))

    def remember(self, state: ServerState, sums: WeightedSums) -> ServerState:
        """(m, v) after the round, Python integers (n,)."""
        delta = guarded_mean(sums).astype(object)
        zeros = np.zeros(delta.size, dtype=object)
        first, second = state or (zeros, zeros)
        first = (self.beta_1 * first + (MICROS - self.beta_1) * delta) // MICROS
        second = (self.beta_2 * second + (MICROS - self.beta_2) * delta * delta) // MICROS
        return first, second

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> NDArray[Any]:
        """What the model moves by, Python integers (n,)."""
        first, second = state
        scale = facts.fraction_bits + GUARD_BITS
        tau = -(-(self.tau << scale) // MICROS)  # rounded up, so that no divisor is 0
        power = facts.number + 1
        root = isqrt((_UNIT - _power(self.beta_2, power)) << _UNIT_BITS)
        rate = (self.eta * root) << facts.fraction_bits
        scarcity = MICROS * (_UNIT - _power(self.beta_1, power))
        divisors = np.array([isqrt(value) + tau for value in second.tolist()], dtype=object)
        step: NDArray[Any] = rate * first // (scarcity * divisors)
        return step


def _power(micros: int, exponent: int) -> int:
    """floor((micros / 10^6)^exponent · 2^64), exact."""
    return int((micros**exponent << _UNIT_BITS) // MICROS**exponent)
