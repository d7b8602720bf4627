"""Coordinate-wise median: Yin et al. 2018, "Byzantine-Robust Distributed Learning", arXiv:1803.01498, definition 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedvm.protocol.aggregators.rule import Aggregator, Point, RoundFacts, ServerState
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import SumVector


@dataclass(frozen=True)
class CoordinateMedian(Aggregator):
    """The median of each element over the updates; each update counts once, whatever its weight.

    For an even number of updates it is floor((a + b) / 2) of the two in the middle.
    """

    title = "FedMedian"
    kind = 3
    needs_updates = True

    def parameters(self) -> tuple[int, ...]:
        """None."""
        return ()

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> SumVector:
        """The medians, int64 (n,)."""
        updates = np.stack([one.vector for one in counted])
        upper = len(updates) // 2
        lower = (len(updates) - 1) // 2
        updates.partition((lower, upper), axis=0)
        median: SumVector = (updates[lower].astype(np.int64) + updates[upper]) >> 1
        return median
