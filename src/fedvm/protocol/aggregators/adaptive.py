"""FedYogi and FedAdagrad: Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295, algorithm 2.

As in Flower, neither corrects a bias, and the first moment of FedAdagrad is the round's mean itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.aggregators.arithmetic import guarded_mean, shown_micros
from fedvm.protocol.aggregators.moments import MOST_RATE, TwoMoments, divisors
from fedvm.protocol.aggregators.rule import (
    MICROS,
    Aggregator,
    Point,
    RoundFacts,
    ServerState,
    check_parameter,
)
from fedvm.protocol.mean import WeightedSums


@dataclass(frozen=True)
class ServerYogi(TwoMoments):
    """m ← floor(β₁·m + (1−β₁)·Δ), v ← v − sign(v − Δ²) · floor((1−β₂)·Δ²) with Δ = floor(S·2^16 / W); both are 0 at
    first.

    The model moves by floor(2^f · η · m / (isqrt(v) + T)), T = ceil(τ · 2^(f+16)). All parameters are in millionths.
    The numbers are Python's, so that nothing overflows; m is in units of 2^−(f+16), v in units of its square.

    Raises:
        EncodingError: a parameter is out of range.
    """

    title = "FedYogi"
    kind = 6

    def second_moment(self, before: NDArray[Any], square: NDArray[Any]) -> NDArray[Any]:
        """v − sign(v − Δ²) · floor((1−β₂)·Δ²)."""
        moved: NDArray[Any] = before - np.sign(before - square) * ((MICROS - self.beta_2) * square // MICROS)
        return moved

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> NDArray[Any]:
        """What the model moves by, Python integers (n,)."""
        first, second = state
        return _step(self.eta, self.tau, first, second, facts)


@dataclass(frozen=True)
class ServerAdagrad(Aggregator):
    """v ← v + Δ² with Δ = floor(S·2^16 / W); 0 at first.

    The model moves by floor(2^f · η · Δ / (isqrt(v) + T)), T = ceil(τ · 2^(f+16)). Parameters are in millionths. v
    grows with every round, in units of 2^−2(f+16), and is a Python integer.

    Raises:
        EncodingError: a parameter is out of range.
    """

    title = "FedAdagrad"
    kind = 7

    eta: int
    tau: int

    def __post_init__(self) -> None:
        check_parameter("FedAdagrad's eta, in millionths,", self.eta, 1, MOST_RATE)
        check_parameter("FedAdagrad's tau, in millionths,", self.tau, 1, MOST_RATE)

    def parameters(self) -> tuple[int, ...]:
        """(η, τ)."""
        return self.eta, self.tau

    def shown_parameters(self) -> dict[str, str]:
        """As in Flower."""
        return {"eta": shown_micros(self.eta), "tau": shown_micros(self.tau)}

    def remember(self, state: ServerState, sums: WeightedSums) -> ServerState:
        """(v,) after the round, Python integers (n,)."""
        delta = guarded_mean(sums).astype(object)
        (second,) = state or (np.zeros(delta.size, dtype=object),)
        return (second + delta * delta,)

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> NDArray[Any]:
        """What the model moves by, Python integers (n,)."""
        (second,) = state
        return _step(self.eta, self.tau, guarded_mean(sums).astype(object), second, facts)


def _step(eta: int, tau: int, first: NDArray[Any], second: NDArray[Any], facts: RoundFacts) -> NDArray[Any]:
    step: NDArray[Any] = (eta << facts.fraction_bits) * first // (MICROS * divisors(second, tau, facts))
    return step
