"""The facts that every export states, each with where on chain it is said and how it is read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from fedvm.audit.description import Description
from fedvm.audit.recipe import CompileRecipe
from fedvm.chain.gate import ClassCount, GateTerms, TrialState
from fedvm.chain.model_service import Decision, Version
from fedvm.evm.keccak import keccak
from fedvm.protocol import Rules, Sample, Security


@dataclass(frozen=True)
class Source:
    """Where a fact is said. contract: its address (hex). event: its name, and what tells it from others. block,
    log_index: the number of its block, and its own number in it. tx: hash of its transaction. command: what shows it
    again; RUN, RPC and STORE in it stand for a run's directory, a node and a store."""

    contract: str
    event: str
    block: int
    log_index: int
    tx: str
    command: str


@dataclass(frozen=True)
class MemberFacts:
    """A member at the end of what was read."""

    address: str
    source: Source


@dataclass(frozen=True)
class RulesFacts:
    """Rules that were in force from a block on. digest: their hash, 32 bytes."""

    rules: Rules
    digest: bytes
    source: Source


@dataclass(frozen=True)
class UpdateFacts:
    """An update and what became of it. refusal: why it does not count, "" if it does; then the numbers are 0. examples,
    accuracy_ppm, loss_micros, labels and epsilon_micros are attested by the member, weight is what the contract gave.
    """

    member: str
    cid: bytes
    refusal: str
    source: Source
    weight: int = 0
    examples: int = 0
    accuracy_ppm: int = 0
    loss_micros: int = 0
    labels: int = 0
    epsilon_micros: int = 0


@dataclass(frozen=True)
class RoundFacts:
    """A round. state: "final", "failed", "proposed" or "open". proposals: how often a result was proposed. accepted and
    total_weight: of a final round, else 0. updates: empty in a sealed round, whose members are not told apart, and
    where missing says why. opened_at, ended_at: Unix seconds, ended_at 0 while it is not over."""

    number: int
    state: str
    base_root: bytes
    rules_hash: bytes
    opened_at: int
    opened: Source
    updates: tuple[UpdateFacts, ...] = ()
    missing: str = ""
    proposals: int = 0
    accepted: int = 0
    total_weight: int = 0
    model_root: bytes = b""
    aggregate_root: bytes = b""
    model_cid: bytes = b""
    ended_at: int = 0
    ended: Source | None = None


@dataclass(frozen=True)
class FederationFacts:
    """A federation. aggregator: its rule in words. rules: the first and all that were adopted. changed_in: block of the
    latest event that these facts follow from, which need not be a source of one of them."""

    address: str
    owner: str
    coordinator: str
    is_sealed: bool
    is_open: bool
    aggregator: str
    model_root: bytes
    model_cid: bytes
    created_at: int
    source: Source
    security: Security
    security_source: Source
    rules: tuple[RulesFacts, ...]
    members: tuple[MemberFacts, ...]
    rounds: tuple[RoundFacts, ...]
    changed_in: int

    @property
    def final_rounds(self) -> tuple[RoundFacts, ...]:
        """The rounds that made a model."""
        return tuple(one for one in self.rounds if one.state == "final")


@dataclass(frozen=True)
class TrialFacts:
    """The trial of a version in the gate. better, worse: samples that it alone, or its rival alone, got right."""

    state: TrialState
    asked: int
    right: int
    better: int
    worse: int
    rival: int
    classes: tuple[ClassCount, ...]
    source: Source

    @property
    def accuracy(self) -> float:
        """The share of the asked samples that it got right, 0 … 1."""
        return self.right / self.asked if self.asked else 0.0


@dataclass(frozen=True)
class VersionFacts:
    """A version of the model. codes: runtime code of its contracts, by address, the entry first. onnx: the file that
    the chain names, None if no store has it, and missing says why; description and recipe are read from it. trial: None
    without a gate."""

    number: int
    version: Version
    registered_at: int
    source: Source
    codes: dict[str, bytes] = field(repr=False)
    onnx: bytes | None = field(repr=False)
    description: Description | None
    recipe: CompileRecipe | None
    missing: str
    trial: TrialFacts | None = None

    @property
    def title(self) -> str:
        """What the model is, in its owner's words, or by its number."""
        said = "" if self.description is None else self.description.title.strip()
        return said or f"Version {self.number}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty if they are not known."""
        return () if self.description is None else self.description.classes

    def class_name(self, label: int) -> str:
        """The name of a class by its index."""
        return self.classes[label] if label < len(self.classes) else f"class {label}"

    @property
    def code_bytes(self) -> int:
        """Size of the program on chain."""
        return sum(map(len, self.codes.values()))

    @property
    def is_as_registered(self) -> bool:
        """Whether the code on chain has the hashes that were registered."""
        return all(keccak(self.codes[part.account]) == part.code_hash for part in self.version.parts)

    @cached_property
    def onnx_sha256(self) -> str:
        """Hex SHA-256 of the ONNX file, "" if it is not there."""
        return "" if self.onnx is None else sha256(self.onnx).hexdigest()


@dataclass(frozen=True)
class ServedFacts:
    """From a time (Unix seconds) on, a version serves in place of the previous one, 0 if there was none."""

    version: int
    previous: int
    at: int
    source: Source


@dataclass(frozen=True)
class DecisionFacts:
    """A recorded decision. at: Unix seconds. class_name: of its label."""

    decision: Decision
    at: int
    class_name: str
    source: Source


@dataclass(frozen=True)
class AskedSample:
    """A sample of the committed validation set that a trial disclosed. index: in the set. number: in the trial."""

    version: int
    index: int
    number: int
    sample: Sample
    answer: int
    source: Source


@dataclass(frozen=True)
class GateFacts:
    """The gate of a service. samples: those that trials disclosed; missing: why some of them could not be read."""

    address: str
    terms: GateTerms
    source: Source
    samples: tuple[AskedSample, ...] = field(repr=False)
    missing: str = ""


@dataclass(frozen=True)
class ServiceFacts:
    """A model service. served: the changes of the version that serves, in order."""

    address: str
    owner: str
    source: Source
    versions: tuple[VersionFacts, ...]
    served: tuple[ServedFacts, ...]
    gate: GateFacts | None
    decisions: tuple[DecisionFacts, ...]

    @property
    def serving(self) -> int:
        """The number of the version that serves, 0 if none does."""
        return self.served[-1].version if self.served else 0


@dataclass(frozen=True)
class Facts:
    """All facts. block: of the latest event that was read, and block_time its Unix seconds: what is exported stays the
    same, byte for byte, until there is another event."""

    chain_id: int
    network: str
    block: int
    block_time: int
    federation: FederationFacts | None
    service: ServiceFacts | None

    def account(self, address: str) -> str:
        """An account or contract (hex address) on this chain, as CAIP-10 writes it."""
        return f"eip155:{self.chain_id}:{address}"

    @property
    def latest(self) -> VersionFacts | None:
        """The version that serves, or else the latest that was registered."""
        if self.service is None or not self.service.versions:
            return None
        by_number = {one.number: one for one in self.service.versions}
        return by_number.get(self.service.serving, self.service.versions[-1])


def cited(value: Any) -> Iterator[Source]:
    """All sources in facts, in their order."""
    if isinstance(value, Source):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from cited(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from cited(getattr(value, one.name))
