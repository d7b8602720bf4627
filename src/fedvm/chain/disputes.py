"""The Disputes contract of a federation, typed: proofs, demands for data, and their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.artifacts import DISPUTES
from fedvm.chain.call import read
from fedvm.chain.court import Court, Fraud, FraudProved
from fedvm.chain.events import EventReader, Place, RawEvent
from fedvm.chain.sender import Receipt, Sender


@dataclass(frozen=True)
class DataDemanded:
    """``due``: Unix seconds."""

    round: int
    hash: bytes
    challenger: str
    attempt: int
    due: int
    at: Place


@dataclass(frozen=True)
class DataAnswered:
    round: int
    hash: bytes
    attempt: int
    preimage: bytes
    at: Place


DisputeEvent = FraudProved | DataDemanded | DataAnswered
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (FraudProved, DataDemanded, DataAnswered)}


class DisputesContract(Court):
    """The contract that judges disputes about one federation's proposals.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        super().__init__(w3, DISPUTES, address, sender=sender)
        self._events = EventReader(w3, self.contract, self.sender.network)

    def demand(self, account: LocalAccount, number: int, wanted: bytes, parent: bytes) -> Receipt:
        """Demand the preimage of a hash. ``parent``: an earlier answer that contains the hash, b"" if the hash is a
        root."""
        fee = int(read(self.contract, "demandFee"))
        return self._send(account, "demand", number, wanted, parent, value=fee)

    def answer(self, account: LocalAccount, number: int, preimage: bytes) -> Receipt:
        """Answer a demand (anyone)."""
        return self._send(account, "answer", number, preimage)

    def reject_unanswered(self, account: LocalAccount, number: int, wanted: bytes) -> Receipt:
        """Reject the proposal for a demand whose answer is overdue (anyone)."""
        return self._send(account, "rejectUnanswered", number, wanted)

    def withdraw(self, account: LocalAccount) -> Receipt:
        """Send the account all it is owed."""
        return self._send(account, "withdraw")

    def owed(self, address: str) -> int:
        """Wei that an account may withdraw."""
        return int(read(self.contract, "owed", address))

    def events(
        self, kinds: Sequence[type[Any]] = (), first: int = 0, last: int | None = None
    ) -> Iterator[DisputeEvent]:
        """Events in order, of the given dataclasses or all, from block ``first`` to ``last`` (None: the
        head)."""
        names = [kind.__name__ for kind in kinds] or list(_KINDS)
        for event in self._events.fetch(names, first, last):
            yield _typed(event)


def _typed(event: RawEvent) -> DisputeEvent:
    fields = dict(event.args)
    if "fraud" in fields:
        fields["fraud"] = Fraud(fields["fraud"])
    typed: DisputeEvent = _KINDS[event.name](**fields, at=event.at)
    return typed
