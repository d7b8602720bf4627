"""What an audit reports: how much was checked, and what does not follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from fedvm.store import Cid, CorruptBlock, InvalidCid, StoreError
from fedvm.store.vectors import WrongVector


class Nature(StrEnum):
    """What a finding says. FALSE: something is stated, or was given, that is not so. MISSING: what was committed to
    could not be had, so nobody can tell. UNVERIFIED: it depends on something that is a finding itself."""

    FALSE = "false"
    MISSING = "missing"
    UNVERIFIED = "unverified"


@dataclass(frozen=True)
class Place:
    """Where a finding was made; fields that do not apply are empty. tx: the transaction's hash, cid: the
    artefact; epoch, group: of sealed rounds; event, field: names in the contract's ABI, of a struct's field with dots;
    file: of a run's directory."""

    round: int | None = None
    member: str = ""
    version: int | None = None
    decision: int | None = None
    tx: str = ""
    cid: str = ""
    epoch: int | None = None
    group: int | None = None
    block: int | None = None
    event: str = ""
    field: str = ""
    file: str = ""

    def __str__(self) -> str:
        parts = [f"{name} {value}" for name, value in asdict(self).items() if value not in (None, "")]
        return ", ".join(parts)


@dataclass(frozen=True)
class Finding:
    """Something that does not follow. check: the name of the check that failed."""

    check: str
    place: Place
    message: str
    nature: Nature = Nature.FALSE


@dataclass
class Ledger:
    """Collects the outcomes while an audit runs."""

    passed: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def check(self, name: str, holds: bool, place: Place, message: str) -> bool:
        """Record one outcome and return it."""
        if holds:
            self.passed[name] += 1
        else:
            self.findings.append(Finding(name, place, message))
        return holds

    def left_out(self, event: str, of: str, place: Place) -> None:
        """Record that a node lists no such event, which what was found at ``place`` can only follow."""
        self.check("event order", False, place, f"the node lists no {event} of {of} before this")

    def unreadable(self, name: str, place: Place, error: Exception, what: str = "") -> None:
        """Record that a store did not give what a check needs: other bytes than were committed to, or nothing."""
        is_false = not isinstance(error, StoreError) or isinstance(
            error, CorruptBlock | WrongVector | InvalidCid
        )
        nature = Nature.FALSE if is_false else Nature.MISSING
        self.findings.append(Finding(name, place, f"{what}{error}", nature))

    def unverified(self, name: str, place: Place, message: str) -> None:
        """Record that a check could not be made because of another finding."""
        self.findings.append(Finding(name, place, message, Nature.UNVERIFIED))


@dataclass(frozen=True)
class AuditReport:
    """The whole audit. passed: how often each check held; aggregation: how the federation's rules say that
    updates make a model, "audit-only" where the contract does not check it ("" without a federation); has_headers:
    whether the blocks' hashes commit to the events, as Ethereum's do and Filecoin's do not."""

    chain_id: int
    federation: str
    service: str
    aggregation: str
    passed: dict[str, int]
    findings: tuple[Finding, ...]
    gated: bool | None = None  # whether versions had to pass a gate to serve; None without a service
    has_headers: bool = True

    @property
    def clean(self) -> bool:
        """Whether something was checked, and nothing was found wrong."""
        return not self.findings and any(self.passed.values())

    def of_nature(self, nature: Nature) -> int:
        """How many findings say this."""
        return sum(finding.nature is nature for finding in self.findings)

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """(check, times it held, times it failed), in the order of `CHECKS`."""
        failed = Counter(finding.check for finding in self.findings)
        for name in CHECKS:
            if self.passed.get(name, 0) or failed[name]:
                yield name, self.passed.get(name, 0), failed[name]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {**asdict(self), "clean": self.clean}


def cid_text(cid: bytes) -> str:
    """A binary CID as text; bytes that are not a CID in hexadecimal."""
    try:
        return str(Cid.from_binary(cid))
    except InvalidCid:
        return "0x" + cid.hex()


SEALED_CHECKS = (
    "sealed rules",
    "epoch",
    "enrolment",
    "roster",
    "group draw",
    "ready",
    "close",
    "counting groups",
    "round file",
    "record",
    "submission",
    "seed",
    "group norm",
)
"""Checks that only a federation of sealed rounds has."""

