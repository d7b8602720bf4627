"""An in-toto Statement (v1) about the versions of a model, with the federation's lineage as its predicate.

The statement's fields: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The predicate has the
parts of SLSA's provenance (https://slsa.dev/spec/v1.0/provenance): a build definition, and details of its run. Its type
is its own, since nobody built the model alone.
"""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final

from fedvm.audit.findings import cid_text
from fedvm.exports.errors import NothingToExport
from fedvm.exports.facts import Facts, FederationFacts, RoundFacts, ServiceFacts, UpdateFacts, VersionFacts
from fedvm.exports.text import hexadecimal, json_bytes, moment, source_json

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "urn:fedvm:federated-provenance:v1"
_BUILD: Final = "urn:fedvm:federated-learning:v1"


def in_toto_files(facts: Facts) -> dict[str, bytes]:
    """`statement.json`, unsigned. Raises NothingToExport where there is neither a version nor a final round."""
    return {"statement.json": json_bytes(statement(facts))}


def statement(facts: Facts) -> dict[str, Any]:
    """The statement as plain data. Raises NothingToExport where there is neither a version nor a final round."""
    subjects = _subjects(facts)
    if not subjects:
        raise NothingToExport(
            "there is neither a version nor a final round yet: export when a round is final"
        )
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": _parameters(facts),
                "resolvedDependencies": _dependencies(facts),
            },
            "runDetails": _details(facts),
        },
    }


def _subjects(facts: Facts) -> list[dict[str, Any]]:
    """What the statement is about. A model without a version has the digest of its root alone."""
    found: list[dict[str, Any]] = []
    for version in () if facts.service is None else facts.service.versions:
        said = version.version
        name = f"version-{version.number}"
        if version.onnx is not None:
            found.append({"name": f"{name}/model.onnx", "digest": {"sha256": version.onnx_sha256}})
        digest = said.integer_onnx_digest.hex()
        found.append({"name": f"{name}/model.int.onnx", "digest": {"sha256": digest}})
        for part in said.parts:
            hashes = {
                "sha256": sha256(version.codes[part.account]).hexdigest(),
                "keccak256": part.code_hash.hex(),
            }
            found.append({"name": f"{name}/program/{part.account}", "digest": hashes})
    if not found and facts.federation is not None and facts.federation.final_rounds:
        last = facts.federation.final_rounds[-1]
        digest = last.model_root.hex()
        found.append({"name": f"round-{last.number}/model", "digest": {"fedvmModelRoot": digest}})
    return found


def _parameters(facts: Facts) -> dict[str, Any]:
    """What owners decided: rules, members and the gate."""
    found: dict[str, Any] = {"chainId": facts.chain_id}
    if (told := facts.federation) is not None:
        found["federation"] = {
            "account": facts.account(told.address),
            "owner": facts.account(told.owner),
            "aggregator": told.aggregator,
            "sealed": told.is_sealed,
            "openMembership": told.is_open,
            "security": {**asdict(told.security), "source": source_json(told.security_source)},
            "rules": [
                {
                    **asdict(one.rules),
                    "aggregator": hexadecimal(one.rules.aggregator),
                    "rules_hash": hexadecimal(one.digest),
                    "source": source_json(one.source),
                }
                for one in told.rules
            ],
            "members": [
                {"account": facts.account(one.address), "source": source_json(one.source)}
                for one in told.members
            ],
        }
    if facts.service is not None:
        found["service"] = _service(facts, facts.service)
    return found


def _service(facts: Facts, service: ServiceFacts) -> dict[str, Any]:
    found: dict[str, Any] = {
        "account": facts.account(service.address),
        "owner": facts.account(service.owner),
        "source": source_json(service.source),
        "gate": None,
    }
    if service.gate is not None:
        terms = service.gate.terms
        found["gate"] = {
            **asdict(terms),
            "samples_root": hexadecimal(terms.samples_root),
            "source": source_json(service.gate.source),
        }
    return found


