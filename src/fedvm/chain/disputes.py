"""The Disputes contract of a federation, typed: proofs, questions for data in phases, and their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.types import TxParams

from fedvm.chain.artifacts import DISPUTES
from fedvm.chain.call import read
from fedvm.chain.court import Court, Fraud, FraudProved
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.events import EventReader, Place, RawEvent
from fedvm.chain.sender import Receipt, Sender


@dataclass(frozen=True)
class DataDemanded:
    """A question for the preimages of ``levels`` levels, from ``hash`` down. ``due``: Unix seconds."""

    round: int
    hash: bytes
    challenger: str
    attempt: int
    levels: int
    due: int
    at: Place


@dataclass(frozen=True)
class DataAnswered:
    """A question was answered; the preimages came in `DataGiven` before."""

    round: int
    hash: bytes
    attempt: int
    levels: int
    at: Place


@dataclass(frozen=True)
class DataGiven:
    """A preimage that was asked for."""

    round: int
    preimage: bytes
    at: Place


@dataclass(frozen=True)
class ShareClaimed:
    """A challenger took its share of a lost bond, in wei."""

    round: int
    challenger: str
    attempt: int
    amount: int
    at: Place


@dataclass(frozen=True)
class Question:
    """What a challenger wants to know: the preimages of ``levels`` levels of a tree, from the hash ``wanted`` down.

    trail: preimages from a stated root down to the one that holds the hash, none for a root.
    """

    wanted: bytes
    trail: tuple[bytes, ...]
    levels: int


@dataclass(frozen=True)
class Answer:
    """The answer to a question, breadth first."""

    hash: bytes
    levels: int
    preimages: tuple[bytes, ...]

    def as_tuple(self) -> tuple[bytes, int, list[bytes]]:
        """The contract's ``Answer``."""
        return self.hash, self.levels, list(self.preimages)


DisputeEvent = FraudProved | DataDemanded | DataAnswered | DataGiven | ShareClaimed
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (FraudProved, DataDemanded, DataAnswered, DataGiven, ShareClaimed)
}


class DisputesContract(Court):
    """The contract that judges disputes about one federation's proposals.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, name: str = DISPUTES, sender: Sender | None = None) -> None:
        super().__init__(w3, name, address, sender=sender)
        self._events = EventReader(w3, self.contract, self.sender.network)

    def demand(self, account: LocalAccount, number: int, question: Question) -> Receipt:
        """Ask for data. Twice the present price is sent, since others may make it dearer meanwhile; what is too much is
        owed to the account. Where that was not enough it is asked again, as long as the account has the money.
        """
        arguments = (list(question.trail), question.wanted, question.levels)
        return self._ask(account, "demand", number, question.levels, *arguments)

    def demand_price(self, number: int, levels: int) -> int:
        """Wei that a question for so many levels costs in the present block."""
        return int(read(self.contract, "demandPrice", number, levels))

    def answer_many(
        self, account: LocalAccount, number: int, batches: Sequence[Sequence[Answer]]
    ) -> list[Receipt]:
        """Answer questions (anyone), each batch in one transaction; all are sent before the first is waited for."""
        transactions: list[TxParams] = []
        for batch in batches:
            answers = [one.as_tuple() for one in batch]
            data = self.contract.encode_abi("answerMany", args=[number, answers])
            transactions.append({"to": self.contract.address, "data": data})
        return self.sender.send_all(account, transactions, action=f"{self.name}.answerMany")

    def reject_unanswered(self, account: LocalAccount, number: int, wanted: bytes, levels: int) -> Receipt:
        """Bring the proposal down for a question whose answer is overdue (anyone)."""
        return self._send(account, "rejectUnanswered", number, wanted, levels)

    def reclaim(
        self, account: LocalAccount, number: int, attempt: int, wanted: bytes, levels: int
    ) -> Receipt:
        """Pay a question about a proposal that fell back to who asked it (anyone)."""
        return self._send(account, "reclaim", number, attempt, wanted, levels)

    def claim_share(self, account: LocalAccount, number: int, attempt: int) -> int:
        """Take what the account has of the bond of a proposal that fell: its share as a challenger, and the reward if
        it brought it down; returns wei, which the federation owes it now."""
        receipt = self._send(account, "claimShare", number, attempt)
        events = self._events.decode(receipt.raw["logs"])
        return sum(int(event.args["amount"]) for event in events if event.name == ShareClaimed.__name__)

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

    def _ask(
        self, account: LocalAccount, function: str, number: int, levels: int, *arguments: Any
    ) -> Receipt:
        while True:
            price = self.demand_price(number, levels)
            try:
                return self._send(account, function, number, *arguments, value=2 * price)
            except TransactionFailed as failed:
                if not failed.reason.startswith("WrongFee("):
                    raise


def _typed(event: RawEvent) -> DisputeEvent:
    fields = dict(event.args)
    if "fraud" in fields:
        fields["fraud"] = Fraud(fields["fraud"])
    typed: DisputeEvent = _KINDS[event.name](**fields, at=event.at)
    return typed
