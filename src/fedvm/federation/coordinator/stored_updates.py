"""A round's accepted updates in the store, added up block by block with one vector of each block in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from fedvm.chain.federation_types import UpdateAccepted
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.reception import Spread
from fedvm.federation.errors import LedgerMismatch
from fedvm.protocol import (
    CountedUpdate,
    Domain,
    EncodingError,
    Subtotal,
    fold,
    subtotal,
)
from fedvm.protocol.vector import IntVector
from fedvm.store import Store
from fedvm.store.vectors import WrongVector, stored_vector, update_root

_LEAST_BLOCK, _MOST_BLOCKS = 3, 5  # as powers of two: at least 8 updates a block, at most 32 blocks


@dataclass(frozen=True)
class StoredUpdates:
    """The updates of round `number`, in the order of their acceptance; None for those that do not count.

    checked: roots of updates whose stored vector is known to be the one committed to; the others are compared
    when they are loaded, which raises LedgerMismatch if the store contradicts the chain.
    """

    federation: Federation
    number: int
    updates: Sequence[UpdateAccepted | None]
    checked: frozenset[bytes]

    def without(self, excluded: Collection[int]) -> StoredUpdates:
        """The same without the updates of the indices `excluded`."""
        kept = [None if index in excluded else one for index, one in enumerate(self.updates)]
        return replace(self, updates=kept)

    def load(self) -> list[CountedUpdate]:
        """All that count, in memory at once."""
        return [one for one in self._block(self.updates, height=0).load() if one is not None]

    def add_up(self, spread: Spread = map) -> Subtotal:
        """The top of the aggregation tree: its hash, S, the root of S, and W. spread: works on the blocks.

        Raises EncodingError if nothing counts.
        """
        height = (len(self.updates) - 1).bit_length()
        low = min(height, max(_LEAST_BLOCK, height - _MOST_BLOCKS))
        parts = [self.updates[at : at + (1 << low)] for at in range(0, len(self.updates), 1 << low)]
        top = fold(spread(_add_block, [self._block(part, low) for part in parts]), height - low)
        if top is None:
            raise EncodingError("no accepted updates to aggregate; fail the round instead")
        return top

    def _block(self, updates: Sequence[UpdateAccepted | None], height: int) -> _Block:
        ledger, store = self.federation.ledger, self.federation.store
        roots = frozenset(update.update_root for update in updates if update is not None)
        return _Block(
            store, ledger.domain, ledger.rules().elements, tuple(updates), roots - self.checked, height
        )


@dataclass(frozen=True)
class _Block:
    """At most 2^height neighbouring updates, by CID, so that a block can be sent to another process. doubtful: roots
    that are still to be compared."""

    store: Store
    domain: Domain
    elements: int
    updates: tuple[UpdateAccepted | None, ...]
    doubtful: frozenset[bytes]
    height: int

    def load(self) -> Iterator[CountedUpdate | None]:
        for update in self.updates:
            yield None if update is None else CountedUpdate(update.commitment, self._vector(update))

    def _vector(self, update: UpdateAccepted) -> IntVector:
        root = update.update_root if update.update_root in self.doubtful else b""
        root_of = update_root(self.domain.place(update.round, update.member))
        try:
            return stored_vector(self.store, update.cid, self.elements, root, root_of)
        except WrongVector as error:
            raise LedgerMismatch(
                f"the stored update of {update.member} in round {update.round} is not the one accepted on chain"
            ) from error


def _add_block(block: _Block) -> Subtotal | None:
    return subtotal(block.load(), block.height)
