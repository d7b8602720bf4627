"""Updates that members submitted without the coordinator, and how the coordinator gets their vectors."""

from __future__ import annotations

from dataclasses import replace

from fedvm.chain.federation_types import UpdateAccepted
from fedvm.chain.history import RoundHistory
from fedvm.federation.coordinator.membership import Federation
from fedvm.protocol import Submission, Update
from fedvm.store import Cid, StoreError
from fedvm.store.vectors import stored_update


def with_vectors(federation: Federation, number: int) -> tuple[Submission, ...]:
    """The waiting updates of an open round whose vectors are available.

    The vectors of those that were not published are demanded on chain, all at once; an update whose member does not
    post it in time is given up.
    """
    ledger = federation.ledger
    while True:
        waiting = ledger.waiting(number)
        missing = [
            one.member for one in waiting if not _is_published(federation, number, one.member, one.update)
        ]
        if not ledger.await_vectors(number, missing):
            return waiting


def with_posted_vectors(federation: Federation, told: RoundHistory) -> tuple[UpdateAccepted, ...]:
    """The accepted updates of a round, with the vectors that were posted on chain in the store: the CID of such an
    update is that of what its member posted, where it signed another."""
    return tuple(_with_posted(federation, one) if one.member in told.direct else one for one in told.accepted)


def _with_posted(federation: Federation, update: UpdateAccepted) -> UpdateAccepted:
    if _is_published(federation, update.round, update.member, update):
        return update
    posted = federation.ledger.posted_vector(update.round, update.member)
    if posted is None:
        return update
    return replace(update, cid=Cid.parse(federation.store.put(posted)).binary)


def _is_published(federation: Federation, number: int, member: str, signed: Update | UpdateAccepted) -> bool:
    """Whether the store has a vector with the root and the Σd² that were signed; the CID may be of anything. Where an
    update counts whose Σd² is wrong, the coordinator loses its bond.
    """
    ledger = federation.ledger
    place, committed = ledger.domain.place(number, member), (signed.update_root, signed.sum_squares)
    try:
        stored_update(federation.store, signed.cid, ledger.rules().elements, place, committed)
    except StoreError:
        return False
    return True
