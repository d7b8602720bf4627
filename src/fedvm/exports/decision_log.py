"""The log of a service's decisions as JSON Lines: what Article 12 of Regulation (EU) 2024/1689 asks to be recorded.

Each line is an event while the system was in use: a version that began to serve, or a decision, in the order of the
chain. Inputs are named by their hashes; of those that the chain holds it says so, and the command shows them.
"""

from __future__ import annotations

from typing import Any

from fedvm.exports.errors import NothingToExport
from fedvm.exports.facts import DecisionFacts, Facts, ServedFacts, ServiceFacts
from fedvm.exports.text import hexadecimal, json_line, moment, source_json


def decision_log_files(facts: Facts) -> dict[str, bytes]:
    """`decisions.jsonl`. Raises NothingToExport without a service."""
    if facts.service is None:
        raise NothingToExport("no model service is named, whose decisions could be logged: name one")
    return {"decisions.jsonl": b"".join(map(json_line, log_entries(facts, facts.service)))}


def log_entries(facts: Facts, service: ServiceFacts) -> list[dict[str, Any]]:
    """The entries as plain data, in the order of the chain."""
    told: list[ServedFacts | DecisionFacts] = [*service.served, *service.decisions]
    told.sort(key=lambda one: (one.source.block, one.source.log_index))
    return [
        _served(facts, service, one) if isinstance(one, ServedFacts) else _decided(facts, service, one)
        for one in told
    ]


def _served(facts: Facts, service: ServiceFacts, one: ServedFacts) -> dict[str, Any]:
    return {
        "time": moment(one.at),
        "event": "version serves",
        "system": facts.account(service.address),
        "version": one.version,
        "previous_version": one.previous,
        "source": source_json(one.source),
    }


def _decided(facts: Facts, service: ServiceFacts, one: DecisionFacts) -> dict[str, Any]:
    said = one.decision
    return {
        "time": moment(one.at),
        "event": "decision",
        "system": facts.account(service.address),
        "id": said.id,
        "version": said.version,
        "caller": facts.account(said.caller),
        "input_hash": hexadecimal(said.input_hash),
        "input_on_chain": said.input is not None,
        "label": said.label,
        "class": one.class_name,
        "scores_hash": hexadecimal(said.scores_hash),
        "scores": None if said.scores is None else list(said.scores),
        "source": source_json(one.source),
    }
