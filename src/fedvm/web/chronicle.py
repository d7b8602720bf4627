"""What the index says of a federation, put together for the pages; computed once for each state of the index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fedvm.protocol import Rules, Security
from fedvm.web.database import Index
from fedvm.web.moves import MOVES


@dataclass(frozen=True)
class Move:
    """One step in a round or trial: in plain words, with the transaction that made it."""

    text: str
    tx: str
    block: int
    time: int | None = None
    bad: bool = False


@dataclass
class RoundFacts:
    """A round. Counts are of updates; accuracy and loss are means by weight of what members state of their own tests
    (0 … 1, None for nothing stated); tested: accuracy on held-out data as the run states; gas: of all its transactions,
    None before it is known. state: "open", "rolled up", "proposed", "rejected", "final" or "failed"."""

    number: int
    state: str = "open"
    opened: int | None = None
    deadline: int = 0
    until: int = 0
    rules_hash: str = ""
    base_root: str = ""
    seed: str = ""
    roots: dict[str, str] = field(default_factory=dict)
    accepted: int = 0
    refused: int = 0
    capped: int = 0
    weight: int = 0
    accuracy: float | None = None
    loss: float | None = None
    tested: float | None = None
    seconds: float | None = None
    gas: int | None = None
    moves: list[Move] = field(default_factory=list)
    disputes: list[Move] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Final or failed."""
        return self.state in ("final", "failed")


@dataclass(frozen=True)
class MemberFacts:
    """A member: how many of its updates counted, were capped or refused; share: its mean share of the weight in final
    rounds, 0 … 1; client: its number in the run, None where no run says so."""

    address: str
    counted: int
    refused: int
    capped: int
    share: float
    is_member: bool
    client: int | None


@dataclass
class VersionFacts:
    """A version as it was registered. outcome: of its trial, "" without a gate, else "trying", "passed", "failed" or
    "lapsed"; answers: (label, answer) → how many samples of the trial."""

    number: int
    program: str
    gas: int
    federation: str
    round: int
    model_root: str
    digest: str
    onnx_cid: str
    parts: list[Mapping[str, str]]
    tx: str
    block: int
    time: int | None = None
    outcome: str = ""
    asked: int = 0
    right: int = 0
    better: int = 0
    worse: int = 0
    served: list[int] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    answers: dict[tuple[int, int], int] = field(default_factory=dict)


def rules_said(said: Mapping[str, Any]) -> Rules:
    """The rules in an event's fields, as the index holds them."""
    fields = {name: int(value) for name, value in said.items() if name != "aggregator"}
    return Rules(**fields, aggregator=bytes.fromhex(said["aggregator"][2:]))


_TRIALS = {3: "passed", 4: "failed", 5: "lapsed"}


