"""The SealedDisputes contract of a sealed federation, typed: questions, also for revealed seeds, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.artifacts import SEALED_DISPUTES
from fedvm.chain.disputes import DisputesContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.sealed_proofs import GroupShape, Seat
from fedvm.chain.sender import Receipt, Sender


@dataclass(frozen=True)
class SeedQuestion:
    """A question for a revealed seed. seat: whose commitment it is. place: of the member that the seed is shared with,
    or its own. commitment: 32 bytes; siblings: of the path from it up to the member's ``seedsRoot``."""

    shape: GroupShape
    seat: Seat
    place: int
    commitment: bytes
    siblings: tuple[bytes, ...]
    levels: ClassVar[int] = 1

    @property
    def wanted(self) -> bytes:
        """The hash that is asked about, 32 bytes."""
        return self.commitment


class SealedDisputesContract(DisputesContract):
    """The contract that judges disputes about one sealed federation's proposals.

    Of the tree of a member's seed commitments :meth:`demand` reaches the nodes alone; a seed is asked for by
    :meth:`demand_seed`.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        super().__init__(w3, address, name=SEALED_DISPUTES, sender=sender)

    @classmethod
    def of(cls, federation: FederationContract) -> SealedDisputesContract:
        """The contract of a sealed federation."""
        return cls(federation.w3, federation.disputes(), sender=federation.sender)

    def demand_seed(self, account: LocalAccount, number: int, question: SeedQuestion) -> Receipt:
        """Ask for a revealed seed, at the price of a question for one level.

        Raises TransactionFailed: ``NotRevealed`` for a seed whose mask cancels, which only the two who share it know.
        """
        arguments = (
            question.shape.as_tuple(),
            question.seat.as_tuple(),
            question.place,
            question.commitment,
            list(question.siblings),
        )
        return self._ask(account, "demandSeed", number, 1, *arguments)
