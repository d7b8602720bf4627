"""The coordinator's side of demands: it shows the preimages of the hashes in its proposal and roll-up.

Everything is computed again from the store, so a coordinator can answer after a restart, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from fedvm.chain.disputes import DataAnswered, DataDemanded, DisputesContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundProposed
from fedvm.chain.history import RoundHistory
from fedvm.evm.keccak import keccak
from fedvm.protocol import (
    CountedUpdate,
    Domain,
    aggregation_nodes,
    model_tree,
    update_tree,
)
from fedvm.protocol.preimages import of_aggregation, of_commitments, of_rollup, of_update, of_vector
from fedvm.protocol.vector import IntVector
from fedvm.store import Store, StoreError
from fedvm.store.vectors import stored_vector

Finder = Callable[[Collection[bytes]], Mapping[bytes, bytes]]
"""From hashes of 32 bytes to the preimages of those that are known."""


@dataclass(frozen=True)
class ProposedRound:
    """What the latest proposal of a round was made from. told: the round's history, with its verdicts."""

    domain: Domain
    elements: int
    told: RoundHistory

    def preimages(self, store: Store) -> Iterator[bytes]:
        """The preimage of every hash that can be demanded, as far as the store has the data for it."""
        yield from of_commitments([update.commitment for update in self.told.accepted])
        if self.told.rollup:
            with suppress(StoreError):  # the update is lost: demands for it stay open
                yield from of_rollup(store.get(self.told.rollup.cid))
        model = self._vector(store, self.told.proposal.cid) if self.told.proposal else None
        if model is not None:
            yield from of_vector(model_tree(model))
        for update in self.told.accepted:
            vector = self._vector(store, update.cid)
            if vector is not None:
                yield from of_update(update_tree(vector, self.domain.place(self.told.number, update.member)))
        with suppress(StoreError):  # the nodes above a lost update cannot be computed
            yield from of_aggregation(aggregation_nodes(self._counted(store)))

    def _counted(self, store: Store) -> Iterator[CountedUpdate]:
        """The updates in order, each read when it is needed, since a thousand vectors are large. Raises StoreError if
        one is lost."""
        for update in self.told.accepted:
            vector = self._vector(store, update.cid)
            if vector is None:
                raise StoreError(f"the update of {update.member} is lost")
            yield CountedUpdate(update.commitment, vector)

    def _vector(self, store: Store, cid: bytes) -> IntVector | None:
        try:
            return stored_vector(store, cid, self.elements)
        except StoreError:
            return None


def find(wanted: Collection[bytes], preimages: Iterable[bytes]) -> dict[bytes, bytes]:
    """The preimages of the wanted hashes; stops as soon as all are found."""
    missing, found = set(wanted), {}
    for preimage in preimages:
        if not missing:
            break
        digest = keccak(preimage)
        if digest in missing:
            missing.remove(digest)
            found[digest] = preimage
    return found


def open_demands(contract: FederationContract, proposed: RoundProposed) -> list[bytes]:
    """Hashes that are demanded of a proposal and not answered."""
    open_: dict[bytes, None] = {}
    disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
    for event in disputes.events([DataDemanded, DataAnswered], first=proposed.at.block_number):
        if (event.round, event.attempt) != (proposed.round, proposed.attempt):
            continue
        if isinstance(event, DataDemanded):
            open_[event.hash] = None
        elif isinstance(event, DataAnswered):
            open_.pop(event.hash, None)
    return list(open_)


def answer_demands(
    contract: FederationContract, account: LocalAccount, proposed: RoundProposed, finder: Finder
) -> int:
    """Answer what is demanded of the pending proposal and known; returns how many answers were sent.

    account: pays for the gas; the fees of the demands go to the coordinator.
    """
    open_ = open_demands(contract, proposed)
    known = finder(open_) if open_ else {}
    disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
    for preimage in known.values():
        disputes.answer(account, proposed.round, preimage)
    return len(known)
