"""What a model service and its gate say now, compared with what their events come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.findings import Ledger, Place
from fedvm.audit.standing import TRANSFERRED, check_holders, numbered, owners_told
from fedvm.chain.call import read
from fedvm.chain.gate import (
    GateFixed,
    PromotionGate,
    Trial,
    TrialDrawn,
    TrialEnded,
    TrialOpened,
    TrialState,
)
from fedvm.chain.model_service import ModelService, Version


def check_service(service: ModelService, reader: ChainReader, ledger: Ledger, first_block: int) -> None:
    """Check that every version, change of the serving version, and decision is among the events, and as it is kept."""
    contract, head = service.contract, reader.head
    owners = owners_told(contract, reader, first_block)
    check_holders("owner", owners, read(contract, "owner", block=head), TRANSFERRED, ledger)
    versions = list(service.versions(first=first_block, last=head))
    count = read(contract, "versionCount", block=head)
    numbered((event.id for event in versions), count, "version", "versionCount", ledger)
    for event in versions:
        if not 0 < event.id <= count:
            continue  # a finding already
        kept = Version.of(read(contract, "version", event.id, block=head))
        stated = asdict(event.version)
        for name, value in asdict(kept).items():
            place = Place(version=event.id, tx=event.at.tx_hash, event="VersionRegistered", field=name)
            ledger.check("standing", stated[name] == value, place, f"the contract keeps another {name}")
    previous = 0
    for change in service.served(first=first_block, last=head):
        place = Place(version=change.version, tx=change.at.tx_hash, event="VersionServes", field="previous")
        message = f"serves after {change.previous}, by the events before it after {previous}"
        ledger.check("standing", change.previous == previous, place, message)
        previous = change.version
    serving = read(contract, "currentVersion", block=head)
    message = f"version {previous} serves by the events, version {serving} by what the contract says"
    ledger.check("standing", previous == serving, Place(version=previous, field="currentVersion"), message)
    numbers = (one.id for one in service.decisions(first=first_block, last=head))
    decisions = read(contract, "decisionCount", block=head)
    numbered(numbers, decisions, "decision", "decisionCount", ledger)


def check_trials(gate: PromotionGate, events: Sequence[Any], reader: ChainReader, ledger: Ledger) -> None:
    """Check that what the gate keeps of its trials is what its events come to."""
    head, contract = reader.head, gate.contract
    trials: dict[int, dict[str, Any]] = {}
    told: dict[int, str] = {}
    lost = 0
    for event in events:
        if isinstance(event, GateFixed):
            continue
        one, tx = trials.setdefault(event.version, {}), event.at.tx_hash
        told.setdefault(event.version, tx)
        match event:
            case TrialOpened():
                one |= {
                    "state": TrialState.REGISTERED,
                    "rival": event.rival,
                    "seed_block": event.seed_block,
                    "bond": event.bond,
                }
                message = f"is stated as attempt {event.attempt}, {lost} were lost before it"
                place = Place(version=event.version, tx=tx, event="TrialOpened", field="attempt")
                ledger.check("standing", event.attempt == lost + 1, place, message)
            case TrialDrawn():
                one |= {"state": TrialState.DRAWN, "until": event.until, "seed": event.seed}
            case TrialEnded():
                counts = ("asked", "right", "better", "worse")
                one |= {name: getattr(event, name) for name in counts} | {"state": event.outcome}
                lost += event.outcome is not TrialState.PASSED
                one.pop("bond", None)  # it is given back or burnt
    for version, stated in trials.items():
        kept = asdict(Trial.of(read(contract, "trial", version, block=head)))
        for name, value in stated.items():
            place = Place(version=version, tx=told[version], field=name)
            message = (
                f"its trial has {name} = {_shown(value)} by the events, the gate keeps {_shown(kept[name])}"
            )
            ledger.check("standing", value == kept[name], place, message)
    says = read(contract, "trialsLost", block=head)
    message = f"{lost} trials were lost by the events, {says} by what the gate says"
    ledger.check("standing", lost == says, Place(field="trialsLost"), message)


def _shown(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
