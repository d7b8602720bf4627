"""What a round's training came to."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import MetricRecord

from fedvm.federation.coordinator.settlement import Settlement


@dataclass(frozen=True)
class Failure:
    """A client that did not answer, or not with a signed update of its own."""

    member: str
    reason: str


@dataclass(frozen=True)
class TrainOutcome:
    """A round's training: who was sampled (ascending), how it settled, who failed, mean metrics."""

    sampled: tuple[str, ...]
    settlement: Settlement
    failures: tuple[Failure, ...]
    metrics: MetricRecord | None
