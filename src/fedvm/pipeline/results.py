"""The results of a run, as small records. `RunReport` is what `report.json` holds and the run's pages show."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from fedvm.files import write_atomically
from fedvm.jsontext import parse_json


@dataclass(frozen=True)
class MemberRow:
    """What became of one member's update in one round.

    client: the partition's number; examples: as the member stated them (attested, not proved); weight: as the
    contract set it, 0 when refused; refused: the contract's reason, "" when accepted; failure: why the client
    sent no update, "" when it did; epsilon: the ε of differential privacy it says it has spent so far, 0 for no claim.
    """

    client: int
    member: str
    examples: int
    weight: int
    refused: str = ""
    failure: str = ""
    epsilon: float = 0.0

    @property
    def capped(self) -> bool:
        """Accepted, but counted for fewer examples than stated."""
        return not self.refused and not self.failure and self.weight < self.examples


@dataclass(frozen=True)
class RoundRow:
    """One round. Losses are means over examples, accuracies are shares (0 … 1), None where nothing was
    measured.

    The validation figures are attested by the clients; the test figures are of the round's global model on
    the held-out images. gas: EVM gas by step ("open", "submit", "finalize", …).
    """

    round: int
    final: bool
    members: tuple[MemberRow, ...]
    train_loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float | None
    gas: Mapping[str, int]
    model_root: str
    model_cid: str

    @property
    def accepted(self) -> tuple[MemberRow, ...]:
        return tuple(row for row in self.members if not row.refused and not row.failure)

    @property
    def refused(self) -> tuple[MemberRow, ...]:
        return tuple(row for row in self.members if row.refused)

    @property
    def failures(self) -> tuple[MemberRow, ...]:
        return tuple(row for row in self.members if row.failure)


@dataclass(frozen=True)
class ClientRow:
    """What one client says it measured of the finished model on its own validation data.

    Accuracies are shares (0 … 1), None where nothing was measured; class_correct of class_examples, by class;
    personal_accuracy: after it had trained the model on its own data, None without personalisation.
    """

    client: int
    member: str
    examples: int
    accuracy: float | None
    class_correct: tuple[int, ...]
    class_examples: tuple[int, ...]
    personal_accuracy: float | None


@dataclass(frozen=True)
class Spread:
    """How evenly clients or classes are served: shares (0 … 1), each counting once; std of the population."""

    lowest: float
    highest: float
    mean: float
    std: float

    @classmethod
    def of(cls, shares: Iterable[float | None]) -> Spread | None:
        """The spread of those that were measured, None if none was."""
        known = [share for share in shares if share is not None]
        if not known:
            return None
        return cls(min(known), max(known), statistics.fmean(known), statistics.pstdev(known))


@dataclass(frozen=True)
class FairnessFacts:
    """The finished model by client and by class.

    clients: what each measured; across_clients and personal: the spread of their accuracies before and after
    personalisation; class_accuracy: on the held-out test images, None for a class without any.
    """

    clients: tuple[ClientRow, ...]
    across_clients: Spread | None
    personal: Spread | None
    class_accuracy: tuple[float | None, ...]
    across_classes: Spread | None

    @classmethod
    def of(cls, clients: tuple[ClientRow, ...], class_accuracy: tuple[float | None, ...]) -> FairnessFacts:
        """With the spreads computed."""
        return cls(
            clients,
            Spread.of(row.accuracy for row in clients),
            Spread.of(row.personal_accuracy for row in clients),
            class_accuracy,
            Spread.of(class_accuracy),
        )


@dataclass(frozen=True)
class PrivacyFacts:
    """Differential privacy: the settings, and the (ε, δ) each client says it has spent (client → ε).

    in_sums: whether the noise is in the sums of sealed groups, not in each update; assumed_corrupt: members of a group
    whose noise is not counted then. std of the noise = noise_multiplier · clip, of a sum · the greatest weight of an
    update; max_epsilon: the budget, None without one; seeded: the noise can be computed by whoever knows the run's
    seed, as in every simulation.
    """

    clip: float
    noise_multiplier: float
    delta: float
    max_epsilon: float | None
    seeded: bool
    epsilon: Mapping[int, float]
    in_sums: bool = False
    assumed_corrupt: int = 0


@dataclass(frozen=True)
class GroupRow:
    """A group that counted in a sealed round. members: that were drawn into it; included: whose updates are in its sum;
    conspirators: how many of them, with the coordinator, could take one update apart from the sum. length: norm of its
    mean update, in units of the model's parameters; longest: what the rules allow."""

    number: int
    members: int
    included: int
    conspirators: int
    weight: int
    length: float
    longest: float


@dataclass(frozen=True)
class SealedRoundRow:
    """The groups that counted in a final round."""

    round: int
    groups: tuple[GroupRow, ...]


@dataclass(frozen=True)
class SealedFacts:
    """A run whose rounds were sealed. group_size: the fewest members of a group; min_groups: that must count."""

    group_size: int
    min_groups: int
    rounds: tuple[SealedRoundRow, ...]

    @property
    def weakest(self) -> GroupRow | None:
        """The group in which the smallest part of the members could conspire; None without a final round."""
        groups = [group for row in self.rounds for group in row.groups]
        return min(groups, key=lambda group: group.conspirators / group.members, default=None)

    @property
    def fewest(self) -> int | None:
        """The fewest updates in a sum that became known; None without a final round."""
        return min((group.included for row in self.rounds for group in row.groups), default=None)


@dataclass(frozen=True)
class DataFacts:
    """The data set: shape (C, H, W), numbers of images, and examples each client trains on.

    train: dealt out among the clients; calibration: public, for the compiler; test: held out; validation: the
    gate's, held by its custodian.
    """

    name: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train: int
    calibration: int
    test: int
    partition: str
    client_examples: tuple[int, ...]
    validation: int = 0


