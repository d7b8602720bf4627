"""The Disputes contract of a federation, typed: proofs, demands for data, and what came of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import DISPUTES, contract_at
from fedvm.chain.call import read
from fedvm.chain.events import EventReader, Place, RawEvent
from fedvm.chain.sender import Receipt, Sender


class Fraud(IntEnum):
    """What was found wrong; the contract's enum."""

    WRONG_MEAN = 0
    WRONG_SUM = 1
    WRONG_PRODUCT = 2
    WRONG_NODE = 3
    WRONG_LEAF = 4
    MALFORMED_VECTOR = 5
    BAD_UPDATE = 6
    MISSING_DATA = 7
    WRONG_RECORD = 8
    WRONG_SEQUENCE = 9
    WRONG_COMMITMENT = 10
    MALFORMED_ROLLUP = 11


@dataclass(frozen=True)
class Evidence:
    """A proof: the contract's function and its arguments between the round and the salt."""

    fraud: Fraud
    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class FraudProved:
    round: int
    challenger: str
    fraud: Fraud
    attempt: int
    at: Place


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


class DisputesContract:
    """The contract that hears disputes about one federation's proposals.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.contract: Contract = contract_at(w3, DISPUTES, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    def prove(self, account: LocalAccount, round_id: int, evidence: Evidence) -> Receipt:
        """Commit to a proof, then show it in a later block; returns the receipt of the proof.

        Raises TransactionFailed if the contract does not accept it: ``NoFraud()`` when all it opens follows.
        """
        salt = secrets.token_bytes(32)
        arguments = [round_id, *evidence.arguments, salt]
        data = self.contract.encode_abi(evidence.function, args=arguments)
        types = ["address", "bytes32"]
        digest = keccak(encode(types, [account.address, keccak(bytes.fromhex(data.removeprefix("0x")))]))
        self._send(account, "commit", digest)
        return self._send(account, evidence.function, *arguments)

    def demand(self, account: LocalAccount, round_id: int, wanted: bytes, parent: bytes) -> Receipt:
        """Demand the preimage of a hash within ``parent``, which was answered before; b"" for a root."""
        fee = int(read(self.contract, "demandFee"))
        return self._send(account, "demand", round_id, wanted, parent, value=fee)

    def answer(self, account: LocalAccount, round_id: int, preimage: bytes) -> Receipt:
        """Answer a demand (anyone)."""
        return self._send(account, "answer", round_id, preimage)

    def reject_unanswered(self, account: LocalAccount, round_id: int, wanted: bytes) -> Receipt:
        """Reject the proposal for a demand whose answer is overdue (anyone)."""
        return self._send(account, "rejectUnanswered", round_id, wanted)

    def reclaim(self, account: LocalAccount, round_id: int, attempt: int, wanted: bytes) -> Receipt:
        """Let the fee of a demand about a proposal that is gone be owed to its demander (anyone)."""
        return self._send(account, "reclaim", round_id, attempt, wanted)

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

    def _send(self, account: LocalAccount, function: str, *arguments: Any, value: int = 0) -> Receipt:
        return self.sender.transact(account, self.contract, f"Disputes.{function}", *arguments, value=value)


def _typed(event: RawEvent) -> DisputeEvent:
    fields = dict(event.args)
    if "fraud" in fields:
        fields["fraud"] = Fraud(fields["fraud"])
    typed: DisputeEvent = _KINDS[event.name](**fields, at=event.at)
    return typed
