"""A CycloneDX ML-BOM (specification 1.6) with a model card: https://cyclonedx.org/docs/1.6/json/."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import fedvm
from fedvm.audit.findings import cid_text
from fedvm.exports.facts import Facts, Source, VersionFacts
from fedvm.exports.figures import LIMITS, figures, needed_version, task_of, trained_in
from fedvm.exports.text import TO_WRITE, hexadecimal, json_bytes, moment

_DECIMALS: Final = 6
_MODEL: Final = "model"
_SAMPLES: Final = "validation-samples"
_UPDATES: Final = "members-updates"


def cyclonedx_files(facts: Facts) -> dict[str, bytes]:
    """`bom.cdx.json`. Raises NothingToExport without a version."""
    return {"bom.cdx.json": json_bytes(bill_of_materials(facts))}


def bill_of_materials(facts: Facts) -> dict[str, Any]:
    """The bill as plain data. Raises NothingToExport without a version."""
    version = needed_version(facts)
    parts = [*_programs(facts, version), *_data(facts, version)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, _identity(facts, version))}",
        "version": 1,
        "metadata": {
            "timestamp": moment(facts.block_time),
            "tools": {"components": [{"type": "application", "name": "fedvm", "version": fedvm.__version__}]},
            "component": _model(facts, version),
        },
        "components": parts,
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"], "dependsOn": []} for part in parts),
        ],
    }


def _identity(facts: Facts, version: VersionFacts) -> str:
    """The same for the same state of the chain, and no other."""
    assert facts.service is not None
    return f"{facts.account(facts.service.address)}/{version.number}@{facts.block}"


def _model(facts: Facts, version: VersionFacts) -> dict[str, Any]:
    said = version.version
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": version.title,
        "version": str(version.number),
    }
    if version.onnx is not None:
        found["hashes"] = [{"alg": "SHA-256", "content": version.onnx_sha256}]
    references = [{"type": "distribution", "url": f"ipfs://{cid_text(said.onnx_cid)}"}]
    return {
        **found,
        "externalReferences": references,
        "modelCard": _card(facts, version),
        "properties": [
            *_cited("fedvm:version", str(version.number), version.source),
            *_properties("fedvm:integerOnnxSha256", said.integer_onnx_digest.hex()),
            *_lineage(facts, version),
            *(_properties("fedvm:missing", version.missing) if version.missing else ()),
        ],
    }


def _lineage(facts: Facts, version: VersionFacts) -> list[dict[str, str]]:
    said = version.version
    if not said.has_lineage:
        return _properties("fedvm:lineage", "none")
    return [
        *_properties("fedvm:federation", facts.account(said.federation)),
        *_properties("fedvm:round", str(said.round)),
        *_properties("fedvm:modelRoot", hexadecimal(said.model_root)),
    ]


def _card(facts: Facts, version: VersionFacts) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "approach": {"type": "supervised"},
        "task": task_of(version),
        "datasets": [{"ref": part["bom-ref"]} for part in _data(facts, version)],
    }
    described = version.description
    if described is not None:
        shape = "×".join(map(str, described.input.shape))
        parameters["inputs"] = [{"format": f"uint8 [{shape}] {described.input.layout}".strip()}]
        parameters["outputs"] = [
            {"format": f"{len(described.classes)} scores: {', '.join(described.classes)}"}
        ]
    measured = list(figures(version))
    found: dict[str, Any] = {"modelParameters": parameters}
    if measured:
        metrics = []
        for one in measured:
            metric = {"type": one.name, "value": f"{one.value:.{_DECIMALS}f}"}
            metrics.append(metric | ({"slice": one.part} if one.part else {}))
        found["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    found["considerations"] = {
        "users": [TO_WRITE],
        "useCases": [TO_WRITE],
        "technicalLimitations": list(LIMITS),
        "ethicalConsiderations": [{"name": TO_WRITE, "mitigationStrategy": TO_WRITE}],
    }
    if measured:
        found["properties"] = _cited("fedvm:trial", f"{measured[0].asked} samples", measured[0].source)
    return found


def _programs(facts: Facts, version: VersionFacts) -> list[dict[str, Any]]:
    """The contracts that compute the model."""
    return [
        {
            "type": "file",
            "bom-ref": f"program-{part.account}",
            "name": facts.account(part.account),
            "description": "Runtime code of a contract that computes the model",
            "hashes": [{"alg": "SHA-256", "content": sha256(version.codes[part.account]).hexdigest()}],
            "properties": _cited("fedvm:keccak256", hexadecimal(part.code_hash), version.source),
        }
        for part in version.version.parts
    ]


def _data(facts: Facts, version: VersionFacts) -> list[dict[str, Any]]:
    """What is known of data: the updates of members, whose examples stay with them, and the validation set."""
    found: list[dict[str, Any]] = []
    told = trained_in(facts, version)
    if told is not None and told.final_rounds:
        last = told.final_rounds[-1]
        assert last.ended is not None
        found.append(
            {
                "type": "data",
                "bom-ref": _UPDATES,
                "name": f"Updates of members of {facts.account(told.address)}",
                "description": f"{last.accepted} updates made the model of round {last.number}. Members send updates, "
                "and no examples.",
                "data": [{"type": "dataset", "classification": TO_WRITE}],
                "properties": _cited("fedvm:accepted", str(last.accepted), last.ended),
            }
        )
    gate = None if facts.service is None else facts.service.gate
    if gate is not None:
        found.append(
            {
                "type": "data",
                "bom-ref": _SAMPLES,
                "name": f"Validation samples committed to in {facts.account(gate.address)}",
                "description": f"{gate.terms.samples} samples, of which trials have disclosed {len(gate.samples)}",
                "data": [{"type": "dataset", "classification": TO_WRITE}],
                "properties": _cited("fedvm:samplesRoot", hexadecimal(gate.terms.samples_root), gate.source),
            }
        )
    return found


def _cited(name: str, value: str, source: Source) -> list[dict[str, str]]:
    """A property, and the event and the command that say it."""
    place = f"{source.event} of {source.contract}, block {source.block}, log {source.log_index}, {source.tx}"
    return [
        *_properties(name, value),
        *_properties(f"{name}:event", place),
        *_properties(f"{name}:command", source.command),
    ]


def _properties(name: str, value: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value}]
