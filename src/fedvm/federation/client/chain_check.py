"""What a client that has an RPC looks up on the chain before it signs."""

from __future__ import annotations

from functools import lru_cache

from fedvm.chain.errors import ChainError
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.chain.genuine import is_sealed, require_genuine
from fedvm.chain.networks import connect
from fedvm.federation.errors import TermsError
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain


def check_on_chain(rpc: str, terms: RoundTerms, *, sealed: bool) -> None:
    """Raise TermsError unless the terms are those of a round that is open on the chain, in a genuine federation.

    rpc: the client's own address of the chain's JSON-RPC, not the server's. sealed: whether the update is to be masked;
    a sealed federation takes no other, and whoever asks for another there wants to see it.
    """
    try:
        contract = genuine_federation(rpc, terms.domain, sealed=sealed)
        standing = contract.round(terms.round)
        found = {
            "rules": (contract.rules_hash(), terms.rules.digest()),
            "base": (contract.model_root(), terms.base_root),
            "deadline": (standing.deadline, terms.deadline),
            "state": (standing.state, RoundState.OPEN),
        }
    except ChainError as error:
        raise TermsError(f"this client does not sign, for what the chain says: {error}") from error
    if wrong := [name for name, (on_chain, named) in found.items() if on_chain != named]:
        raise TermsError(
            f"round {terms.round} of {terms.domain.federation} is not on the chain as the server names it: its "
            f"{', '.join(wrong)} differ"
        )


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
