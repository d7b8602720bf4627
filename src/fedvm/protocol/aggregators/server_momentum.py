"""FedAvgM: Hsu, Qi & Brown 2019, "Measuring the Effects of Non-Identical Data Distribution", arXiv:1909.06335."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedvm.protocol.aggregators.arithmetic import GUARD_BITS, guarded_mean, shown_micros, times_micros
from fedvm.protocol.aggregators.rule import (
    MICROS,
    Aggregator,
    Point,
    RoundFacts,
    ServerState,
    check_parameter,
)
from fedvm.protocol.errors import RangeError
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import SumVector

_MOST_RATE = 100 * MICROS
_MOST_MOMENTUM = 1 << 55  # · 100 (the greatest rate) stays below 2^62


@dataclass(frozen=True)
class ServerMomentum(Aggregator):
    """M ← floor(β·M) + floor(S·2^16 / W), then the model moves by floor(η·M / 2^16); M is 0 before round 1.

    learning_rate (η, up to 100) and momentum (β < 1) are in millionths. With η = 1 and β = 0 it is the weighted
    mean. The memory is the vector M, int64, in units of 2^−(fraction_bits + 16).

    Raises:
        EncodingError: a parameter is out of range.
    """

    title = "FedAvgM"
    kind = 1

    learning_rate: int
    momentum: int

    def __post_init__(self) -> None:
        check_parameter("FedAvgM's server learning rate, in millionths,", self.learning_rate, 1, _MOST_RATE)
        check_parameter("FedAvgM's server momentum, in millionths,", self.momentum, 0, MICROS - 1)

    def parameters(self) -> tuple[int, ...]:
        """(learning rate, momentum)."""
        return self.learning_rate, self.momentum

    def shown_parameters(self) -> dict[str, str]:
        """As in Flower."""
        return {
            "server_learning_rate": shown_micros(self.learning_rate),
            "server_momentum": shown_micros(self.momentum),
        }

    def remember(self, state: ServerState, sums: WeightedSums) -> ServerState:
        """M after the round. Raises RangeError where |M| reaches 2^55: the federation has diverged by far."""
        momentum = guarded_mean(sums)
        if state:
            momentum = times_micros(state[0], self.momentum) + momentum
        largest = int(np.max(np.abs(momentum)))
        if largest >= _MOST_MOMENTUM:
            raise RangeError(
                f"FedAvgM's momentum reached {largest} · 2^−16; lower momentum or the norm bound"
            )
        return (momentum,)

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> SumVector:
        """floor(η·M / 2^16), int64 (n,); rounding down twice is rounding down once."""
        step: SumVector = times_micros(state[0], self.learning_rate) >> GUARD_BITS
        return step
