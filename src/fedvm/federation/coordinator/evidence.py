"""How a coordinator has a round's evidence stored before it proposes, where the federation asks for that.

The artefacts that the chain names for the round are packed into CARs (`fedvm.store.bundle`), a provider on Filecoin
Onchain Cloud holds these in its data set, and the contract is told which pieces they are. Then the coordinator waits
until the contract would take a proposal, or the round runs out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from eth_account.signers.local import LocalAccount

from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Round
from fedvm.chain.stored_evidence import EvidenceRule, StoredEvidenceContract
from fedvm.federation.errors import SettingsError
from fedvm.protocol.aggregators import is_over_bytes
from fedvm.store import Store
from fedvm.store.backends import proving_store
from fedvm.store.bundle import Bundles
from fedvm.store.interface import HeldPieces, ProvingStore
from fedvm.store.warm_storage import cid_bytes

_PAUSE = 60
"""Seconds between two looks at what the verifier says."""


@dataclass(frozen=True)
class EvidenceKeeper:
    """Has the evidence of one federation's rounds stored and named.

    sender: a context with the coordinator's account. wait: passes so many seconds of chain time, for what it is told.
    now: Unix seconds of the latest block. tell: takes a sentence for whoever runs the coordinator.
    """

    contract: FederationContract
    sender: Callable[[], AbstractContextManager[LocalAccount]]
    wait: Callable[[int, str], None]
    now: Callable[[], int]
    tell: Callable[[str], None]

    def require_store(self, store: Store | None) -> None:
        """Raise SettingsError if evidence must be stored and no location of the store proves what it holds."""
        if self._book.rule() is not None:
            self._proving(store)

    def keep(
        self,
        number: int,
        stored: Callable[[], Round],
        store: Store | None,
        cids: Callable[[], Iterable[bytes]],
    ) -> bool:
        """Have the evidence for the next proposal of a round stored and named, as the federation asks; False if the
        contract would take no proposal before the round runs out. stored: the round as it is now. cids: of its
        artefacts, binary.

        Raises:
            SettingsError: no location of the store proves what it holds, or the rule does not list its data set.
            StoreError: the store lacks the artefacts, or the provider refuses them.
        """
        rule = self._book.rule()
        if rule is None:
            return True
        proving = self._proving(store)
        assert store is not None  # it has a location that proves
        over_bytes = is_over_bytes(self.contract.rules())
        held = proving.hold(Bundles(store, cids(), over_bytes=over_bytes))
        _require_listed(held, rule)
        numbers = tuple(one for one, _ in held.pieces)
        with self.sender() as account:
            own = account.address
        if self._book.named(own) != (number, stored().attempt, held.data_set, numbers):
            pieces = [(one, cid_bytes(piece)) for one, piece in held.pieces]
            with self.sender() as account:
                self._book.name(account, number, held.data_set, pieces)
        told = ""
        while lacking := self._book.lacking(number, own):
            # It can be put off meanwhile.
            left = self.contract.fails_after(stored()) + 1 - self.now()
            if left <= 0:
                self.tell(
                    f"Round {number} has no result: its evidence is not stored as the federation asks: {lacking}"
                )
                return False
            if lacking != told:
                self.tell(f"The contract takes no proposal for round {number} yet: {lacking}")
                told = lacking
            self.wait(min(left, _PAUSE), f"the storage of the evidence of round {number}")
        return True

    @cached_property
    def _book(self) -> StoredEvidenceContract:
        return StoredEvidenceContract.of(self.contract)

    def _proving(self, store: Store | None) -> ProvingStore:
        found = None if store is None else proving_store(store)
        if found is None:
            raise SettingsError(
                f"{self.contract.address} asks that the evidence of its rounds is stored with a provider that proves "
                "it: name one beside the other stores (foc://HOST in run.store), or have the owner take the rule back "
                "between rounds (fedvm rules evidence --none)"
            )
        return found


def _require_listed(held: HeldPieces, rule: EvidenceRule) -> None:
    if held.data_set not in rule.data_sets:
        raise SettingsError(
            f"the evidence lies in data set {held.data_set}, the federation asks for "
            f"{', '.join(map(str, rule.data_sets))}: have the owner list it between rounds (fedvm rules evidence), or "
            "store with the client whose data set is listed"
        )
