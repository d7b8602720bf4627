"""What a federation asks of the storage of its evidence, typed: the part of its RuleBook that reads a PDP verifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.constants import ADDRESS_ZERO
from web3.types import BlockIdentifier

from fedvm.chain.artifacts import RULE_BOOK, contract_at
from fedvm.chain.call import read
from fedvm.chain.errors import CallFailed
from fedvm.chain.events import EventReader, Place, RawEvent
from fedvm.chain.federation import FederationContract
from fedvm.chain.prepared import PreparedCall
from fedvm.chain.sender import Receipt, Sender
from fedvm.protocol.address import Address

MAX_DATA_SETS = 16
"""That a rule lists."""


@dataclass(frozen=True)
class EvidenceRule:
    """Evidence must lie in one of these data sets (ascending) of a PDP verifier (checksummed address), which was last
    proved at most ``max_age`` epochs before a proposal. challenged: whether proofs must be asked of the pieces
    already."""

    verifier: str
    max_age: int
    challenged: bool
    data_sets: tuple[int, ...]

    def as_tuple(self) -> tuple[str, int, bool, list[int]]:
        """As the contract takes it."""
        return (Web3.to_checksum_address(self.verifier), self.max_age, self.challenged, list(self.data_sets))


@dataclass(frozen=True)
class EvidenceRequired:
    """From here on this rule holds; None: no evidence need be stored."""

    rule: EvidenceRule | None
    at: Place


@dataclass(frozen=True)
class EvidenceNamed:
    """The evidence of a round lies in these pieces, as this account says of the proposal after ``attempt`` others, if
    that will be its own. cids: of the pieces, binary."""

    round: int
    attempt: int
    data_set: int
    proposer: Address
    piece_ids: tuple[int, ...]
    cids: tuple[bytes, ...]
    at: Place


EvidenceEvent = EvidenceRequired | EvidenceNamed


class StoredEvidenceContract:
    """What a federation's RuleBook (`FederationContract.rule_book`) says and takes of stored evidence.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.contract = contract_at(w3, RULE_BOOK, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    @classmethod
    def of(cls, federation: FederationContract) -> StoredEvidenceContract:
        """The contract of a federation."""
        return cls(federation.w3, federation.rule_book(), sender=federation.sender)

    def rule(self, block: BlockIdentifier = "latest") -> EvidenceRule | None:
        """The rule in force as of a block; None if nothing is asked for."""
        return _rule(*read(self.contract, "evidenceRule", block=block))

    def named(self, proposer: str) -> tuple[int, int, int, tuple[int, ...]]:
        """What an account (hex address) named last: the round's number, how many proposals it had, data set and
        pieces."""
        number, attempt, data_set, pieces, _ = read(self.contract, "namedEvidence", proposer)
        return int(number), int(attempt), int(data_set), tuple(int(one) for one in pieces)

    def require(self, rule: EvidenceRule | None) -> PreparedCall:
        """Have a rule hold from the next round on; None: none (owner, between rounds)."""
        stated = (ADDRESS_ZERO, 0, False, []) if rule is None else rule.as_tuple()
        return PreparedCall(self.sender, self.contract, "RuleBook.requireEvidence", (stated,))

    def name(
        self, account: LocalAccount, number: int, data_set: int, pieces: Sequence[tuple[int, bytes]]
    ) -> Receipt:
        """Say where the evidence for the next proposal of a round lies, if that is the account's. pieces: number and
        binary CID, ascending."""
        arguments = (number, data_set, [one for one, _ in pieces], [cid for _, cid in pieces])
        return PreparedCall(self.sender, self.contract, "RuleBook.nameEvidence", arguments).send(account)

    def lacking(self, number: int, proposer: str) -> str:
        """Why no proposal of an account (hex address) would be taken now for what the storage of its evidence is; "" if
        one would."""
        try:
            read(self.contract, "checkEvidence", number, proposer)
        except CallFailed as failed:
            return failed.reason
        return ""

    def events(self, first: int = 0, last: int | None = None) -> Iterator[EvidenceEvent]:
        """Events in order, from block ``first`` to ``last`` (None: the head)."""
        for event in self._events.fetch(("EvidenceRequired", "EvidenceNamed"), first, last):
            yield _typed(event)


def _rule(verifier: Any, max_age: Any, challenged: Any, data_sets: Any) -> EvidenceRule | None:
    if verifier == ADDRESS_ZERO:
        return None
    return EvidenceRule(str(verifier), int(max_age), bool(challenged), tuple(int(one) for one in data_sets))


def _typed(event: RawEvent) -> EvidenceEvent:
    args = event.args
    if event.name == "EvidenceRequired":
        rule = _rule(args["verifier"], args["maxAge"], args["challenged"], args["dataSets"])
        return EvidenceRequired(rule, event.at)
    return EvidenceNamed(
        int(args["roundId"]),
        int(args["attempt"]),
        int(args["dataSet"]),
        Address(args["proposer"]),
        tuple(int(one) for one in args["pieceIds"]),
        tuple(bytes(one) for one in args["cids"]),
        event.at,
    )
