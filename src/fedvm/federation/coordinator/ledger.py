"""A round as its coordinator sees it on the chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation_types import RoundState
from fedvm.federation.errors import UpdatesWaiting


@dataclass(frozen=True)
class LedgerRound:
    """A round as the chain has it. Roots and seed are 32 bytes.

    The roots of aggregation, aggregate and model, and model_cid (a binary CIDv1), are those of the proposal
    that stands or became final; without one they are zero and empty. accepted, total_weight: of the updates that count.
    rolled_up: whether all updates were submitted at once.
    """

    number: int
    status: RoundState
    seed: bytes
    base_root: bytes
    model_root: bytes
    aggregate_root: bytes
    aggregation_root: bytes
    deadline: int
    accepted: int
    total_weight: int
    model_cid: bytes
    rolled_up: bool = False


@dataclass(frozen=True)
class RoundGas:
    """Gas a round's transactions used: opening, all submissions, closing (proposing, finalising, failing)."""

    open: int
    submit: int
    close: int

    @property
    def total(self) -> int:
        """Gas of all the round's transactions."""
        return self.open + self.submit + self.close


@dataclass
class Head:
    """The latest block: number, hash, Unix seconds, and the answers that the contract gave at this block."""

    number: int = 0
    hash: bytes = b""
    time: int = 0
    answers: dict[str, Any] = field(default_factory=dict)


@contextmanager
def awaiting(number: int) -> Iterator[None]:
    """Raises UpdatesWaiting if a transaction fails because members have submitted updates themselves in the
    meantime."""
    try:
        yield
    except TransactionFailed as failed:
        if failed.reason.startswith("UpdatesWaiting(") or failed.reason == "OtherPremises(journal)":
            raise UpdatesWaiting(f"round {number} has updates that members submitted themselves") from failed
        raise
