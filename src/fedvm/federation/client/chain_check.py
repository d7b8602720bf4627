"""What a client that has an RPC looks up on the chain before it signs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from web3 import Web3

from fedvm.chain.errors import ChainError
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.chain.genuine import is_sealed, require_genuine
from fedvm.chain.networks import connect, network_of
from fedvm.federation.errors import TermsError
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain

Found = dict[str, tuple[object, object]]
"""By name what the chain says, and what the server says."""
LOOKS = 5
"""How often a client looks at the chain before it holds what the server says for wrong."""


def check_on_chain(rpc: str, terms: RoundTerms, *, sealed: bool) -> None:
    """Raise TermsError unless the terms are those of a round that is open on the chain, in a genuine federation.

    rpc: the client's own address of the chain's JSON-RPC, not the server's. sealed: whether the update is to be masked;
    a sealed federation takes no other, and whoever asks for another there wants to see it.
    """
    try:
        contract = genuine_federation(rpc, terms.domain, sealed=sealed)

        def look() -> Found:
            standing = contract.round(terms.round)
            return {
                "rules": (contract.rules_hash(), terms.rules.digest()),
                "base": (contract.model_root(), terms.base_root),
                "deadline": (standing.deadline, terms.deadline),
                "state": (standing.state, RoundState.OPEN),
            }

        wrong = differing(contract.w3, look)
    except ChainError as error:
        raise TermsError(f"this client does not sign, for what the chain says: {error}") from error
    if wrong:
        raise TermsError(
            f"round {terms.round} of {terms.domain.federation} is not on the chain as the server names it: its "
            f"{', '.join(wrong)} differ"
        )


def unequal(found: Found) -> list[str]:
    """Names of what the server says otherwise than the chain."""
    return [name for name, (on_chain, named) in found.items() if on_chain != named]


def differing(w3: Web3, look: Callable[[], Found]) -> list[str]:
    """As `unequal`, for good: a client's RPC may be some blocks behind the server's, so it looks again for some polls
    of the chain."""
    for polls in range(LOOKS):
        wrong = unequal(look())
        if not wrong:
            break
        if polls + 1 < LOOKS:
            time.sleep(network_of(w3).poll_seconds)
    return wrong


@lru_cache(maxsize=8)
def genuine_federation(rpc: str, domain: Domain, *, sealed: bool) -> FederationContract:
    """The federation, by a client's RPC.

    Raises:
        ChainError: there is none there that this package's contracts make.
        TermsError: its rounds are open where sealed ones are meant, or the other way round.
    """
    # Code and sidecars never change, so one look is enough for a process.
    w3 = connect(rpc, chain_id=domain.chain_id)
    require_genuine(w3, domain.federation)
    if is_sealed(w3, domain.federation) != sealed:
        kinds = ("a masked", "open") if sealed else ("an open", "sealed")
        raise TermsError(
            f"the server asks for {kinds[0]} update, and the rounds of {domain.federation} are {kinds[1]} on the chain"
        )
    return FederationContract(w3, domain.federation)
