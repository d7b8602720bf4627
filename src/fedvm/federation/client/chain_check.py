"""What a client that has an RPC looks up on the chain before it signs."""

from __future__ import annotations

from functools import lru_cache

from fedvm.chain.errors import ChainError
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.chain.genuine import require_genuine
from fedvm.chain.networks import connect
from fedvm.federation.errors import TermsError
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain


def check_on_chain(rpc: str, terms: RoundTerms) -> None:
    """Raise TermsError unless the terms are those of a round that is open on the chain, in a genuine federation.

    rpc: the client's own address of the chain's JSON-RPC, not the server's.
    """
    try:
        contract = _federation(rpc, terms.domain)
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
def _federation(rpc: str, domain: Domain) -> FederationContract:
    # Code and sidecars never change, so one look is enough for a process.
    w3 = connect(rpc, chain_id=domain.chain_id)
    require_genuine(w3, domain.federation)
    return FederationContract(w3, domain.federation)
