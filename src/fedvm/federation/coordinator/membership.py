"""What a strategy needs to know of a federation: its ledger, its store, and, if known, which node is which member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.errors import LedgerMismatch, SettingsError
from fedvm.protocol import model_root, to_bytes
from fedvm.protocol.address import to_address
from fedvm.protocol.vector import IntVector
from fedvm.store import Store
from fedvm.store.vectors import UpdateVectors, WrongVector, stored_vector

Submission = Literal["auto", "commitments", "rollup"]


@dataclass(frozen=True)
class Federation:
    """A federation as its coordinator sees it.

    nodes: Flower node id → the member's address (hex), if the coordinator made the nodes itself; otherwise the strategy
    asks every node who it is (`fedvm.federation.coordinator.roster`).

    submission: whether a round's updates are relayed one by one ("commitments") or stated at once ("rollup");
    "auto" rolls up above 64.

    Raises:
        SettingsError: two nodes share an address, or a node's address is no member of the contract.
    """

    ledger: ChainLedger
    store: Store
    nodes: Mapping[int, str] | None = None
    submission: Submission = "auto"

    def __post_init__(self) -> None:
        if self.submission == "rollup" and self.ledger.rules().make_rest:
            raise SettingsError('rules with rest_rounds allow no roll-ups; use submission = "commitments"')
        if self.nodes is None:
            return
        members = frozenset(self.ledger.members())
        addresses = [to_address(address, "a node's member") for address in self.nodes.values()]
        if len(set(addresses)) != len(addresses):
            raise SettingsError("two nodes have the same member address; each client needs its own key")
        if strangers := [address for address in addresses if address not in members]:
            raise SettingsError(
                f"{strangers[0]} is no member of the federation {self.ledger.address}; the owner must add it"
            )

    @cached_property
    def vectors(self) -> UpdateVectors:
        """Finds the vectors of updates, in the store or on chain."""
        return self.ledger.vectors_in(self.store)

    def load_model(self) -> IntVector:
        """The latest model, int32 (elements,), from the store. Raises as `model_of`."""
        return self.model_of(self.ledger.model_cid(), self.ledger.model_root())

    def model_of(self, cid: str | bytes, root: bytes) -> IntVector:
        """The model of a round, int32 (elements,), by its CID and its root on chain (32 bytes).

        Raises LedgerMismatch if the store's bytes are not the model whose root the chain has.
        """
        try:
            return stored_vector(self.store, cid, self.ledger.rules().elements, root)
        except WrongVector as error:
            raise LedgerMismatch(
                f"{error}, the federation's on chain; this store belongs to another run"
            ) from error


def publish_model(store: Store, vector: IntVector) -> tuple[bytes, str]:
    """Store a model and return (its root, 32 bytes; its CID), which the contract is created with."""
    return model_root(vector), store.put(to_bytes(vector))
