"""A proposal's premises as the chain holds them; a coordinator states those it has computed from."""

from __future__ import annotations

from functools import partial

from fedvm.chain.call import read
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Premises
from fedvm.protocol.commitments import range_hash


def premises_of(contract: FederationContract) -> Premises:
    """What the contract holds of the latest round's updates."""
    latest = contract.round(contract.current_round())
    held = range_hash(latest.accepted, partial(read, contract.contract, "commitmentPeak"))
    return Premises(latest.accepted, latest.total_weight, held)
