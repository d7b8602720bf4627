"""Updates that come past the coordinator: how a member sends one, and how the coordinator gets at its data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from eth_account.signers.local import LocalAccount

from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState, Submission
from fedvm.chain.sender import Receipt
from fedvm.encoding import EncodingError, UpdateContext, int32_from_bytes, to_bytes, update_tree
from fedvm.federation.commitment import SignedStatement, SignedUpdate
from fedvm.federation.ledger import AcceptedUpdate
from fedvm.federation.membership import Federation, Store
from fedvm.federation.patience import patiently
from fedvm.store import Cid, StoreError

_POLL_SECONDS: Final = 15


def submit_directly(
    contract: FederationContract, account: LocalAccount, store: Store, signed: SignedUpdate
) -> Receipt:
    """Publish a signed update in the store and bring it to its round: what a member does that is ignored.

    ``account`` pays for the transaction and need not be the member's. The coordinator can demand the vector on
    chain: :meth:`DirectSubmissionsContract.post` answers, which the member must do in time or lose its stake.

    Raises TransactionFailed: members have no stake here, the round is not open, or the rules refuse the update.
    """
    store.put(to_bytes(signed.vector))
    submission = Submission(signed.member, signed.update, signed.signature)
    return DirectSubmissionsContract.of(contract).submit(account, signed.update.round, submission)


def see_through(
    contract: FederationContract,
    account: LocalAccount,
    signed: SignedUpdate,
    *,
    demanded: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
    pass_time: Callable[[int], None] = time.sleep,
) -> DirectState:
    """Wait until an update that was submitted directly is dealt with, or its round is over; post its vector if that is
    demanded. Returns where it stands then.

    account: the member's. demanded: called once instead of posting, with the Unix second at which the vector is due:
    for an account that is not the member's and cannot post. tell: called when the chain cannot be reached, which is
    tried again then; without it such an error is raised. pass_time: called with the seconds until the next look at the
    chain.
    """
    direct, number = DirectSubmissionsContract.of(contract), signed.update.round
    told = False

    def look() -> DirectState | None:
        nonlocal told
        standing = direct.update_of(number, signed.member)
        state = contract.round(number).state
        if standing.state is not DirectState.WAITING or state in (RoundState.FINAL, RoundState.FAILED):
            return standing.state
        if standing.is_demanded and demanded is None:
            direct.post(account, number, to_bytes(signed.vector))
        elif standing.is_demanded and demanded is not None and not told:
            told = True
            demanded(standing.due)
        else:
            pass_time(_POLL_SECONDS)
        return None

    while True:
        seen = look() if tell is None else patiently(look, tell=tell, pause=partial(pass_time, _POLL_SECONDS))
        if seen is not None:
            return seen


def with_vectors(federation: Federation, number: int) -> tuple[SignedStatement, ...]:
    """The updates of an open round that wait, and whose vectors are known to be there.

    The vector of one that was not published is demanded on chain; if its member does not post it in time, the update is
    given up.
    """
    ledger = federation.ledger
    return tuple(
        one
        for one in ledger.waiting(number)
        if _is_published(federation, number, one.member, one.update.cid, one.update.update_root)
        or ledger.demand_vector(number, one.member) is not None
    )


def with_posted_vectors(
    federation: Federation, number: int, accepted: Sequence[AcceptedUpdate]
) -> tuple[AcceptedUpdate, ...]:
    """The accepted updates of a round, with the vectors that were posted on chain in the store: the CID of such an
    update is that of what its member posted, where it signed another."""
    return tuple(_with_posted(federation, number, one) if one.direct else one for one in accepted)


def _with_posted(federation: Federation, number: int, update: AcceptedUpdate) -> AcceptedUpdate:
    if _is_published(federation, number, update.member, update.cid, update.update_root):
        return update
    posted = federation.ledger.posted_vector(number, update.member)
    if posted is None:
        return update
    return replace(update, cid=Cid.parse(federation.store.put(posted)).binary)


def _is_published(federation: Federation, number: int, member: str, cid: bytes, root: bytes) -> bool:
    """Whether the store has the vector that was signed; the CID may be of anything."""
    ledger = federation.ledger
    elements = ledger.rules().elements
    try:
        vector = int32_from_bytes(federation.store.get(cid), elements)
    except (StoreError, EncodingError):
        return False
    place = UpdateContext(ledger.chain_id, ledger.address, number, member, elements)
    return update_tree(vector, place).root == root
