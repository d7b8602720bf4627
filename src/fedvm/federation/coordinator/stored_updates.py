"""A round's accepted updates in the store: added up block by block, one vector of each in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from fedvm.chain.federation_types import UpdateAccepted
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.reception import Spread
from fedvm.federation.errors import LedgerMismatch
from fedvm.protocol import (
    Contribution,
    CountedUpdate,
    EncodingError,
    Subtotal,
    UpdateContext,
    fold,
    int32_from_bytes,
    subtotal,
    update_tree,
)
from fedvm.protocol.vector import IntVector
from fedvm.store import Store

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

    def contributions(self) -> list[Contribution]:
        """All that count, in memory at once."""
        loaded = self._block(self.updates, height=0).load()
        return [
            Contribution(u.commitment.member, u.commitment.weight, u.vector) for u in loaded if u is not None
        ]

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
        place = _Place(store, ledger.chain_id, ledger.address, self.number, ledger.rules().elements)
        roots = frozenset(update.update_root for update in updates if update is not None)
        return _Block(place, tuple(updates), roots - self.checked, height)


@dataclass(frozen=True)
class _Place:
    """Where the vectors lie, and what their roots are bound to."""

    store: Store
    chain_id: int
    federation: str
    round: int
    elements: int


@dataclass(frozen=True)
class _Block:
    """At most 2^height neighbours; small enough to be sent to another process. doubtful: roots to compare."""

    place: _Place
    updates: tuple[UpdateAccepted | None, ...]
    doubtful: frozenset[bytes]
    height: int

    def load(self) -> Iterator[CountedUpdate | None]:
        for update in self.updates:
            yield None if update is None else CountedUpdate(update.commitment, self._vector(update))

    def _vector(self, update: UpdateAccepted) -> IntVector:
        place = self.place
        vector = int32_from_bytes(place.store.get(update.cid), place.elements)
        if update.update_root not in self.doubtful:
            return vector
        context = UpdateContext(place.chain_id, place.federation, place.round, update.member, place.elements)
        if update_tree(vector, context).root != update.update_root:
            raise LedgerMismatch(
                f"the stored update of {update.member} in round {place.round} is not the one accepted on chain"
            )
        return vector


def _add_block(block: _Block) -> Subtotal | None:
    return subtotal(block.load(), block.height)
