"""The Epochs contract of a sealed federation, typed: who enrols, how groups are drawn, who is ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import EPOCHS, contract_at
from fedvm.chain.beacon import draws_by_drand, shown_header
from fedvm.chain.call import read
from fedvm.chain.epoch_types import (
    EPOCH_EVENTS,
    EpochEvent,
    EpochHistory,
    EpochStanding,
    SignedEnrolment,
    epoch_event,
)
from fedvm.chain.events import EventReader
from fedvm.chain.federation import FederationContract
from fedvm.chain.headers import block_header
from fedvm.chain.prepared import PreparedCall
from fedvm.chain.sender import Receipt, Sender
from fedvm.protocol import Domain
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.roster import Enrolment, roster_range
from fedvm.protocol.sealed.rules import SealedRules

ENROLMENTS_A_MESSAGE: Final = 100
"""Some 10 million gas, and 42 KiB of calldata: both fit into one message on every network."""
DRAWN_AFTER: Final = 2
"""Blocks from the one in which enrolment was closed to the one by whose beacon groups are drawn."""


class EpochsContract:
    """The contract that keeps the epochs of one sealed federation.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.w3 = w3
        self.contract: Contract = contract_at(w3, EPOCHS, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    @classmethod
    def of(cls, federation: FederationContract) -> EpochsContract:
        """The contract of a sealed federation."""
        return cls(federation.w3, federation.direct_submissions(), sender=federation.sender)

    # Transactions

    def open_epoch(self, account: LocalAccount) -> Receipt:
        """Let enrolment begin for the next epoch, when the one before is over (coordinator, between rounds)."""
        return self._send(account, "openEpoch")

    def enrol(
        self, account: LocalAccount, number: int, enrolments: Sequence[SignedEnrolment]
    ) -> list[Receipt]:
        """Bring signed enrolments (anyone), in as few messages as hold them. Those that the rules refuse come back as
        `EnrolmentRefused`; who is enrolled already is passed over."""
        tuples = [one.as_tuple() for one in enrolments]
        starts = range(0, len(tuples), ENROLMENTS_A_MESSAGE)
        batches = (tuples[at : at + ENROLMENTS_A_MESSAGE] for at in starts)
        return [self._send(account, "enrol", number, batch) for batch in batches]

    def close_enrolment(self, account: LocalAccount, number: int) -> Receipt:
        """Close enrolment after its time (anyone). With fewer than ``min_roster`` members the epoch fails."""
        return self._send(account, "closeEnrolment", number)

    def draw(self, account: LocalAccount, number: int) -> Receipt:
        """Draw the groups (anyone), from the third block after the closing one on. When the chain no longer knows that
        block's hash the epoch fails. Raises NetworkError where the chain has no beacon."""
        return self.draw_call(number).send(account)

    def draw_call(self, number: int) -> PreparedCall:
        """The transaction of :meth:`draw`."""
        block = self.standing().closed_in + DRAWN_AFTER
        has_come = self.w3.eth.block_number >= block
        header = shown_header(self.contract, block) if has_come else b""
        return self.prepared("draw", number, header)

    def prepared(self, function: str, *arguments: Any) -> PreparedCall:
        """A call of the contract that anybody may send, to be priced first or sent by a wallet."""
        return PreparedCall(self.sender, self.contract, f"{EPOCHS}.{function}", arguments)

    def state_ready(self, account: LocalAccount, number: int, ready: bytes) -> Receipt:
        """State whose key files are there and well-formed (coordinator, once, between rounds).

        ready: bitmap of places.
        """
        return self._send(account, "stateReady", number, ready)

    def add_ready(
        self, account: LocalAccount, number: int, ready: bytes, draw: Draw, member: str, cid: bytes
    ) -> Receipt:
        """Set a member's own bit, which the coordinator left out (the member, or the key that signs for it).

        ready: the bitmap that stands; cid: binary, of the member's key file. Where others add themselves in the same
        block it fails with ``OtherBitmap``: read the bitmap again, and send it again.
        """
        return self._send(account, "addReady", number, ready, roster_proof(draw, member).as_tuple(), cid)

    def fail_epoch(self, account: LocalAccount, number: int) -> Receipt:
        """End an epoch in which nobody stated in time who is ready (anyone)."""
        return self._send(account, "failEpoch", number)

    # State

    def standing(self) -> EpochStanding:
        """The latest epoch; its number is 0 before the first."""
        return EpochStanding.of(read(self.contract, "epoch"))

    def epoch_root(self) -> bytes:
        """What masked updates state of the latest epoch, 32 bytes; it stands when nobody can add itself any more."""
        root: bytes = read(self.contract, "epochRoot")
        return root

    def sealed_rules(self) -> SealedRules:
        """How rounds are sealed, which never changes."""
        return self._sealed_rules

    @cached_property
    def _sealed_rules(self) -> SealedRules:
        return SealedRules(*read(self.contract, "sealedRules"))

    def sealed_hash(self) -> bytes:
        """Their hash, 32 bytes, which members sign."""
        digest: bytes = read(self.contract, "sealedHash")
        return digest

    def answer_seconds(self) -> int:
        """Seconds in which members can set their own bit."""
        return int(read(self.contract, "answerSeconds"))

    def enrolled_in(self, member: str) -> int:
        """The latest epoch that a member (hex address) enrolled in; 0 if none."""
        return int(read(self.contract, "enrolledIn", Web3.to_checksum_address(member)))

    def federation(self) -> Address:
        """Address of the federation whose epochs these are."""
        return self._federation

    @cached_property
    def _federation(self) -> Address:
        return to_address(str(read(self.contract, "federation")))

    def domain(self) -> Domain:
        """What statements of this federation's members are signed for."""
        return Domain(int(self.w3.eth.chain_id), self.federation())

    # Events

    def events(
        self, number: int | None = None, first: int = 0, last: int | None = None
    ) -> Iterator[EpochEvent]:
        """Events in order, of one epoch or of all, from block ``first`` to ``last`` (None: the head)."""
        indexed = () if number is None else (number.to_bytes(32),)
        for event in self._events.fetch(list(EPOCH_EVENTS), first, last, indexed=indexed):
            yield epoch_event(event)

    def events_of(self, receipt: Receipt) -> list[EpochEvent]:
        """This contract's events in one transaction."""
        decoded = self._events.decode(receipt.raw["logs"])
        return [epoch_event(event) for event in decoded if event.name in EPOCH_EVENTS]

    def history(self, number: int, first: int = 0, last: int | None = None) -> EpochHistory:
        """What happened in an epoch up to block ``last``. first: a block at or before its opening."""
        return EpochHistory.of(number, self.events(number, first, last))

    def drawn(self, number: int, first: int = 0, last: int | None = None) -> Draw:
        """The roster and groups of an epoch; arguments and errors as of :meth:`history` and `EpochHistory.draw`."""
        return self.history(number, first, last).draw(self.domain(), self.sealed_rules().group_size)

    def agreed(self, number: int, first: int = 0, last: int | None = None) -> Epoch:
        """Roster, groups and ready members of an epoch; as :meth:`drawn`."""
        return self.history(number, first, last).epoch(self.domain(), self.sealed_rules().group_size)

    def beacon(self, block: int) -> bytes:
        """The beacon's value for a past block, 32 bytes: draws groups. Raises NetworkError if there is none."""
        if draws_by_drand(self.contract):
            return bytes(read(self.contract, "beacon", block, b"")[1])
        return block_header(self.w3, block)[1]

    def _send(self, account: LocalAccount, function: str, *arguments: Any) -> Receipt:
        return self.sender.transact(account, self.contract, f"{EPOCHS}.{function}", *arguments)


@dataclass(frozen=True)
class RosterProof:
    """An enrolment in the roster, at an index, with the siblings of its path, 32 bytes each."""

    index: int
    enrolment: Enrolment
    siblings: tuple[bytes, ...]

    def as_tuple(self) -> tuple[int, tuple[str, bytes, bytes], list[bytes]]:
        """The contract's ``RosterProof``."""
        one = self.enrolment
        return self.index, (one.member, one.x25519, one.mlkem), list(self.siblings)


def roster_proof(draw: Draw, member: str) -> RosterProof:
    """That a member (hex address) is enrolled. Raises EncodingError if it is not in the roster."""
    enrolment = draw.seats[draw.place_of(member)]
    index = draw.roster.index(enrolment)
    return RosterProof(index, enrolment, roster_range(draw.roster).siblings(index))
