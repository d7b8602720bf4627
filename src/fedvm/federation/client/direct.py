"""How a member submits its update without the coordinator, and waits until the update is dealt with."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from eth_account.signers.local import LocalAccount

from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.chain.patience import patiently
from fedvm.chain.sender import Receipt
from fedvm.federation.commitment import SignedUpdate
from fedvm.protocol import to_bytes
from fedvm.store import Store

_POLL_SECONDS: Final = 15


def submit_directly(
    contract: FederationContract, account: LocalAccount, store: Store, signed: SignedUpdate
) -> Receipt:
    """Publish a signed update in the store and submit it to its round, for a member that the coordinator ignores.

    ``account`` pays for the transaction and need not be the member's. The coordinator can demand the vector on
    chain: :meth:`DirectSubmissionsContract.post` answers, which the member must do in time or lose its stake.

    Raises TransactionFailed: members have no stake here, the round is not open, or the rules refuse the update.
    """
    store.put(to_bytes(signed.vector))
    return DirectSubmissionsContract.of(contract).submit(account, signed.update.round, signed)


def see_through(
    contract: FederationContract,
    account: LocalAccount,
    signed: SignedUpdate,
    *,
    demanded: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
    pass_time: Callable[[int], None] = time.sleep,
) -> DirectState:
    """Wait until a directly submitted update is dealt with, or its round is over; return its state then.

    If the coordinator demands the vector, it is posted. account: the member's. demanded: for an account that is not
    the member's and so cannot post; called once instead of posting, with the Unix second at which the vector is due.
    tell: called when the chain cannot be reached, which is then tried again; without it such an error is raised.
    pass_time: called with the seconds until the next look at the chain.
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
