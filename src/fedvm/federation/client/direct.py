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
from fedvm.chain.rule_book import keys_in_round
from fedvm.chain.sender import Receipt
from fedvm.federation.commitment import SignedUpdate
from fedvm.federation.errors import SettingsError
from fedvm.protocol import Domain, to_bytes
from fedvm.protocol.consent import DirectConsent
from fedvm.store import Store

_POLL_SECONDS: Final = 15


def submit_directly(
    contract: FederationContract,
    account: LocalAccount,
    store: Store,
    signed: SignedUpdate,
    *,
    consent: bytes = b"",
) -> Receipt:
    """Publish a signed update in the store and submit it to its round, for a member that the coordinator ignores.

    ``account`` pays for the transaction. Unless it is the member's, or the key that signs for it in the round, it
    needs the consent of one of them (`consent_of`). The coordinator can demand the vector on chain:
    :meth:`DirectSubmissionsContract.post` answers, which the member must do in time or lose the stake asked for.

    Raises TransactionFailed: the consent is missing, members have no stake here, the round is not open, or the rules
    refuse the update.
    """
    store.put(to_bytes(signed.vector))
    return DirectSubmissionsContract.of(contract).submit(account, signed.update.round, signed, consent)


def consent_of(
    contract: FederationContract, account: LocalAccount, signed: SignedUpdate, key: LocalAccount | None
) -> bytes:
    """What `submit_directly` needs beside the account that pays: the signature of `key` that this update may be
    submitted in its member's name; b"" where the account is the member's or its key's, which needs none.

    Nothing else that a client signs is such a consent, so nobody can put the member's stake at risk with an update
    that was sent to the coordinator. Raises SettingsError if the key does not sign for the member in the round, or
    there is none where one is needed.
    """
    speaker, member = account if key is None else key, signed.member
    if not may_post(contract, speaker, signed):
        appointed = keys_in_round(contract, signed.update.round)(member)
        raise SettingsError(
            f"{speaker.address} does not sign for {member} in round {signed.update.round}, and nobody submits an "
            "update in a member's name without its consent: name the key that signed the update, that of "
            f"{appointed or member}"
        )
    if speaker is account:
        return b""
    domain = Domain(contract.w3.eth.chain_id, contract.address)
    return DirectConsent.to(signed.update, member).sign(domain, bytes(speaker.key))


def may_post(contract: FederationContract, account: LocalAccount, signed: SignedUpdate) -> bool:
    """Whether an account is that of the update's member, or of the key that signs for it in the round."""
    who = str(account.address)
    return who == signed.member or who == keys_in_round(contract, signed.update.round)(signed.member)


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

    If the coordinator demands the vector, it is posted. account: the member's, or its key's. demanded: for another
    account, which cannot post; called once instead of posting, with the Unix second at which the vector is due.
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
            direct.post(account, number, signed.member, to_bytes(signed.vector))
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
