"""The state of a round during the replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fedvm.audit.relayed import Verdict
from fedvm.chain.federation_types import RoundProposed, SubmittedDirectly
from fedvm.protocol import CountedUpdate
from fedvm.protocol.address import Address
from fedvm.protocol.vector import IntVector


@dataclass(frozen=True)
class FinalRound:
    """A final round as replayed, with its model, None if the store does not have it. over_bytes: whether the model is
    the name of bytes."""

    model_root: bytes
    model: IntVector | None
    over_bytes: bool = False


@dataclass
class OpenRound:
    """What the events so far say of a round that is not over."""

    number: int
    base_root: bytes
    opened_at: int
    deadline: int
    members: frozenset[str]  # when it was opened
    last_member: str = ""
    rolled_up: bool = False
    direct: dict[Address, SubmittedDirectly] = field(default_factory=dict)  # by member, also if dealt with
    dealt_with: set[str] = field(default_factory=set)  # members with a verdict, or whose update was given up
    total_weight: int = 0
    accepted: int = 0
    missing: int = 0  # updates that could not be verified
    updates: list[CountedUpdate] = field(default_factory=list)  # the others
    proposal: RoundProposed | None = None
    until: int = 0
    rejected: bool = False
    expected: dict[str, Iterator[Verdict]] = field(default_factory=dict)  # by transaction, in its order

    def deviation(self, event: RoundProposed, window_ends: int) -> str:
        """Which arguments of a proposal do not follow, by name; "" if all do. window_ends: Unix seconds of the end of
        the challenge window that begins with it."""
        parts = {
            "attempt": event.attempt == (1 if self.proposal is None else self.proposal.attempt + 1),
            "totalWeight": event.total_weight == self.total_weight,
            "until": event.until == window_ends,
        }
        return ", ".join(name for name, holds in parts.items() if not holds)
