"""Compares the files of a run's directory with what the chain and the store have.

Who is handed a directory reads them. What is in them has no weight in an audit. But a manifest that describes another
program, or another program beside a true manifest, misleads whoever asks the service by it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedvm.audit.findings import Ledger, Place
from fedvm.chain.model_service import ModelService, Version
from fedvm.compiler import CompiledModel
from fedvm.jsontext import parse_json
from fedvm.protocol import EncodingError, Sample
from fedvm.protocol.samples import SampleTree
from fedvm.store.unixfs import cid_of

PROVENANCE = (
    *("quality", "max_gas", "stages"),
    *("source_sha256", "calibration_sha256", "calibration_samples"),
)
"""Parts of a manifest that tell how a program was first compiled and measured, and not what it is: an audit compiles
from the bytes that the store has, in one piece, and measures nothing."""
LEAST = ("min_agreement", "min_correlation")
"""Options of the compiler that decide whether there is a program, and not which."""


@dataclass(frozen=True)
class RunFiles:
    """Files that a run leaves beside its chain and store. program: addresses that its deployment.json names."""

    directory: Path
    program: Sequence[str]

    def check(
        self,
        service: ModelService,
        versions: Mapping[int, tuple[Version, CompiledModel]],
        registered: int,
        ledger: Ledger,
    ) -> None:
        """Check the files that are there. versions: those that could be compiled again, by number. registered: how many
        there are."""
        number, version, compiled = self._version(versions)
        names = "deployment.json"
        message = "names contracts as the program that are no registered version's"
        if version is None and len(versions) < registered:
            ledger.unverified("run files", Place(file=names), "not all versions could be compiled again")
        elif ledger.check("run files", version is not None, Place(file=names), message):
            assert version is not None and compiled is not None
            self._check_program(number, version, compiled, ledger)
        gate = service.gate()
        if gate is not None and (file := self.directory / "gate-samples.npz").is_file():
            root = _samples_root(file)
            message = "the samples in it are not the validation set that the gate commits to"
            ledger.check("run files", root == gate.terms().samples_root, Place(file=file.name), message)

    def _version(
        self, versions: Mapping[int, tuple[Version, CompiledModel]]
    ) -> tuple[int, Version | None, CompiledModel | None]:
        for number, (version, compiled) in sorted(versions.items(), reverse=True):
            if [part.account for part in version.parts] == list(self.program):
                return number, version, compiled
        return 0, None, None

    def _check_program(self, number: int, version: Version, compiled: CompiledModel, ledger: Ledger) -> None:
        reference = compiled.reference.SerializeToString(deterministic=True)
        expected: dict[str, bytes] = {
            "model.int.onnx": hashlib.sha256(reference).digest(),
            "program/model.int.onnx": hashlib.sha256(reference).digest(),
        }
        for unit in compiled.units:
            expected[f"program/{unit.name}.bin"] = hashlib.sha256(unit.code).digest()
        for name, digest in expected.items():
            self._check_file(
                name, number, ledger, lambda data, digest=digest: hashlib.sha256(data).digest() == digest
            )
        self._check_file("model.onnx", number, ledger, lambda data: cid_of(data).binary == version.onnx_cid)
        self._check_file(
            "program/manifest.json", number, ledger, lambda data: _manifest(data) == _manifest_of(compiled)
        )

    def _check_file(self, name: str, number: int, ledger: Ledger, holds: Any) -> None:
        file = self.directory / name
        if file.is_file():
            place = Place(version=number, file=name)
            ledger.check(
                "run files", bool(holds(file.read_bytes())), place, "is not that of the version on chain"
            )


def _manifest(data: bytes) -> Any:
    try:
        manifest = parse_json(data)
        kept = {name: value for name, value in manifest.items() if name not in PROVENANCE}
        options = {name: value for name, value in kept["options"].items() if name not in LEAST}
        given = {name: value for name, value in kept["input"].items() if name != "float"}
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    return {**kept, "options": options, "input": given}


def _manifest_of(compiled: CompiledModel) -> Any:
    return _manifest(json.dumps(compiled.manifest).encode())


def _samples_root(file: Path) -> bytes:
    try:
        with np.load(file, allow_pickle=False) as held:
            rows = zip(held["salts"], held["labels"], held["inputs"], strict=True)
            samples = tuple(Sample(salt.tobytes(), int(label), data.tobytes()) for salt, label, data in rows)
        return SampleTree(samples).root
    except (OSError, ValueError, KeyError, EncodingError, zipfile.BadZipFile):
        return b""
