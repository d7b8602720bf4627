"""Entries for public registers of algorithms: the Dutch one, the Eurocities standard, and the United Kingdom's.

Fields by: the Dutch register's publication standard 1.0 (https://algoritmes.overheid.nl), the Eurocities Algorithmic
Transparency Standard 0.3.1 (https://www.algorithmregister.org/standard), and the Algorithmic Transparency Recording
Standard's data standard (https://www.gov.uk/government/collections/algorithmic-transparency-recording-standard-hub).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from fedvm.exports.facts import Facts, Source, VersionFacts
from fedvm.exports.figures import LIMITS, figures, needed_version, trained_in
from fedvm.exports.text import TO_WRITE, json_bytes, moment, source_json

_SHORT: Final = 150
"""Characters of the Eurocities standard's short description."""
_DUTCH: Final = (
    "name organization description_short category status begin_date contact_email website publication_category goal "
    "proportionality human_intervention risks lawful_basis impacttoetsen source_data methods_and_models provider lang "
    "standard_version source_id tags"
)
_EUROCITIES: Final = (
    "standard_version uuid lang publication_date last_change_date revision_date name organization department country "
    "contact_email description_short status decision_making_process domain area goal impact risks risk_category "
    "proportionality lawful_basis training_data source_data connected_data_sources description algorithm_type "
    "methods_and_models performance type monitoring human_intervention objection_procedure rollback"
)
_UK: Final = (
    "name description website contact_email organisation team senior_responsible_owner external_supplier "
    "external_supplier_role data_access_terms scope benefit alternatives_considered model_type frequency_usage phase "
    "maintenance system_architecture process_integration provided_information human_decisions required_training "
    "appeals_and_review source_data_name source_data_description data_collection data_sharing_agreements "
    "data_access_and_storage impact_assessment_name impact_assessment_description risk_name risk_description "
    "risk_mitigation"
)


def register_files(facts: Facts) -> dict[str, bytes]:
    """An entry a register, and `sources.json`: where what is filled in is said. Raises NothingToExport
    without a version."""
    version = needed_version(facts)
    known = _known(facts, version)
    entries = {
        "nl-algoritmeregister.json": _entry(_DUTCH, known | _dutch(facts, version)),
        "eurocities.json": _entry(_EUROCITIES, known | _eurocities(facts, version)),
        "uk-atrs.json": _entry(_UK, known | _uk(facts, version)),
    }
    cited = {
        what: [source_json(one) for one in sources] for what, sources in _sources(facts, version).items()
    }
    files = {name: json_bytes(entry) for name, entry in entries.items()}
    return {**files, "sources.json": json_bytes({"block": facts.block, "sources": cited})}


def _entry(fields: str, known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: known.get(name, TO_WRITE) for name in fields.split()}


def _known(facts: Facts, version: VersionFacts) -> dict[str, Any]:
    """What the registers have in common."""
    return {
        "name": version.title,
        "methods_and_models": _method(facts, version),
        "source_data": f"{_data(facts, version)} {TO_WRITE}",
        "training_data": f"{_data(facts, version)} {TO_WRITE}",
    }


def _dutch(facts: Facts, version: VersionFacts) -> dict[str, Any]:
    return {
        "description_short": f"{_summary(version)} {TO_WRITE}",
        "category": None,
        "begin_date": None,
        "website": None,
        "lang": "ENG",
        "standard_version": "1.0",
        "source_id": _identity(facts),
        "tags": "federated learning",
    }


def _eurocities(facts: Facts, version: VersionFacts) -> dict[str, Any]:
    return {
        "standard_version": "0.3.1",
        "uuid": str(uuid5(NAMESPACE_URL, _identity(facts))),
        "lang": "en",
        "last_change_date": moment(facts.block_time)[:10],
        "description_short": f"{_summary(version)} {TO_WRITE}"[:_SHORT],
        "description": f"{_method(facts, version)} {' '.join(LIMITS)}",
        "algorithm_type": "self-learning",
        "performance": _performance(version),
        "rollback": "The owner of the service can let a version serve again that served before. What was "
        f"decided stays on record. {TO_WRITE}",
    }


def _uk(facts: Facts, version: VersionFacts) -> dict[str, Any]:
    assert facts.service is not None
    decisions = facts.service.decisions
    return {
        "description": f"{_summary(version)} {TO_WRITE}",
        "model_type": _method(facts, version),
        "frequency_usage": f"{len(decisions)} decisions are recorded on chain up to block {facts.block}. {TO_WRITE}",
        "provided_information": f"A class and a score for each of {len(version.classes) or 'its'} classes. {TO_WRITE}",
        "source_data_description": f"{_data(facts, version)} {TO_WRITE}",
        "risk_description": f"{' '.join(LIMITS)} {TO_WRITE}",
        "system_architecture": None,
        "website": None,
    }


def _identity(facts: Facts) -> str:
    assert facts.service is not None
    return facts.account(facts.service.address)


def _summary(version: VersionFacts) -> str:
    return f"A classifier whose answers a public contract computes (version {version.number})."


def _method(facts: Facts, version: VersionFacts) -> str:
    said, told = version.version, trained_in(facts, version)
    how = (
        f"A neural network or tree ensemble in {len(said.parts)} contracts at {facts.account(said.program)}."
    )
    if told is None:
        return how
    return (
        f"{how} It was trained by federated learning ({told.aggregator}) by {len(told.members)} members of "
        f"{facts.account(told.address)}; the version is the model of round {said.round}."
    )


def _data(facts: Facts, version: VersionFacts) -> str:
    told = trained_in(facts, version)
    if told is None:
        return ""
    rounds = len(told.final_rounds)
    return (
        f"{len(told.members)} members train on data of theirs, and send updates; {rounds} rounds are final."
    )


def _performance(version: VersionFacts) -> str:
    overall = next(figures(version), None)
    if overall is None:
        return f"Nothing on chain says how good the model is. {TO_WRITE}"
    return (
        f"{overall.value:.2%} of {overall.asked} samples, drawn from a validation set that was committed to "
        f"beforehand, were right. {TO_WRITE}"
    )


def _sources(facts: Facts, version: VersionFacts) -> dict[str, list[Source]]:
    """What is filled in, by what it is about."""
    assert facts.service is not None
    told = trained_in(facts, version)
    rounds = () if told is None else told.final_rounds
    return {
        "version": [version.source],
        "performance": [] if version.trial is None else [version.trial.source],
        "members": [] if told is None else [one.source for one in told.members],
        "rounds": [one.ended for one in rounds if one.ended is not None],
        "decisions": [one.source for one in facts.service.decisions],
    }
