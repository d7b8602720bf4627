"""The coordinator's side of demands: what its proposal and its roll-up are the hashes of, shown to whoever asks.

Everything is computed again from the store, so that a coordinator that lost its memory can answer all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from fedvm.chain.disputes import DataAnswered, DataDemanded, DisputesContract
from fedvm.chain.federation import FederationContract
from fedvm.evm.keccak import keccak
from fedvm.federation.coordinator.ledger import AcceptedUpdate
from fedvm.protocol import (
    CountedUpdate,
    EncodingError,
    UpdateContext,
    aggregation_nodes,
    int32_from_bytes,
    model_tree,
    update_tree,
)
from fedvm.protocol.preimages import of_aggregation, of_commitments, of_rollup, of_update, of_vector
from fedvm.protocol.vector import IntVector
from fedvm.store import Store, StoreError

Finder = Callable[[Collection[bytes]], Mapping[bytes, bytes]]
"""From hashes of 32 bytes to the preimages of those that are known."""


@dataclass(frozen=True)
class ProposedRound:
    """What a proposal was made from. accepted: in the order of the chain; excluded: members (lower-case hex) whose
    update does not count; model_cid, rollup_cid: binary, the latter b"" where the updates were relayed."""

    chain_id: int
    federation: str
    number: int
    elements: int
    accepted: Sequence[AcceptedUpdate]
    excluded: frozenset[str]
    model_cid: bytes
    rollup_cid: bytes = b""

    def preimages(self, store: Store) -> Iterator[bytes]:
        """Of every hash that can be demanded, as far as the store has what they are made from."""
        commitments = [update.commitment for update in self.accepted]
        yield from of_commitments(commitments)
        if self.rollup_cid:
            with suppress(StoreError):  # lost: its demands stay open
                yield from of_rollup(store.get(self.rollup_cid))
        model = self._vector(store, self.model_cid)
        if model is not None:
            yield from of_vector(model_tree(model))
        for update in self.accepted:
            vector = self._vector(store, update.cid)
            if vector is not None:
                place = (self.chain_id, self.federation, self.number, update.member, self.elements)
                yield from of_update(update_tree(vector, UpdateContext(*place)))
        with suppress(StoreError):  # of what stands above a lost update nothing is known
            yield from of_aggregation(aggregation_nodes(self._counted(store)))

    def _counted(self, store: Store) -> Iterator[CountedUpdate | None]:
        """The updates in order, read when wanted: a thousand vectors are large. Raises StoreError for a lost one."""
        for update in self.accepted:
            if update.member.lower() in self.excluded:
                yield None
                continue
            vector = self._vector(store, update.cid)
            if vector is None:
                raise StoreError(f"the update of {update.member} is lost")
            yield CountedUpdate(update.commitment, vector)

    def _vector(self, store: Store, cid: bytes) -> IntVector | None:
        try:
            return int32_from_bytes(store.get(cid), self.elements)
        except (StoreError, EncodingError):
            return None


def find(wanted: Collection[bytes], preimages: Iterable[bytes]) -> dict[bytes, bytes]:
    """Those of the preimages that the wanted hashes are of; looks no further than it must."""
    missing, found = set(wanted), {}
    for preimage in preimages:
        if not missing:
            break
        digest = keccak(preimage)
        if digest in missing:
            missing.remove(digest)
            found[digest] = preimage
    return found


def open_demands(contract: FederationContract, *, first_block: int = 0) -> list[bytes]:
    """Hashes that are demanded of the latest proposal and not answered. first_block: at or before that proposal."""
    number = contract.current_round()
    attempt = contract.round(number).attempt
    open_: dict[bytes, None] = {}
    disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
    for event in disputes.events([DataDemanded, DataAnswered], first=first_block):
        if (event.round, event.attempt) != (number, attempt):
            continue
        if isinstance(event, DataDemanded):
            open_[bytes(event.hash)] = None
        elif isinstance(event, DataAnswered):
            open_.pop(bytes(event.hash), None)
    return list(open_)


def answer_demands(
    contract: FederationContract, account: LocalAccount, finder: Finder, *, first_block: int = 0
) -> int:
    """Answer what is demanded of the pending proposal and known; returns how many answers were sent.

    account: pays for the gas; the fees of the demands go to the coordinator. first_block: at or before the proposal.
    """
    open_ = open_demands(contract, first_block=first_block)
    known = finder(open_) if open_ else {}
    disputes = DisputesContract(contract.w3, contract.disputes(), sender=contract.sender)
    for preimage in known.values():
        disputes.answer(account, contract.current_round(), preimage)
    return len(known)
