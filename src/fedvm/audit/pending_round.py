"""A proposal that can still be challenged, and all data of its round, from the chain and a store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedvm.audit.errors import AuditError
from fedvm.audit.stored import update_vectors
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState, UpdateAccepted
from fedvm.chain.history import FederationHistory
from fedvm.protocol import (
    Commitment,
    Domain,
    PlainTree,
    Rollup,
    UpdateTree,
    model_tree,
    update_tree,
)
from fedvm.protocol.vector import IntVector
from fedvm.store import Store, StoreError
from fedvm.store.vectors import UpdateVectors, stored_vector


@dataclass(frozen=True)
class PendingRound:
    """A proposal, and the data it must follow from. Roots are 32 bytes, until is in Unix seconds.

    published: for each accepted update, by index, the tree over the data in the store or on chain (zeros if there are
    none), which need not be the signed data. aggregator: that of the rules; the contract judges the model only if it is
    the weighted mean.
    """

    number: int
    attempt: int
    until: int
    aggregation_root: bytes
    aggregate_root: bytes
    model_root: bytes
    total_weight: int
    aggregator: bytes
    base: PlainTree
    commitments: tuple[Commitment, ...]
    published: tuple[UpdateTree, ...]
    domain: Domain

    def tree_of(self, index: int, vector: IntVector) -> UpdateTree:
        """The tree of accepted update number ``index`` if its vector is this one, int32 (n,)."""
        member = self.commitments[index].member
        return update_tree(vector, self.domain.place(self.number, member))


def pending_round(
    contract: FederationContract,
    store: Store,
    *,
    first_block: int = 0,
    rollup: Rollup | None = None,
) -> PendingRound | None:
    """The latest round if it has a proposal that can be challenged, else None.

    first_block: at or before the federation's creation. rollup: the round's roll-up, checked before, if it was rolled
    up. Raises AuditError when the store lacks the base model.
    """
    number = contract.current_round()
    if contract.round(number).state is not RoundState.PROPOSED:
        return None
    return round_over(contract, store, number, first_block=first_block, rollup=rollup)


def round_over(
    contract: FederationContract,
    store: Store,
    number: int,
    *,
    first_block: int = 0,
    rollup: Rollup | None = None,
) -> PendingRound:
    """The latest round with its updates, whether or not a proposal stands over them; as `pending_round`."""
    round_ = contract.round(number)
    history = FederationHistory(contract, first_block=first_block).read()
    told = history.round(number)
    if rollup is not None:
        told.take_records(rollup)
    accepted = told.accepted
    rules = contract.rules()
    vectors = update_vectors(contract, store, first_block)
    return PendingRound(
        number=number,
        attempt=round_.attempt,
        until=round_.until,
        aggregation_root=round_.aggregation_root,
        aggregate_root=round_.aggregate_root,
        model_root=round_.model_root,
        total_weight=round_.total_weight,
        aggregator=rules.aggregator,
        base=base_model(store, history.model_cid or b"", rules.elements, contract.model_root()),
        commitments=tuple(one.commitment for one in accepted),
        published=tuple(_published(vectors, one) for one in accepted),
        domain=vectors.domain,
    )


def base_model(store: Store, cid: bytes, elements: int, root: bytes) -> PlainTree:
    """The model that a round trains from. Raises AuditError when the store lacks it."""
    try:
        return model_tree(stored_vector(store, cid, elements, root))
    except StoreError as error:
        raise AuditError(
            f"the model that the round trains from cannot be read: {error}; fetch it first"
        ) from error


def _published(vectors: UpdateVectors, update: UpdateAccepted) -> UpdateTree:
    try:
        return vectors.claimed(update.round, update.member, update)
    except StoreError:
        nothing = np.zeros(vectors.elements, dtype=np.int32)
        return update_tree(nothing, vectors.domain.place(update.round, update.member))
