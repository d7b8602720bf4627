"""Updates that members submitted without the coordinator, and how the coordinator gets their vectors."""

from __future__ import annotations

from dataclasses import replace

from fedvm.chain.federation_types import UpdateAccepted
from fedvm.chain.history import RoundHistory
from fedvm.federation.coordinator.membership import Federation
from fedvm.protocol import Submission, Update
from fedvm.store import StoreError


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
    """The accepted updates of a round, each under the CID by which the store has its vector: where a member signed
    another, what it posted on chain is put there."""
    return tuple(_with_posted(federation, one) if one.member in told.direct else one for one in told.accepted)


def _with_posted(federation: Federation, update: UpdateAccepted) -> UpdateAccepted:
    try:
        return replace(update, cid=federation.vectors.cid(update.round, update.member, update))
    except StoreError:
        return update  # whoever reads it is told what is missing


def _is_published(federation: Federation, number: int, member: str, signed: Update | UpdateAccepted) -> bool:
    """Whether there is a vector with the root and the Σd² that were signed. Where an update counts whose Σd² is wrong,
    the coordinator loses its bond.
    """
    try:
        federation.vectors.vector(number, member, signed)
    except StoreError:
        return False
    return True
