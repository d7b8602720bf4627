"""Which rounds an audit computes again. Events are replayed from the first on, whatever is asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fedvm.audit.errors import AuditError


@dataclass(frozen=True)
class Scope:
    """The rounds whose updates, aggregate and model are checked: all from ``since`` on, and of these, if any are named,
    the ``rounds`` alone. Raises AuditError for numbers below 1."""

    since: int = 1
    rounds: Collection[int] = ()

    def __post_init__(self) -> None:
        if min((self.since, *self.rounds)) < 1:
            raise AuditError("rounds are numbered from 1 on")

    def wants(self, number: int) -> bool:
        """Whether a round is checked."""
        return number >= self.since and (not self.rounds or number in self.rounds)

    def wants_model(self, number: int) -> bool:
        """Whether the model of a round (0: the first) is read: for its own check, or since the next trains from it."""
        return self.wants(number) or self.wants(number + 1)

    def require_within(self, latest: int) -> None:
        """Raise AuditError if a round is named that the federation does not have."""
        if (unknown := max((0, *self.rounds))) > latest:
            raise AuditError(f"there is no round {unknown}: the latest is round {latest}")
        if self.since > max(latest, 1):
            raise AuditError(f"there is no round {self.since} or later: the latest is round {latest}")


WHOLE = Scope()
