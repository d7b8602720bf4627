"""The contributors to a final round, each with a Merkle path to the top of the round's aggregation tree."""

from __future__ import annotations

from fedvm.audit.errors import AuditError
from fedvm.audit.stored import update_vectors
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RollupSubmitted, RoundState, UpdateAccepted
from fedvm.chain.fees import Contribution
from fedvm.chain.history import FederationHistory, RoundHistory
from fedvm.chain.rollups import stated_rollup
from fedvm.protocol import CountedUpdate, EncodingError, aggregation_tree
from fedvm.store import Store, StoreError
from fedvm.store.vectors import UpdateVectors


def contributions(
    contract: FederationContract, store: Store, number: int, *, first_block: int = 0
) -> tuple[Contribution, ...]:
    """The updates of a final round, in the order of their acceptance.

    first_block: at or before the round's opening. Raises AuditError when the round is not final, the store lacks an
    update or the records of a roll-up, or what is there does not add up to the round's aggregation.
    """
    round_ = contract.round(number)
    if round_.state is not RoundState.FINAL:
        state = round_.state.name.lower()
        raise AuditError(f"round {number} is {state}: only a final round has contributors")
    told = FederationHistory(contract, first_block=first_block).read().round(number)
    if told.rollup is not None:
        _take_records(told, told.rollup, store)
    vectors = update_vectors(contract, store, first_block)
    updates = [_counted(vectors, update) for update in told.accepted]
    tree = aggregation_tree(updates)
    if tree.root != round_.aggregation_root:
        raise AuditError(
            f"the stored updates of round {number} add up to 0x{tree.root.hex()}, the round's aggregation is "
            f"0x{round_.aggregation_root.hex()}: run `fedvm audit` to see which differs"
        )
    return tuple(Contribution(position, update.commitment, tree) for position, update in enumerate(updates))


def _take_records(told: RoundHistory, stated: RollupSubmitted, store: Store) -> None:
    try:
        told.take_records(stated_rollup(stated, store.get(stated.cid)))
    except (StoreError, EncodingError) as error:
        raise AuditError(f"the records of round {told.number}'s roll-up cannot be read: {error}") from error


def _counted(vectors: UpdateVectors, event: UpdateAccepted) -> CountedUpdate:
    try:
        return CountedUpdate(event.commitment, vectors.vector(event.round, event.member, event))
    except StoreError as error:
        raise AuditError(f"the update of {event.member} in round {event.round}: {error}") from error