class Chronicle:
    """The facts of one state of an index."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.revision = index.revision
        self.created: dict[str, Any] | None = None
        self.rules: Rules | None = None
        self.rules_hash = ""
        self.security: Security | None = None
        self.coordinator = self.owner = ""
        self.announced: dict[str, Any] | None = None
        self.members_now: set[str] = set()
        self.rounds: dict[int, RoundFacts] = {}
        self.versions: dict[int, VersionFacts] = {}
        self.gate: dict[str, Any] | None = None
        self.serving = 0
        self.epochs: list[Move] = []
        self._times = {row["block"]: row["time"] for row in index.rows("SELECT block, time FROM blocks")}
        for row, body in index.events():
            self._fold(row, body)
        self._count()

    @cached_property
    def report(self) -> dict[str, Any] | None:
        """What the run says of itself, None without a finished run."""
        text = self.index.meta("report")
        return dict(json.loads(text)) if text else None

    @property
    def is_sealed(self) -> bool:
        """Whether an epoch, a close or a sealed roll-up was seen."""
        return bool(self.epochs)

    @cached_property
    def title(self) -> str:
        """What the model is, in its owner's words."""
        if said := self.index.meta("title") or self.index.meta("name"):
            return said
        return f"{len(self.members_now)} members train one model" if self.members_now else "A federation"

    @cached_property
    def clients(self) -> dict[str, int]:
        """Member → its number in the run, if a run says so."""
        found: dict[str, int] = {}
        for row in (self.report or {}).get("rounds", ()):
            for member in row.get("members", ()):
                found[str(member.get("member"))] = int(member.get("client", 0))
        return found

    @property
    def live(self) -> RoundFacts | None:
        """The round that goes on, if one does."""
        last = max(self.rounds, default=0)
        return self.rounds[last] if last and not self.rounds[last].is_over else None

    @cached_property
    def members(self) -> list[MemberFacts]:
        """Members, and who was one, by their share of the say."""
        rows = self.index.rows(
            """SELECT u.member, SUM(u.reason = 0) AS counted, SUM(u.reason > 0) AS refused,
                 SUM(u.reason = 0 AND u.weight < u.examples) AS capped,
                 SUM(CASE WHEN u.reason = 0 THEN u.weight * 1.0 / t.total END) AS share
               FROM updates u LEFT JOIN (SELECT round, SUM(weight) AS total FROM updates WHERE reason = 0 AND round IN
                 (SELECT round FROM events WHERE name = 'RoundFinal') GROUP BY round) t ON u.round = t.round
               GROUP BY u.member"""
        )
        final = sum(one.state == "final" for one in self.rounds.values())
        told = {row["member"]: row for row in rows}
        found = []
        for address in self.members_now | set(told):
            row = told.get(address)
            share = 0.0 if row is None or not final else (row["share"] or 0.0) / final
            found.append(
                MemberFacts(
                    address,
                    counted=0 if row is None else row["counted"],
                    refused=0 if row is None else row["refused"],
                    capped=0 if row is None else row["capped"],
                    share=share,
                    is_member=address in self.members_now,
                    client=self.clients.get(address),
                )
            )
        return sorted(found, key=lambda one: (-one.share, one.client or 0, one.address))

    def time(self, block: int) -> int | None:
        """Unix seconds of a block, None before they are known."""
        return self._times.get(block)

    def _fold(self, row: Any, body: dict[str, Any]) -> None:
        name, number = row["name"], row["round"]
        match name:
            case "FederationCreated":
                self.created, self.owner, self.coordinator = body, body["owner"], body["coordinator"]
                self._adopt(body)
            case "RulesAdopted":
                self._adopt(body)
                self.announced = None
            case "RulesAnnounced":
                self.announced = body
            case "RulesCancelled":
                self.announced = None
            case "SecuritySet":
                self.security = Security(**{key: int(value) for key, value in body["security"].items()})
            case "CoordinatorReplaced":
                self.coordinator = body["coordinator"]
            case "MemberAdded":
                self.members_now.add(body["member"])
            case "MemberRemoved":
                self.members_now.discard(body["member"])
            case "GateFixed":
                self.gate = body
            case "VersionRegistered" | "TrialOpened" | "TrialDrawn" | "TrialEnded" | "VersionServes":
                self._fold_version(row, body)
            case _ if row["contract"] == "epochs":
                self._fold_epoch(row, body)
            case _ if number is not None:
                self._fold_round(row, body)

    def _adopt(self, body: dict[str, Any]) -> None:
        self.rules, self.rules_hash = rules_said(body["rules"]), body["rules_hash"]

    def _move(self, row: Any, text: str, *, bad: bool = False) -> Move:
        return Move(text, row["tx"], row["block"], self.time(row["block"]), bad)

    def _fold_round(self, row: Any, body: dict[str, Any]) -> None:
        told, name = self.rounds.setdefault(row["round"], RoundFacts(row["round"])), row["name"]
        if name == "RoundProposed":
            body |= {"in_turn": body["proposer"] == self.coordinator}
        if (told_of := MOVES.get(name)) is not None:
            step = self._move(row, told_of.text(body), bad=told_of.bad)
            (told.disputes if told_of.dispute else told.moves).append(step)
        match name:
            case "RoundOpened":
                told.opened, told.deadline = self.time(row["block"]), int(body["deadline"])
                told.rules_hash, told.base_root, told.seed = (
                    body["rules_hash"],
                    body["base_root"],
                    body["seed"],
                )
            case "RoundClosed":
                told.state = "rolled up"
            case "RollupSubmitted" | "SealedRollupSubmitted":
                told.state, told.accepted = "rolled up", body["accepted"]
                told.weight = int(body["total_weight"])
                told.files["records of the updates"] = body["cid"]
                told.roots["list of updates"] = body.get("records_root") or " ".join(body["peaks"][:1])
            case "RoundProposed":
                told.state, told.until = "proposed", int(body["until"])
                told.files["model"] = body["cid"]
                told.roots |= {
                    "new model": body["model_root"],
                    "sum of the updates": body["aggregate_root"],
                    "how the sum was made": body["aggregation_root"],
                }
            case "ChallengeExtended":
                told.until = int(body["until"])
            case "ProposalRejected":
                told.state = "rejected"
            case "RoundFinal":
                told.state, told.weight = "final", int(body["total_weight"])
                told.accepted = body["accepted"]
            case "RoundFailed":
                told.state = "failed"

    def _fold_epoch(self, row: Any, body: dict[str, Any]) -> None:
        number = body["epoch"] if "epoch" in body else body.get("number", "")
        texts = {
            "EpochOpened": f"Epoch {number} began: members may enrol.",
            "RosterClosed": f"Enrolment for epoch {number} ended.",
            "GroupsDrawn": f"The groups of epoch {number} were drawn by lot.",
            "ReadyStated": f"The coordinator said which members are ready in epoch {number}.",
            "EpochFailed": f"Epoch {number} was given up.",
        }
        if text := texts.get(row["name"]):
            self.epochs.append(self._move(row, text, bad=row["name"] == "EpochFailed"))

    def _fold_version(self, row: Any, body: dict[str, Any]) -> None:
        if row["name"] == "VersionRegistered":
            said = body["version"]
            registered = self.versions[body["id"]] = VersionFacts(
                number=body["id"],
                program=said["parts"][0]["account"],
                gas=int(said["gas"]),
                federation=said["federation"],
                round=int(said["round"]),
                model_root=said["model_root"],
                digest=said["integer_onnx_digest"],
                onnx_cid=said["onnx_cid"],
                parts=said["parts"],
                tx=row["tx"],
                block=row["block"],
                time=self.time(row["block"]),
            )
            registered.moves.append(self._move(row, "The owner registered the version."))
            return
        told = self.versions.get(body["version"])
        if told is None:
            return
        match row["name"]:
            case "TrialOpened":
                told.outcome = "trying"
            case "TrialDrawn":
                told.moves.append(self._move(row, "The samples that it is asked were drawn by lot."))
            case "TrialEnded":
                told.outcome = _TRIALS.get(body["outcome"], "lapsed")
                told.asked, told.right = body["asked"], body["right"]
                told.better, told.worse = body["better"], body["worse"]
                text = f"It {told.outcome} its trial: {told.right} of {told.asked} right."
                told.moves.append(self._move(row, text, bad=told.outcome != "passed"))
            case "VersionServes":
                self.serving = told.number
                told.served.append(row["block"])
                told.moves.append(self._move(row, "It began to answer questions."))

    def _count(self) -> None:
        """Add what only counting gives: updates, statements and gas of each round, answers of each trial."""
        for row in self.index.rows(
            """SELECT round, SUM(reason = 0) AS accepted, SUM(reason > 0) AS refused,
                 SUM(reason = 0 AND weight < examples) AS capped, SUM(weight) AS weight,
                 SUM(weight * 1.0 * accuracy_ppm) AS right, SUM(weight * 1.0 * loss_micros) AS loss,
                 SUM(CASE WHEN loss_micros IS NOT NULL THEN weight END) AS stating
               FROM updates GROUP BY round"""
        ):
            if (told := self.rounds.get(row["round"])) is None:
                continue
            told.accepted, told.refused, told.capped = row["accepted"], row["refused"], row["capped"]
            told.weight = row["weight"] or told.weight
            if row["weight"] and (row["right"] or row["loss"]):
                told.accuracy = row["right"] / row["weight"] / 1e6
                told.loss = row["loss"] / row["stating"] / 1e6 if row["stating"] else None
        for row in self.index.rows(
            """SELECT t.round AS round, SUM(r.gas) AS gas FROM (SELECT round, tx FROM events WHERE round IS NOT NULL
                 UNION SELECT round, tx FROM updates) t JOIN receipts r ON r.tx = t.tx GROUP BY t.round"""
        ):
            if (told := self.rounds.get(row["round"])) is not None:
                told.gas = row["gas"]
        for number, said in json.loads(self.index.meta("rounds") or "{}").items():
            if (told := self.rounds.get(int(number))) is not None:
                told.tested, told.seconds = said.get("test_accuracy"), said.get("seconds")
        for row in self.index.rows(
            "SELECT version, label, answer, COUNT(*) AS times FROM samples GROUP BY version, label, answer"
        ):
            if (version := self.versions.get(row["version"])) is not None:
                version.answers[row["label"], row["answer"]] = row["times"]
