"""When to end a run early: decided after each round from what the clients measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedvm.federation.coordinator.records import RoundRecord
from fedvm.federation.errors import BUDGET_SPENT, SettingsError
from fedvm.federation.settings import StoppingMetric, StoppingSettings


@dataclass(frozen=True)
class Stopping(StoppingSettings):
    """Ends a run before its last round. All figures are the clients' weighted means on validation data, which
    they attest and nobody proves; the test set has no say.

    patience: this many evaluated rounds in a row without a better `metric` ("loss" or "accuracy") end the run; 0:
    never. min_change: an improvement must be larger than this. accuracy, loss: a round that reaches this ends the run.
    Independently of these, the run ends after a round in which every client says that its privacy budget is spent.

    Raises:
        SettingsError: unknown metric, or a value out of range.
    """

    def __post_init__(self) -> None:
        if self.metric not in tuple(StoppingMetric):
            raise SettingsError(
                f"unknown metric {self.metric!r} to stop by; choose {' or '.join(StoppingMetric)}"
            )
        if self.patience < 0 or self.min_change < 0:
            raise SettingsError(
                f"patience and min_change must not be negative, got {self.patience} and {self.min_change}"
            )
        if self.accuracy is not None and not 0 < self.accuracy <= 1:
            raise SettingsError(f"the accuracy to stop at must be in (0, 1], got {self.accuracy}")

    def reason(self, records: Sequence[RoundRecord]) -> str | None:
        """Why the run ends after the last of `records`, None if it goes on."""
        if not records:
            return None
        last = records[-1]
        if _budgets_spent(last):
            return f"the clients' privacy budgets are spent: nobody took part in round {last.round}"
        if self.accuracy is not None and (last.validation_accuracy or 0.0) >= self.accuracy:
            return f"round {last.round} reached a validation accuracy of {last.validation_accuracy:.4f}"
        if self.loss is not None and last.validation_loss is not None and last.validation_loss <= self.loss:
            return f"round {last.round} reached a validation loss of {last.validation_loss:.4f}"
        return self._impatience(records)

    def _impatience(self, records: Sequence[RoundRecord]) -> str | None:
        best: float | None = None
        since = 0
        for record in records:
            cost = _cost(record, self.metric)
            if cost is None:
                continue
            if best is None or cost < best - self.min_change:
                best, since = cost, 0
            else:
                since += 1
        if not self.patience or since < self.patience:
            return None
        return f"{since} rounds brought no better validation {self.metric}"


def _budgets_spent(record: RoundRecord) -> bool:
    nobody = not record.accepted and not record.refused and bool(record.failures)
    return nobody and all(BUDGET_SPENT in failure.reason for failure in record.failures)


def best_round(records: Sequence[RoundRecord], metric: str = "loss") -> RoundRecord | None:
    """The final round whose model did best on the clients' validation data, the first of equals.

    None if no final round was evaluated.
    """
    scored = [(cost, record) for record in records if (cost := _cost(record, metric)) is not None]
    return min(scored, key=lambda pair: pair[0])[1] if scored else None


def _cost(record: RoundRecord, metric: str) -> float | None:
    """The figure to minimise; None for a round that failed or that nobody evaluated."""
    if record.status != "final":
        return None
    if metric == "accuracy":
        return None if record.validation_accuracy is None else -record.validation_accuracy
    return record.validation_loss
