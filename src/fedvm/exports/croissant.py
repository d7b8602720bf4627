"""The disclosed samples of a committed validation set as a Croissant 1.0 data set.

The format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from fedvm.exports.errors import NothingToExport
from fedvm.exports.facts import Facts, GateFacts, VersionFacts
from fedvm.exports.text import TO_WRITE, hexadecimal, json_bytes, moment

_TABLE: Final = "samples.csv"
_COLUMNS: Final = {
    "index": ("sc:Integer", "Index of the sample in the committed set"),
    "label": ("sc:Integer", "Class of the sample, an index into the classes"),
    "answer": ("sc:Integer", "Class that the version answered; 4294967295 if it gave no answer"),
    "version": ("sc:Integer", "Version whose trial disclosed the sample"),
    "number": ("sc:Integer", "Number of the sample in that trial"),
    "block": ("sc:Integer", "Block of the event SampleAsked"),
    "log_index": ("sc:Integer", "Number of the event in its block"),
    "transaction": (
        "sc:Text",
        "Hash of the transaction, whose input holds the sample and its path to the commitment",
    ),
    "salt": ("sc:Text", "The sample's salt, 32 bytes in hexadecimal"),
    "input": ("sc:Text", "The bytes that the model takes, in hexadecimal"),
}
"""Type and meaning of each column. Class names are no column: a spreadsheet might take one for a formula."""
_TERMS: Final = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}


def croissant_files(facts: Facts) -> dict[str, bytes]:
    """`croissant.json` and `samples.csv`. Raises NothingToExport while no sample is disclosed."""
    gate = None if facts.service is None else facts.service.gate
    if gate is None or not gate.samples:
        raise NothingToExport(
            "no sample of a committed validation set is disclosed: that takes a gate, and a trial in it"
        )
    rows = _table(gate)
    return {"croissant.json": json_bytes(_data_set(facts, gate, facts.latest, rows)), _TABLE: rows}


def _table(gate: GateFacts) -> bytes:
    lines = [",".join(_COLUMNS)]
    for one in gate.samples:
        values = {
            "index": one.index,
            "label": one.sample.label,
            "answer": one.answer,
            "version": one.version,
            "number": one.number,
            "block": one.source.block,
            "log_index": one.source.log_index,
            "transaction": one.source.tx,
            "salt": hexadecimal(one.sample.salt),
            "input": hexadecimal(one.sample.input),
        }
        lines.append(",".join(str(values[name]) for name in _COLUMNS))
    return ("\n".join(lines) + "\n").encode()


def _data_set(facts: Facts, gate: GateFacts, version: VersionFacts | None, rows: bytes) -> dict[str, Any]:
    terms = gate.terms
    root, source, account = hexadecimal(terms.samples_root), gate.source, facts.account(gate.address)
    missing = f" {gate.missing}." if gate.missing else ""
    classes = version.classes if version is not None else ()
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": f"validation-samples-{gate.address}",
        "description": f"{len(gate.samples)} samples that trials have disclosed, of the {terms.samples} to whose "
        f"Merkle root {root} the gate {account} is committed. The others are secret. Said by {source.event} in block "
        f"{source.block}, transaction {source.tx}; `{source.command}` checks each sample.{missing}",
        "citeAs": account,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": TO_WRITE,
        "creator": {"@type": "sc:Organization", "name": TO_WRITE},
        "datePublished": moment(facts.block_time)[:10],
        "version": f"{facts.block}.0.0",
        "url": TO_WRITE,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": _TABLE,
                "name": _TABLE,
                "contentUrl": _TABLE,
                "encodingFormat": "text/csv",
                "sha256": sha256(rows).hexdigest(),
            }
        ],
        "recordSet": [_samples(), *([_classes(classes)] if classes else [])],
    }


def _samples() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"samples/{name}",
                "name": name,
                "description": meaning,
                "dataType": kind,
                "source": {"fileObject": {"@id": _TABLE}, "extract": {"column": name}},
            }
            for name, (kind, meaning) in _COLUMNS.items()
        ],
    }


def _classes(names: tuple[str, ...]) -> dict[str, Any]:
    fields = {"label": "sc:Integer", "name": "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "key": {"@id": "classes/label"},
        "field": [
            {"@type": "cr:Field", "@id": f"classes/{name}", "name": name, "dataType": kind}
            for name, kind in fields.items()
        ],
        "data": [{"classes/label": label, "classes/name": name} for label, name in enumerate(names)],
    }
