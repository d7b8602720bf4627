"""What the adaptive server optimisers share: two moments of the rounds' means, and steps divided by the root of one.

Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295, algorithm 2. The numbers are Python's, so that
nothing overflows: with guard bits g the first moment is in units of 2^−(f+g), the second in units of its square.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.aggregators.arithmetic import GUARD_BITS, guarded_mean, shown_micros
from fedvm.protocol.aggregators.rule import MICROS, Aggregator, RoundFacts, ServerState, check_parameter
from fedvm.protocol.mean import WeightedSums

MOST_RATE = 100 * MICROS


@dataclass(frozen=True)
class TwoMoments(Aggregator):
    """A rule with m ← floor(β₁·m + (1−β₁)·Δ), Δ = floor(S·2^16 / W), and a v of its own; both are 0 at first. All
    parameters are in millionths.

    Raises:
        EncodingError: a parameter is out of range.
    """

    eta: int
    beta_1: int
    beta_2: int
    tau: int

    def __post_init__(self) -> None:
        check_parameter(f"{self.title}'s eta, in millionths,", self.eta, 1, MOST_RATE)
        check_parameter(f"{self.title}'s beta_1, in millionths,", self.beta_1, 0, MICROS - 1)
        check_parameter(f"{self.title}'s beta_2, in millionths,", self.beta_2, 0, MICROS - 1)
        check_parameter(f"{self.title}'s tau, in millionths,", self.tau, 1, MOST_RATE)

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
        return first, self.second_moment(second, delta * delta)

    @abstractmethod
    def second_moment(self, before: NDArray[Any], square: NDArray[Any]) -> NDArray[Any]:
        """v after a round, from v before it and Δ², Python integers (n,)."""


def divisors(second: NDArray[Any], tau: int, facts: RoundFacts) -> NDArray[Any]:
    """isqrt(v) + T, T = ceil(τ · 2^(f+16)): rounded up, so that no divisor is 0. Python integers (n,)."""
    offset = -(-(tau << (facts.fraction_bits + GUARD_BITS)) // MICROS)
    return np.array([isqrt(value) + offset for value in second.tolist()], dtype=object)
