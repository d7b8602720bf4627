"""The state of a server optimiser (its momentum, for example), computed again from the chain and the store."""

from __future__ import annotations

from fedvm.chain.federation_types import RoundState
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.errors import LedgerMismatch
from fedvm.protocol import CountedUpdate, aggregate_root
from fedvm.protocol.aggregators import Aggregator, ServerState
from fedvm.protocol.mean import weighted_sums


def recall_memory(federation: Federation, rule: Aggregator) -> ServerState:
    """The state after the latest final round. Nothing is read for a rule without state (`Aggregator.is_stateful`).

    The state starts at zero where the rules last changed their aggregator.

    Raises LedgerMismatch if a round's updates do not add up to its aggregate, StoreError if one is missing.
    """
    state: ServerState = ()
    if not rule.is_stateful:
        return state
    ledger, vectors = federation.ledger, federation.vectors
    for number in range(ledger.aggregator_since(), ledger.current_round() + 1):
        round_ = ledger.round(number)
        if round_.status is not RoundState.FINAL:
            continue
        counted = [
            CountedUpdate(one.commitment, vectors.vector(number, one.member, one))
            for one in ledger.history(number).accepted
        ]
        sums = weighted_sums(counted, vectors.elements)
        if aggregate_root(sums.sums) != round_.aggregate_root:
            raise LedgerMismatch(
                f"the stored updates of round {number} do not add up to its aggregate on chain, from which "
                f"{rule.name} goes on; restore the store from a copy"
            )
        state = rule.remember(state, sums)
    return state