EVIDENCE_CHECKS = ("evidence rule", "evidence", "evidence data", "evidence kept")
"""Checks that only a federation has that asks for stored evidence."""

CHECKS: dict[str, str] = {
    "header": "the header of a block with events has the block's hash",
    "receipts": "the receipts of a block with events have the root in its header",
    "event": "an event is listed as its transaction's receipt has it, and every event there is listed",
    "transaction": "a transaction with events has its hash",
    "standing": "what the contracts say now is what their events come to, so that none is left out",
    "event order": "events follow one another as the contract tells them",
    "contracts": "the federation, its sidecars and the service are this package's contracts, made as it makes them",
    "rules": "the rules' hash is that of the rules the contract was created with, their aggregator is known",
    "round opening": "a round trains from the current model, its seed and deadline follow",
    "roll-up": "the store holds a roll-up's records, unaltered; their order and running totals follow",
    "relay": "the contract's verdict on every relayed update is the one its rules give",
    "membership": "who signed was a member when the update was relayed",
    "signature": "the member's key signed the statement (EIP-712)",
    "direct": "what a member submitted itself was included, or given up when its data did not come",
    "open time": "nothing is proposed or rolled up before members had their time to submit themselves",
    "order": "members whose updates were relayed stand in ascending address order",
    "weight": "the weight is the stated examples, capped",
    "update data": "the store holds the update, unaltered",
    "update root": "the update's tree has the signed root",
    "norm": "the update's sum of squares is the stated one and within the bound",
    "sealed rules": "the rules of sealed rounds are those that members sign, and fit the others",
    "epoch": "an epoch follows the one before, and fails only for want of members or in default",
    "enrolment": "the contract's verdict on every enrolment is the one its rules give, its signature's included",
    "roster": "the roster is of the members who enrolled, once each and in time, with the stated root",
    "group draw": "groups follow from the hash of a block after the roster was complete",
    "ready": "who is ready was stated once and in time; who adds itself stands at that place",
    "close": "a sealed round was closed once, in its epoch, over ready members",
    "counting groups": "groups that count have enough members, and are as many as the rules ask for",
    "round file": "the store holds a sealed round's file, unaltered, with the records on the chain",
    "record": "a record's place and weight follow from the submission of the member at that place",
    "submission": "what a member signed for a sealed round keeps the rules",
    "seed": "the revealed seeds are those that the members committed to",
    "group norm": "the norm of a group's sum is within the bound",
    "total weight": "a final round's total weight and count are those of its accepted updates",
    "quorum": "a final round has its quorum, a failed one has not or is past its deadline",
    "proposal": "a proposal states weight and challenge window; a final round is the last one, after it",
    "aggregate": "the accepted updates add up to the stated aggregation and sum",
    "model": "base plus what the rules' aggregator makes of the updates has the stated model root",
    "model data": "the store holds each model, unaltered, with the root on the chain",
    "evidence rule": "what must be stored of a round's evidence changes between rounds alone",
    "evidence": "where evidence must be stored, each proposal was made after naming where it lies",
    "evidence data": "the pieces that were named are made of the round's artefacts, each with its piece CID",
    "evidence kept": "the verifier of storage proofs says that the pieces are there now, and were proved not long ago",
    "version": "a version's round is final with its model root",
    "onnx data": "the store holds the version's ONNX file, unaltered",
    "onnx weights": "the ONNX file's weights are the round's model",
    "compiler": "the compiler that made the version's program has no known faults",
    "description": "the ONNX file names its classes and says what it is asked with, as the compiled program has it",
    "integer onnx": "compiling again gives the registered integer ONNX digest",
    "code hashes": "compiling again gives the registered code hashes",
    "code on chain": "the chain holds the code that was registered",
    "run files": "the files of the run's directory are those of the version, and of the gate's samples",
    "gate terms": "the gate's integers follow from its terms, which never change",
    "gate age": "the validation set was committed to before the federation's first round",
    "draw": "which samples were asked follows from the hash of a block after the registration",
    "sample": "each revealed sample is in the validation set, at the index that was drawn",
    "sample answer": "a sample's recorded answers are what the versions' code gives",
    "trial outcome": "how a trial ended follows from its answers",
    "promotion": "only versions serve that passed the gate",
    "decider": "a recorded decision is of the version that served, and of the account that asked for it",
    "decision": "a recorded decision's scores are what its version's code gives for its input",
}