@dataclass(frozen=True)
class AloneRow:
    """One client's data alone: how many examples, and test accuracy after each tested round."""

    client: int
    examples: int
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class BaselineFacts:
    """Test accuracy after `rounds` without federating, trained for as many rounds, with as many passes and the same
    rates.

    all_data: trained on all data in one place; alone: each client by itself, all of `clients` or some drawn from them.
    """

    rounds: tuple[int, ...]
    all_data: tuple[float, ...]
    alone: tuple[AloneRow, ...]
    clients: int

    def alone_at(self, position: int) -> Spread:
        """The spread across clients after `rounds[position]`."""
        found = Spread.of(row.accuracy[position] for row in self.alone)
        if found is None:
            raise ValueError("no client trained alone")
        return found

    @classmethod
    def from_json(cls, text: str) -> BaselineFacts:
        """Inverse of the JSON of `asdict`. Raises ValueError, KeyError or TypeError when it is not that."""
        stored = parse_json(text)
        rows = tuple(AloneRow(**{**row, "accuracy": tuple(row["accuracy"])}) for row in stored["alone"])
        return cls(tuple(stored["rounds"]), tuple(stored["all_data"]), rows, stored["clients"])


@dataclass(frozen=True)
class ProgramPart:
    """One contract of the program."""

    address: str
    code_hash: str
    bytes: int


@dataclass(frozen=True)
class LayerFacts:
    """One row of the compiler's table: gas is EVM gas predicted for one prediction."""

    name: str
    op: str
    macs: int
    gas: int


@dataclass(frozen=True)
class ModelFacts:
    """The served version and where it comes from. Digests and hashes are hexadecimal with 0x.

    title: what the model is, in words; preparation: of an image that it is asked about; score_scale: the real number
    that a score of 1 stands for, one a class (`fedvm.audit.description`). quantization_aware: the clients trained the
    integers that are served.
    """

    name: str
    parameters: int
    macs: int
    round: int
    version: int
    model_root: str
    onnx_cid: str
    integer_onnx_sha256: str
    parts: tuple[ProgramPart, ...]
    layers: tuple[LayerFacts, ...]
    title: str
    preparation: str
    score_scale: tuple[float, ...]
    quantization_aware: bool = False


@dataclass(frozen=True)
class ChainFacts:
    """The chain and the contracts of the run. network: its name, "embedded" for a chain in the run's directory;
    explorer: address of a site that shows it, "" if none is known."""

    network: str
    title: str
    explorer: str
    chain_id: int
    federation: str
    service: str
    program: str
    coordinator: str


@dataclass(frozen=True)
class GasFacts:
    """EVM gas measured on the chain, and the compiler's estimate for Filecoin (its own unit of gas).

    predict: execution gas of one prediction in the program (without the transaction's 21,000 and calldata).
    """

    federation_deploy: int
    service_deploy: int
    program_deploy: int
    register: int
    rounds: int
    predict: int
    predict_estimate: int
    filecoin_predict_estimate: int


@dataclass(frozen=True)
class ClassTrial:
    """Samples of a class that a version was asked in its trial, and those it got right."""

    name: str
    asked: int
    right: int


@dataclass(frozen=True)
class GateFacts:
    """The trial that the served version passed on chain. Accuracies and probabilities are shares (0 … 1).

    better, worse: samples that this version alone, or the one that served before alone, got right (0 where none
    served); gas: of the draw and of all samples; bond in wei.
    """

    address: str
    samples_root: str
    samples: int
    remaining: int
    fail_accuracy: float
    pass_accuracy: float
    alpha: float
    beta: float
    asked: int
    right: int
    better: int
    worse: int
    bond: int
    gas: int
    transactions: int
    classes: tuple[ClassTrial, ...]


@dataclass(frozen=True)
class Prediction:
    """One held-out image as the contract saw it; image: its index in the test set."""

    image: int
    true: int
    predicted: int
    scores: tuple[int, ...]


MOST_CONFUSED: Final = 64
"""Classes up to which it is counted which is taken for which: more are no table that people read."""


@dataclass(frozen=True)
class EvaluationFacts:
    """Held-out images through the contract's code, against ONNX Runtime on `model.int.onnx`.

    mismatches: images with any score that differs; service_calls: of these images, how many also went the
    full path (eth_call on ModelService) and agreed. Accuracies are on these same images. confusion[i][j]: how many
    images of class i the contract's code said to be class j; empty for more than `MOST_CONFUSED` classes.
    """

    images: int
    mismatches: int
    service_calls: int
    float_accuracy: float
    integer_accuracy: float
    chain_accuracy: float
    examples: tuple[Prediction, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class RunReport:
    """Everything that one run computed. seconds: by step; aggregation: how
    updates became models, and whether that can be disputed on chain or is audit-only; stopped: why the run ended
    before its last round, None if it did not; gate: the trial that the served version passed, None if there is no
    gate; sealed: the groups of sealed rounds, None if rounds were open."""

    fedvm: str
    name: str
    seed: int
    data: DataFacts
    rules: Mapping[str, int | str]
    aggregation: str
    rounds: tuple[RoundRow, ...]
    baseline: BaselineFacts | None
    model: ModelFacts
    chain: ChainFacts
    gas: GasFacts
    evaluation: EvaluationFacts
    seconds: Mapping[str, float]
    fairness: FairnessFacts | None = None
    privacy: PrivacyFacts | None = None
    stopped: str | None = None
    gate: GateFacts | None = None
    sealed: SealedFacts | None = None

    def save(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all."""
        write_atomically(path, json.dumps(self.to_json(), indent=2) + "\n")

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)
