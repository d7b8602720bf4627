"""Federated averaging: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks", arXiv:1602.05629."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedvm.protocol.aggregators.rule import Aggregator, Point, RoundFacts, ServerState
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import SumVector


@dataclass(frozen=True)
class WeightedMean(Aggregator):
    """floor(S / W): the only rule whose result can be disputed on chain. Its identifier is 32 zero bytes."""

    title = "weighted mean"
    kind = 0

    def parameters(self) -> tuple[int, ...]:
        """None."""
        return ()

    @property
    def identifier(self) -> bytes:
        """32 zero bytes."""
        return bytes(32)

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> SumVector:
        """floor(S / W), int64 (n,)."""
        mean: SumVector = sums.sums // np.int64(sums.total_weight)
        return mean
