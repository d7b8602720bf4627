"""Krum and Multi-Krum: Blanchard et al. 2017, "Machine Learning with Adversaries", arXiv:1703.02757."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedvm.protocol.aggregators.rule import (
    Aggregator,
    Point,
    RoundFacts,
    ServerState,
    check_parameter,
)
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import IntVector, SumVector

_MOST = 2**32 - 1


@dataclass(frozen=True)
class Krum(Aggregator):
    """The weighted mean of the `select` updates closest to their neighbours: Krum if it is one, else Multi-Krum.

    An update's score is the sum of the squared distances to its max(1, n − malicious − 2) closest others of the n;
    equal scores go to the lower position, that is the lower address. Weights are those of the contract, as in
    Flower. The paper's guarantee needs n ≥ 2 · malicious + 3.

    Raises:
        EncodingError: a parameter is out of range.
    """

    title = "Krum"
    kind = 5
    needs_updates = True

    malicious: int
    select: int

    def __post_init__(self) -> None:
        check_parameter("Krum's number of malicious updates", self.malicious, 0, _MOST)
        check_parameter("Krum's number of updates to select", self.select, 1, _MOST)

    @property
    def name(self) -> str:
        """Krum or Multi-Krum, by the number of updates selected."""
        return "Krum" if self.select == 1 else "MultiKrum"

    def parameters(self) -> tuple[int, ...]:
        """(malicious, select), counts."""
        return self.malicious, self.select

    def shown_parameters(self) -> dict[str, str]:
        """As in Flower."""
        return {"num_malicious_nodes": str(self.malicious), "num_nodes_to_select": str(self.select)}

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> SumVector:
        """The selected updates' weighted mean, rounded down, int64 (n,)."""
        chosen = [counted[at] for at in self.selected(counted)]
        added = sum(
            (np.int64(one.weight) * one.vector.astype(np.int64) for one in chosen), np.zeros_like(sums.sums)
        )
        step: SumVector = added // np.int64(sum(one.weight for one in chosen))
        return step

    def selected(self, counted: Sequence[Point]) -> tuple[int, ...]:
        """Positions of the selected updates, ascending."""
        count = len(counted)
        distances = [[0] * count for _ in range(count)]
        for left in range(count):
            for right in range(left + 1, count):
                distance = squared_distance(counted[left].vector, counted[right].vector)
                distances[left][right] = distances[right][left] = distance
        closest = max(1, count - self.malicious - 2)
        scores = []
        for at, row in enumerate(distances):
            others = sorted(row[:at] + row[at + 1 :])
            scores.append(sum(others[:closest]))
        order = sorted(range(count), key=lambda at: (scores[at], at))
        return tuple(sorted(order[: self.select]))


def squared_distance(left: IntVector, right: IntVector) -> int:
    """Σ (left − right)² of two int32 vectors (n,), exact: a square of a difference is below 2^64."""
    difference = np.abs(left.astype(np.int64) - right).astype(np.uint64)
    squares = difference * difference
    # Halves of 32 bits: their sums cannot leave 64 bits for fewer than 2^32 elements.
    low = int((squares & np.uint64(0xFFFFFFFF)).sum(dtype=np.uint64))
    high = int((squares >> np.uint64(32)).sum(dtype=np.uint64))
    return (high << 32) + low
