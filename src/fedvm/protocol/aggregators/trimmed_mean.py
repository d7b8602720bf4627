"""Coordinate-wise trimmed mean: Yin et al. 2018, "Byzantine-Robust Distributed Learning", arXiv:1803.01498, def. 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedvm.protocol.aggregators.arithmetic import shown_micros
from fedvm.protocol.aggregators.rule import (
    MICROS,
    Aggregator,
    Point,
    RoundFacts,
    ServerState,
    check_parameter,
)
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import SumVector


@dataclass(frozen=True)
class TrimmedMean(Aggregator):
    """For each element, the mean without the k smallest and the k greatest values, k = floor(β · updates).

    Each update counts once whatever its weight; the quotient is rounded down. beta: in millionths, below one half.

    Raises:
        EncodingError: beta is out of range.
    """

    title = "FedTrimmedAvg"
    kind = 4
    needs_updates = True

    beta: int

    def __post_init__(self) -> None:
        check_parameter("FedTrimmedAvg's beta, in millionths,", self.beta, 0, MICROS // 2 - 1)

    def parameters(self) -> tuple[int, ...]:
        """(β,)."""
        return (self.beta,)

    def shown_parameters(self) -> dict[str, str]:
        """As in Flower."""
        return {"beta": shown_micros(self.beta)}

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> SumVector:
        """The trimmed means, int64 (n,)."""
        updates = np.stack([one.vector for one in counted])
        count = len(updates)
        cut = count * self.beta // MICROS
        updates.partition((cut, count - cut - 1), axis=0)
        kept = updates[cut : count - cut].sum(axis=0, dtype=np.int64)
        mean: SumVector = kept // np.int64(count - 2 * cut)
        return mean
