"""Bulyan: El Mhamdi et al. 2018, "The Hidden Vulnerability of Distributed Learning in Byzantium", arXiv:1802.07927."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedvm.protocol.aggregators.krum import Krum
from fedvm.protocol.aggregators.rule import Aggregator, Point, RoundFacts, ServerState, check_parameter
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import SumVector

_MOST = 2**32 - 1
_COLUMNS = 1 << 16  # elements at a time, so that memory does not grow with the model


@dataclass(frozen=True)
class Bulyan(Aggregator):
    """For each element, the mean of the values closest to the median of the updates that Multi-Krum selects.

    Of n updates θ = max(1, n − 2·malicious) are selected, by Krum's scores, once, as in Flower; of their values the
    β = max(1, θ − 2·malicious) closest to the exact median count, of equally close ones the smaller first. Each update
    counts once, whatever its weight; the quotient is rounded down. The paper's guarantee needs n ≥ 4·malicious + 3.

    Raises:
        EncodingError: the parameter is out of range.
    """

    title = "Bulyan"
    kind = 8
    needs_updates = True

    malicious: int

    def __post_init__(self) -> None:
        check_parameter("Bulyan's number of malicious updates", self.malicious, 0, _MOST)

    def parameters(self) -> tuple[int, ...]:
        """(malicious,), a count."""
        return (self.malicious,)

    def shown_parameters(self) -> dict[str, str]:
        """As in Flower."""
        return {"num_malicious_nodes": str(self.malicious)}

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> SumVector:
        """The means of the closest values, int64 (n,)."""
        select = max(1, len(counted) - 2 * self.malicious)
        chosen = [counted[at].vector for at in Krum(self.malicious, select).selected(counted)]
        closest = max(1, select - 2 * self.malicious)
        parts = [
            _mean_of_closest(np.stack([one[at : at + _COLUMNS] for one in chosen]), closest)
            for at in range(0, sums.sums.size, _COLUMNS)
        ]
        step: SumVector = np.concatenate([np.zeros(0, np.int64), *parts])
        return step


def _mean_of_closest(values: np.ndarray[tuple[int, ...], np.dtype[np.int32]], closest: int) -> SumVector:
    """Of each column of int32 (updates, n), the floored mean of the values closest to its median, int64 (n,)."""
    ordered = np.sort(values, axis=0).astype(np.int64)
    count = len(ordered)
    twice_median = ordered[(count - 1) // 2] + ordered[count // 2]
    nearest = np.argsort(np.abs(2 * ordered - twice_median), axis=0, kind="stable")[:closest]
    mean: SumVector = np.take_along_axis(ordered, nearest, axis=0).sum(axis=0) // np.int64(closest)
    return mean
