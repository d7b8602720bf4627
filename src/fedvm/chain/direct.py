"""The DirectSubmissions contract of a federation, typed: how members submit updates without the coordinator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import DIRECT_SUBMISSIONS, contract_at
from fedvm.chain.call import read
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.events import EventReader
from fedvm.chain.federation import FederationContract
from fedvm.chain.sender import Receipt, Sender
from fedvm.chain.unsent import UnsentTransaction, unsent
from fedvm.protocol import Refusal, Submission

CHUNK_BYTES: Final = 256
"""A whole chunk of a vector: 64 int32."""
_CHUNKS_A_MESSAGE: Final = 240
"""60 KiB of values: what a Filecoin message holds, with room for the rest of the call."""


class DirectState(IntEnum):
    """The state of an update that its member submitted itself; the values are the contract's."""

    NONE = 0
    WAITING = 1
    INCLUDED = 2
    REFUSED = 3
    FORFEITED = 4


@dataclass(frozen=True)
class DirectUpdate:
    """An update that its member submitted itself; the contract's struct.

    settled: whether the fee of a demand has been paid, to the member or back. posted: number of chunks posted so far.
    due: Unix seconds until which the vector must be posted, 0 while nobody demanded it. submission: hash of what was
    submitted. cost: wei that posting has cost since it was begun last.
    """

    state: DirectState
    settled: bool
    posted: int
    due: int
    sum_squares: int
    update_root: bytes
    submission: bytes
    demander: str
    cost: int

    @property
    def is_demanded(self) -> bool:
        """Whether its member must post the vector now."""
        return self.state is DirectState.WAITING and self.due > 0 and not self.settled


class DirectSubmissionsContract:
    """The contract where members of one federation submit updates themselves (`FederationContract.direct_submissions`).

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.contract: Contract = contract_at(w3, DIRECT_SUBMISSIONS, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    @classmethod
    def of(cls, federation: FederationContract) -> DirectSubmissionsContract:
        """The contract of a federation."""
        return cls(federation.w3, federation.direct_submissions(), sender=federation.sender)

    def submit(
        self, account: LocalAccount, number: int, submission: Submission, consent: bytes = b""
    ) -> Receipt:
        """Submit a signed update to an open round: the member or the key that signs for it in the round may, and
        whoever has the consent of one of them (65 bytes, :class:`~fedvm.protocol.consent.DirectConsent`).

        Raises TransactionFailed: ``NoConsent``, or ``UpdateNotAccepted`` and the name of the reason if the rules refuse
        it.
        """
        try:
            return self._send(account, "submit", number, submission.as_tuple(), consent)
        except TransactionFailed as failed:
            if not (refused := re.fullmatch(r"UpdateNotAccepted\((\d+)\)", failed.reason)):
                raise
            reason = f"UpdateNotAccepted({Refusal(int(refused[1])).label})"
            raise TransactionFailed(
                failed.action, reason, data=failed.data, tx_hash=failed.tx_hash
            ) from failed

    def include(self, account: LocalAccount, number: int, submission: Submission) -> Receipt:
        """Take a waiting update in (coordinator)."""
        return self._send(account, "include", number, submission.as_tuple())

    def demand_posting(self, account: LocalAccount, number: int, member: str) -> Receipt:
        """Demand the vector of a waiting update, and pay the fee for it (coordinator)."""
        return self._send(account, "demandPosting", number, member, value=self.posting_fee())

    def post(self, account: LocalAccount, number: int, member: str, vector: bytes) -> list[Receipt]:
        """Post a member's vector, as it is stored, in as many transactions as it takes (the member, or the key that
        signs for it in the round)."""
        return [self._send(account, "post", number, member, *part) for part in _parts(vector)]

    def unsent_posting(self, number: int, member: str, vector: bytes) -> list[UnsentTransaction]:
        """The transactions of :meth:`post`, for a member that is a contract to send, in this order."""
        return [unsent(self.contract, "post", number, member, *part) for part in _parts(vector)]

    def forfeit(self, account: LocalAccount, number: int, member: str) -> Receipt:
        """Give up a waiting update whose vector was not posted in time (anyone may)."""
        return self._send(account, "forfeit", number, member)

    def withdraw(self, account: LocalAccount) -> Receipt:
        """Send the account everything it is owed."""
        return self._send(account, "withdraw")

    def owed(self, address: str) -> int:
        """Wei that an account may withdraw."""
        return int(read(self.contract, "owed", address))

    def posting_fee(self) -> int:
        """Wei that the demand for a vector costs. Out of it posting is paid what it cost in gas at the blocks' base
        fees; the rest comes back."""
        return int(read(self.contract, "postingFee"))

    def update_of(self, number: int, member: str) -> DirectUpdate:
        """A member's direct update; its state is NONE if the member submitted none."""
        values = read(self.contract, "directUpdate", number, member)
        return DirectUpdate(DirectState(values[0]), *values[1:])

    def posted_vector(self, number: int, member: str, *, first_block: int = 0) -> bytes | None:
        """The vector that a member posted, as stored bytes; None unless it was posted completely. first_block: at or
        before the round's opening."""
        if not self.update_of(number, member).due:  # nobody asked for it, so no event need be read
            return None
        chunks: dict[int, bytes] = {}
        words = (number.to_bytes(32), bytes.fromhex(member[2:]).rjust(32, b"\0"))
        for event in self._events.fetch(["ChunkPosted", "VectorPosted"], first_block, indexed=words):
            if event.name == "VectorPosted":
                return b"".join(chunks[index] for index in sorted(chunks))
            chunks[event.args["index"]] = event.args["values"]
        return None

    def _send(self, account: LocalAccount, function: str, *arguments: Any, value: int = 0) -> Receipt:
        action = f"DirectSubmissions.{function}"
        return self.sender.transact(account, self.contract, action, *arguments, value=value)


def _parts(vector: bytes) -> Iterator[tuple[int, bytes]]:
    """The vector in parts of whole chunks, each for one message: the index of the first chunk, and the bytes."""
    size = _CHUNKS_A_MESSAGE * CHUNK_BYTES
    return ((at // CHUNK_BYTES, vector[at : at + size]) for at in range(0, len(vector), size))
