"""Rules for what is no vector: members exchange bytes, and the vectors on chain are the names of these.

A vector has nine elements, the 36 bytes of a binary CIDv1 as big-endian int32. So an update commits to bytes of any
length, and so does the model; weights, norms, sums and disputes are as for any vector, and mean nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from fedvm.protocol.aggregators.rule import Aggregator, Point, RoundFacts, ServerState
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import IntVector

NAME_ELEMENTS = 9
"""Elements of a vector that names bytes."""
MOST_BYTES = 1 << 26
"""Of an update; of more nothing is taken."""


class ByteRule(Aggregator):
    """A rule that makes the model's next bytes from those of the updates, in the order of their acceptance."""

    needs_updates = True
    over_bytes = True

    @abstractmethod
    def combined(self, base: bytes, updates: Iterable[bytes]) -> bytes:
        """The next model. base: the model before it, empty at first. updates: read one after another, so that not all
        are in memory; of what is not of the form that the rule demands nothing is taken."""

    @abstractmethod
    def objection(self, data: bytes) -> str:
        """Why bytes are not of the form that the rule demands; empty if they are."""

    def parameters(self) -> tuple[int, ...]:
        """None."""
        return ()

    def model(
        self,
        base: IntVector,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> IntVector:
        """The name of the next model's bytes, int32 (9,). Raises what `facts.payloads` raises."""
        payloads = facts.payloads
        if payloads is None:
            raise EncodingError(f"{self.name} aggregates bytes, and nobody says where they are")
        updates = (payloads.get(one.vector) for one in counted)
        return payloads.put(self.combined(payloads.get(base), updates))

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> NDArray[Any]:
        """Names of bytes cannot be added up: always raises EncodingError."""
        raise EncodingError(f"{self.name} aggregates bytes; its updates are no steps")
