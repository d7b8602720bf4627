"""A round as its coordinator sees it on the chain."""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.chain.federation_types import RoundState


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
