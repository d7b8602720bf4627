"""What is known of a round when it is over, and its form in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from fedvm.chain.events import Place
from fedvm.chain.federation_types import UpdateAccepted
from fedvm.federation.coordinator.ledger import RoundGas
from fedvm.federation.coordinator.outcome import Failure, TrainOutcome
from fedvm.federation.coordinator.settlement import Refused, Settlement


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
    accepted: tuple[UpdateAccepted, ...]
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

    def to_json(self) -> dict[str, Any]:
        """Plain types for `json`."""
        return {**asdict(self), "accepted": [_to_json(one) for one in self.accepted]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RoundRecord:
        """Inverse of `to_json`. Raises KeyError or TypeError on other data."""
        return cls(
            **{
                **data,
                "sampled": tuple(data["sampled"]),
                "accepted": tuple(_from_json(entry) for entry in data["accepted"]),
                "refused": tuple(Refused(**entry) for entry in data["refused"]),
                "failures": tuple(Failure(**entry) for entry in data["failures"]),
                "gas": RoundGas(**data["gas"]),
            }
        )


def record_of(outcome: TrainOutcome, *, gas: RoundGas, seconds: float) -> RoundRecord:
    """A round's record as far as chain and training tell it; metrics are added by the caller."""
    settlement: Settlement = outcome.settlement
    round_ = settlement.round
    return RoundRecord(
        round=round_.number,
        status=round_.status.name.lower(),
        sampled=outcome.sampled,
        accepted=settlement.accepted,
        refused=settlement.refused,
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


_BYTES = tuple(one.name for one in fields(UpdateAccepted) if one.type == "bytes")


def _to_json(update: UpdateAccepted) -> dict[str, Any]:
    return {**asdict(update), **{name: getattr(update, name).hex() for name in _BYTES}}


def _from_json(data: dict[str, Any]) -> UpdateAccepted:
    values = {name: bytes.fromhex(data[name]) for name in _BYTES}
    return UpdateAccepted(**{**data, **values, "at": Place(**data["at"])})
