"""A round's accepted updates in the store, added up block by block with one vector of each block in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedvm.chain.federation_types import Premises, UpdateAccepted
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.reception import Spread
from fedvm.federation.errors import LedgerMismatch
from fedvm.protocol import (
    CountedUpdate,
    Domain,
    Subtotal,
    commitment_tree,
    fold,
    subtotal,
)
from fedvm.protocol.vector import IntVector
from fedvm.store import Store
from fedvm.store.vectors import WrongVector, stored_update, stored_vector

_LEAST_BLOCK, _MOST_BLOCKS = 3, 5  # as powers of two: at least 8 updates a block, at most 32 blocks


@dataclass(frozen=True)
class StoredUpdates:
    """The updates of round `number`, in the order of their acceptance, as `with_posted_vectors` gives them.

    An update that the federation has not compared yet is compared when it is loaded, which raises LedgerMismatch if the
    store contradicts the chain.
    """

    federation: Federation
    number: int
    updates: Sequence[UpdateAccepted]

    @property
    def premises(self) -> Premises:
        """What a proposal over these updates names as what it was computed from."""
        commitments = [update.commitment for update in self.updates]
        weight = sum(commitment.weight for commitment in commitments)
        return Premises(len(commitments), weight, commitment_tree(commitments).digest())

    def load(self) -> list[CountedUpdate]:
        """All of them, in memory at once."""
        return list(self._block(self.updates, height=0).load())

    def add_up(self, spread: Spread = map) -> Subtotal:
        """The top of the aggregation tree: its hash, S, the root of S, and W. spread: works on the blocks.

        Raises EncodingError if there are none.
        """
        height = (len(self.updates) - 1).bit_length()
        low = min(height, max(_LEAST_BLOCK, height - _MOST_BLOCKS))
        parts = [self.updates[at : at + (1 << low)] for at in range(0, len(self.updates), 1 << low)]
        return fold(spread(_add_block, [self._block(part, low) for part in parts]), height - low)

    def _block(self, updates: Sequence[UpdateAccepted], height: int) -> _Block:
        ledger, vectors = self.federation.ledger, self.federation.vectors
        doubtful = frozenset(
            one.member for one in updates if not vectors.is_compared(one.round, one.member, one)
        )
        return _Block(vectors.store, ledger.domain, vectors.elements, tuple(updates), doubtful, height)


@dataclass(frozen=True)
class _Block:
    """At most 2^height neighbouring updates, by CID, so that a block can be sent to another process. doubtful: members
    whose updates are still to be compared."""

    store: Store
    domain: Domain
    elements: int
    updates: tuple[UpdateAccepted, ...]
    doubtful: frozenset[str]
    height: int

    def load(self) -> Iterator[CountedUpdate]:
        for update in self.updates:
            yield CountedUpdate(update.commitment, self._vector(update), update.loss_micros)

    def _vector(self, update: UpdateAccepted) -> IntVector:
        if update.member not in self.doubtful:
            return stored_vector(self.store, update.cid, self.elements)
        place = self.domain.place(update.round, update.member)
        committed = update.update_root, update.sum_squares
        try:
            return stored_update(self.store, update.cid, self.elements, place, committed).vector
        except WrongVector as error:
            raise LedgerMismatch(
                f"the stored update of {update.member} in round {update.round} is not the one accepted on chain"
            ) from error


def _add_block(block: _Block) -> Subtotal:
    return subtotal(block.load(), block.height)
