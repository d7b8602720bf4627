"""What is known of a round when it is over, and its form in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fedvm.federation.coordinator.ledger import AcceptedUpdate, RefusedUpdate, RoundGas
from fedvm.federation.coordinator.outcome import Failure, TrainOutcome
from fedvm.federation.coordinator.settlement import Settlement
from fedvm.store import Cid


@dataclass(frozen=True)
class Accepted:
    """An accepted update: weight the contract gave; examples, accuracy (0..1), loss and ε spent so far (0: no claim)
    as the client attests them."""

    member: str
    weight: int
    examples: int
    capped: bool
    accuracy: float
    loss: float
    cid: str
    epsilon: float = 0.0


@dataclass(frozen=True)
class Refused:
    """A refused update. by: "contract" (reason is its `Refusal`) or "coordinator" (did not hold together)."""

    member: str
    reason: str
    by: str


@dataclass(frozen=True)
class RoundRecord:
    """One round. status: "final" or "failed"; roots are 0x-hex; losses and accuracies are weighted means.

    train_loss: of accepted clients. validation_*: of the global model on clients' validation data
    (`evaluated` clients). test_*: on the server's test set, if one was given. None where nothing was
    measured. seconds: of wall time in this process; gas: of the round's transactions.
    """

    round: int
    status: str
    sampled: tuple[str, ...]
    accepted: tuple[Accepted, ...]
    refused: tuple[Refused, ...]
    failures: tuple[Failure, ...]
    total_weight: int
    base_root: str
    model_root: str
    model_cid: str | None
    aggregate_root: str
    aggregate_cid: str | None
    gas: RoundGas
    seconds: float
    train_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    evaluated: int = 0
    train_metrics: dict[str, float] = field(default_factory=dict)
    evaluate_metrics: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types for `json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RoundRecord:
        """Inverse of `to_json`. Raises KeyError or TypeError on other data."""
        return cls(
            **{
                **data,
                "sampled": tuple(data["sampled"]),
                "accepted": tuple(Accepted(**entry) for entry in data["accepted"]),
                "refused": tuple(Refused(**entry) for entry in data["refused"]),
                "failures": tuple(Failure(**entry) for entry in data["failures"]),
                "gas": RoundGas(**data["gas"]),
            }
        )


def record_of(outcome: TrainOutcome, *, gas: RoundGas, seconds: float) -> RoundRecord:
    """A round's record as far as chain and training tell it; metrics are added by the caller."""
    settlement: Settlement = outcome.settlement
    round_ = settlement.round
    withheld = tuple(Refused(w.member, w.reason, "coordinator") for w in settlement.withheld)
    return RoundRecord(
        round=round_.number,
        status=round_.status.name.lower(),
        sampled=outcome.sampled,
        accepted=tuple(_accepted(update) for update in settlement.accepted),
        refused=tuple(_refused(update) for update in settlement.refused) + withheld,
        failures=outcome.failures,
        total_weight=round_.total_weight,
        base_root="0x" + round_.base_root.hex(),
        model_root="0x" + round_.model_root.hex(),
        model_cid=settlement.model_cid,
        aggregate_root="0x" + round_.aggregate_root.hex(),
        aggregate_cid=settlement.aggregate_cid,
        gas=gas,
        seconds=seconds,
    )


def _accepted(update: AcceptedUpdate) -> Accepted:
    return Accepted(
        member=update.member,
        weight=update.weight,
        examples=update.examples,
        capped=update.capped,
        accuracy=update.accuracy_ppm / 1e6,
        loss=update.loss_micros / 1e6,
        cid=str(Cid.from_binary(update.cid)),
        epsilon=update.epsilon_micros / 1e6,
    )


def _refused(update: RefusedUpdate) -> Refused:
    return Refused(update.member, update.reason, "contract")