def _dependencies(facts: Facts) -> list[dict[str, Any]]:
    """What the models were made from: the first model, and each update that counted."""
    told = facts.federation
    if told is None:
        return []
    found = [
        {
            "name": "first-model",
            "uri": f"ipfs://{cid_text(told.model_cid)}",
            "digest": {"fedvmModelRoot": told.model_root.hex()},
            "annotations": {"source": source_json(told.source)},
        }
    ]
    for number, update in ((one.number, update) for one in told.rounds for update in one.updates):
        if not update.refusal:
            found.append(
                {
                    "name": f"round-{number}/{update.member}",
                    "uri": f"ipfs://{cid_text(update.cid)}",
                    "annotations": {
                        "weight": update.weight,
                        "attested": _attested(update),
                        "source": source_json(update.source),
                    },
                }
            )
    return found


def _attested(update: UpdateFacts) -> dict[str, int]:
    """What the member signed of its data and its model, which nobody has proved."""
    names = ("examples", "labels", "accuracy_ppm", "loss_micros", "epsilon_micros")
    return {name: getattr(update, name) for name in names}


def _details(facts: Facts) -> dict[str, Any]:
    told, service = facts.federation, facts.service
    versions = () if service is None else service.versions
    found: dict[str, Any] = {}
    if told is not None:
        found["builder"] = {"id": facts.account(told.coordinator)}
        found["metadata"] = {
            "invocationId": facts.account(told.address),
            "startedOn": moment(told.created_at),
            "finishedOn": moment(facts.block_time),
        }
    elif service is not None:
        found["builder"] = {"id": facts.account(service.owner)}
        found["metadata"] = {
            "invocationId": facts.account(service.address),
            "finishedOn": moment(facts.block_time),
        }
    found["rounds"] = [] if told is None else [_round(one) for one in told.rounds]
    found["versions"] = [_version(facts, told, one) for one in versions]
    return found


def _round(one: RoundFacts) -> dict[str, Any]:
    found: dict[str, Any] = {
        "round": one.number,
        "state": one.state,
        "openedAt": moment(one.opened_at),
        "baseRoot": hexadecimal(one.base_root),
        "rulesHash": hexadecimal(one.rules_hash),
        "proposals": one.proposals,
        "refused": [
            {"member": update.member, "reason": update.refusal, "source": source_json(update.source)}
            for update in one.updates
            if update.refusal
        ],
        "opened": source_json(one.opened),
    }
    if one.missing:
        found["missing"] = one.missing
    if one.ended is not None:
        found |= {"endedAt": moment(one.ended_at), "ended": source_json(one.ended)}
    if one.state == "final":
        found |= {
            "accepted": one.accepted,
            "totalWeight": one.total_weight,
            "modelRoot": hexadecimal(one.model_root),
            "aggregateRoot": hexadecimal(one.aggregate_root),
            "model": f"ipfs://{cid_text(one.model_cid)}",
        }
    return found


def _version(facts: Facts, told: FederationFacts | None, one: VersionFacts) -> dict[str, Any]:
    said, trial = one.version, one.trial
    found: dict[str, Any] = {
        "version": one.number,
        "title": one.title,
        "registeredAt": moment(one.registered_at),
        "onnx": f"ipfs://{cid_text(said.onnx_cid)}",
        "integerOnnxSha256": said.integer_onnx_digest.hex(),
        "program": facts.account(said.program),
        "codeIsAsRegistered": one.is_as_registered,
        "source": source_json(one.source),
    }
    if one.missing:
        found["missing"] = one.missing
    if one.recipe is not None:
        found["compiler"] = {"version": one.recipe.compiler, "options": one.recipe.options}
    if said.has_lineage:
        found["lineage"] = {
            "federation": facts.account(said.federation),
            "round": said.round,
            "modelRoot": hexadecimal(said.model_root),
            "isThisFederation": told is not None and told.address == said.federation,
        }
    if trial is not None:
        found["trial"] = {
            "outcome": trial.state.name.lower(),
            "asked": trial.asked,
            "right": trial.right,
            "better": trial.better,
            "worse": trial.worse,
            "rival": trial.rival,
            "source": source_json(trial.source),
        }
    return found
