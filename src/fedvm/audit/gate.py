"""Replays a service's gate: whether its root is old enough, each draw, each sample's answer, each outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.errors import OutOfOrder
from fedvm.audit.findings import Ledger, Place
from fedvm.audit.service_standing import check_trials
from fedvm.audit.versions import ServedVersion
from fedvm.chain.decoding import decoded_input
from fedvm.chain.errors import CallFailed
from fedvm.chain.gate import (
    NO_ANSWER,
    GateEvent,
    GateFixed,
    SampleAsked,
    TrialDrawn,
    TrialEnded,
    TrialOpened,
    TrialState,
)
from fedvm.chain.model_service import ModelService
from fedvm.chain.revm import RevmProgram
from fedvm.evm.keccak import keccak
from fedvm.protocol import RangeError, Sample, SamplePool, Verdict, sample_root, thresholds


@dataclass
class _Trial:
    opened: TrialOpened
    seed: bytes = b""
    asked: int = 0
    right: int = 0
    better: int = 0
    worse: int = 0


@dataclass
class GateReplay:
    """Replays the gate of `service` into `ledger`, if it has one.

    first_openings: when the first round of each audited federation was opened (Unix seconds), by its lower-case
    address; served: the versions whose code can be run, by number.
    """

    reader: ChainReader
    service: ModelService
    ledger: Ledger
    first_openings: Mapping[str, int]
    served: Mapping[int, ServedVersion]
    _fixed: GateFixed | None = None
    _pool: SamplePool = field(default_factory=lambda: SamplePool(0))
    _trials: dict[int, _Trial] = field(default_factory=dict)
    _programs: dict[int, RevmProgram] = field(default_factory=dict)
    _passed: set[int] = field(default_factory=set)
    _given: dict[str, tuple[int, Sequence[Any]]] = field(default_factory=dict)

    def run(self, first_block: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Check everything from `first_block` on; `progress(done, events)`."""
        gate = self.service.gate()
        if gate is None:
            return
        self._gate, self._terms = gate, gate.terms()
        events = list(gate.events(first=first_block, last=self.reader.head))
        check_trials(gate, events, self.reader, self.ledger)
        for done, event in enumerate(events, start=1):
            self._handle(event)
            if progress:
                progress(done, len(events))
        for change in self.service.served(first=first_block, last=self.reader.head):
            self.ledger.check(
                "promotion",
                change.version in self._passed,
                Place(version=change.version, tx=change.at.tx_hash),
                "serves without having passed the gate",
            )

    def _handle(self, event: GateEvent) -> None:
        if self._fixed is None and not isinstance(event, GateFixed):
            message = f"{type(event).__name__} in {event.at.tx_hash} comes before the gate's terms"
            raise OutOfOrder(message, event.at.tx_hash)
        match event:
            case GateFixed():
                self._on_fixed(event)
            case TrialOpened():
                self._trials[event.version] = _Trial(event)
                self._check_age(event)
            case TrialDrawn():
                self._on_drawn(event)
            case SampleAsked():
                self._on_asked(event)
            case TrialEnded():
                self._on_ended(event)

    def _trial(self, event: TrialDrawn | SampleAsked | TrialEnded) -> _Trial:
        if event.version not in self._trials:
            message = f"{type(event).__name__} in {event.at.tx_hash} is of version {event.version}, which has no trial"
            raise OutOfOrder(message, event.at.tx_hash)
        return self._trials[event.version]

    def _on_fixed(self, event: GateFixed) -> None:
        self._fixed = event
        self._pool = SamplePool(event.terms.samples)
        self.ledger.check(
            "gate terms",
            thresholds(event.terms.test) == event.thresholds and event.terms == self._terms,
            Place(tx=event.at.tx_hash),
            "the test's integers do not follow from its terms, or the contract holds other terms",
        )

    def _check_age(self, event: TrialOpened) -> None:
        try:
            version = self.service.version(event.version)
        except CallFailed as error:
            message = f"a trial is told of version {event.version}, which the service does not have: {error}"
            raise OutOfOrder(message, event.at.tx_hash) from None
        if not version.has_lineage or self._fixed is None:
            return
        opened = self.first_openings.get(version.federation)
        fixed = self.reader.time(self._fixed.at.block_number)
        self.ledger.check(
            "gate age",
            opened is not None and fixed < opened,
            Place(version=event.version, tx=self._fixed.at.tx_hash),
            "the validation set was not committed to before the federation's first round",
        )

    def _on_drawn(self, event: TrialDrawn) -> None:
        trial = self._trial(event)
        trial.seed = event.seed
        value = self._gate.randomness(trial.opened.seed_block)
        address = bytes.fromhex(self._gate.address[2:]).rjust(32, b"\0")
        preimage = value + address + event.version.to_bytes(32)
        self.ledger.check(
            "draw",
            keccak(preimage) == event.seed,
            Place(version=event.version, tx=event.at.tx_hash),
            f"the seed does not follow from the beacon's value for block {trial.opened.seed_block}",
        )

    def _on_asked(self, event: SampleAsked) -> None:
        trial, place = self._trial(event), Place(version=event.version, tx=event.at.tx_hash)
        if not trial.seed:
            message = (
                f"samples of version {event.version} are asked for before the node lists a TrialDrawn of it"
            )
            raise OutOfOrder(message, event.at.tx_hash)
        try:
            index = self._pool.draw(trial.seed, event.number)
        except RangeError:
            index = -1
        self.ledger.check(
            "draw",
            (event.index, event.number) == (index, trial.asked),
            place,
            f"sample {event.number} is number {event.index} of the set, the seed gives {index}",
        )
        trial.asked += 1
        sample = self._sample(event)
        if sample is not None:
            answers = (event.answer, event.rival_answer)
            expected = tuple(self._answer(number, sample) for number in (event.version, trial.opened.rival))
            self.ledger.check(
                "sample answer",
                event.label == sample.label and answers == expected,
                place,
                f"sample {event.index}: recorded are the answers {answers}, running it again gives {expected}",
            )
        classes = self._fixed.terms.classes if self._fixed else 0
        right = event.answer == event.label < classes
        rival = event.rival_answer == event.label < classes
        trial.right += right
        if trial.opened.rival:
            trial.better += right and not rival
            trial.worse += rival and not right

    def _sample(self, event: SampleAsked) -> Sample | None:
        """The sample that the transaction revealed, checked to be of the validation set; None if the transaction went
        through another contract."""
        tx_hash = event.at.tx_hash
        if tx_hash not in self._given:
            self._given[tx_hash] = self._samples_in(tx_hash)
        first, given = self._given[tx_hash]
        if not first <= event.number < first + len(given) or self._fixed is None:
            return None
        row = given[event.number - first]
        sample, terms = Sample(bytes(row["salt"]), row["label"], bytes(row["input"])), self._fixed.terms
        siblings = [bytes(sibling) for sibling in row["siblings"]]
        held = self.ledger.check(
            "sample",
            sample_root(terms.samples, event.index, sample, siblings) == terms.samples_root,
            Place(version=event.version, tx=tx_hash),
            f"what was asked as sample {event.index} is not in the validation set",
        )
        return sample if held else None

    def _samples_in(self, tx_hash: str) -> tuple[int, Sequence[Any]]:
        """The number of the first sample that a transaction gave, and the samples."""
        name, arguments = decoded_input(self._gate.contract, self.reader.calldata(tx_hash))
        if name != "runSamples":
            return 0, ()
        return arguments["first"], arguments["samples"]

    def _answer(self, version_id: int, sample: Sample) -> int:
        version = self.served.get(version_id)
        if version is None or self._fixed is None:
            return NO_ANSWER
        if version_id not in self._programs:
            self._programs[version_id] = RevmProgram(version.codes, version.program, warm=True)
        answer = self._programs[version_id].answer(sample.input, version.gas, self._fixed.terms.classes)
        return NO_ANSWER if answer is None else answer

    def _on_ended(self, event: TrialEnded) -> None:
        trial = self._trial(event)
        counts = (trial.asked, trial.right, trial.better, trial.worse)
        stated = (event.asked, event.right, event.better, event.worse)
        expected = self._outcome(trial)
        lapsed = event.outcome is TrialState.LAPSED and expected is None
        self.ledger.check(
            "trial outcome",
            counts == stated and (lapsed or event.outcome is expected),
            Place(version=event.version, tx=event.at.tx_hash),
            f"ended as {event.outcome.name.lower()} with asked, right, better, worse = {stated}; the answers "
            f"make {counts}",
        )
        if event.outcome is TrialState.PASSED and expected is TrialState.PASSED:
            self._passed.add(event.version)

    def _outcome(self, trial: _Trial) -> TrialState | None:
        """The outcome that follows from the answers; None while they are not enough to decide."""
        assert self._fixed is not None
        terms, limits = self._fixed.terms, self._fixed.thresholds
        verdict = limits.verdict(trial.asked, trial.right, terms.max_samples)
        if trial.asked == 0 or verdict is Verdict.OPEN:
            return None
        keeps_up = trial.worse <= trial.better + terms.margin
        return TrialState.PASSED if verdict is Verdict.PASSED and keeps_up else TrialState.FAILED
