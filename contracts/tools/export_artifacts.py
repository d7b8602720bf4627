"""Write the contracts' artefacts into the Python package, or check that they are up to date.

`forge build` leaves one JSON file per contract in contracts/out/. This takes from it what a user without a
Solidity compiler needs (ABI and code), with the settings and the sources' hash that it was built from.
Standard library only.

    python contracts/tools/export_artifacts.py           # write src/fedvm/chain/artifacts/*.json
    python contracts/tools/export_artifacts.py --check   # exit 1 if they differ from contracts/out/

`--out DIR` reads another output folder (that of `forge build --out DIR`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parent.parent
ARTIFACTS = CONTRACTS.parent / "src" / "fedvm" / "chain" / "artifacts"
NAMES = (
    "FederationFactory",
    "Federation",
    "Disputes",
    "Rollups",
    "DirectSubmissions",
    "RuleBook",
    "SealedDisputes",
    "SealedRounds",
    "SealedCourt",
    "Epochs",
    "ModelService",
    "PromotionGate",
    "InferenceSession",
    "LocalPDPVerifier",
)
SETTINGS = ("optimizer", "evmVersion", "viaIR")


class ArtifactError(Exception):
    """An artefact is missing, unlinked or differs; the message says what to do."""


def source_hash(sources: Mapping[str, Any]) -> str:
    """Return "sha256:…" over the paths and bytes of all `sources` (project-relative), in path order.

    Paths are relative to contracts/, so that the hash says the same wherever the project lies.
    """
    digest = hashlib.sha256()
    for name in sorted(sources):
        content = (CONTRACTS / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def read_code(built: Mapping[str, Any], field: str, name: str) -> str:
    """Return the hex code of `field` ("bytecode" or "deployedBytecode"), refusing unlinked libraries."""
    if built[field].get("linkReferences"):
        raise ArtifactError(f"{name} has unlinked libraries in its {field}; make their functions internal")
    return str(built[field]["object"])


def make_artifact(name: str, out: Path) -> dict[str, Any]:
    """Return the artefact of contract `name` from forge's output folder `out`.

    Raises ArtifactError if forge has not built it.
    """
    path = out / f"{name}.sol" / f"{name}.json"
    if not path.is_file():
        raise ArtifactError(f"{out} has no {name}; run `npx forge build` in contracts/ first")
    built = json.loads(path.read_text(encoding="utf-8"))
    metadata = built["metadata"]
    settings = {key: metadata["settings"][key] for key in SETTINGS if key in metadata["settings"]}
    return {
        "contractName": name,
        "abi": built["abi"],
        "bytecode": read_code(built, "bytecode", name),
        "deployedBytecode": read_code(built, "deployedBytecode", name),
        "compiler": {"name": "solc", "version": metadata["compiler"]["version"], "settings": settings},
        "sourceHash": source_hash(metadata["sources"]),
    }


def render(artifact: Mapping[str, Any]) -> str:
    """Return the artefact as JSON text that is the same on every machine."""
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as stream:
        stream.write(text)
    Path(stream.name).chmod(0o644)
    Path(stream.name).replace(path)


def differing_fields(path: Path, artifact: Mapping[str, Any]) -> list[str]:
    """Return the fields in which the file at `path` differs from `artifact`, or ["file"] if there is none."""
    if not path.is_file():
        return ["file"]
    shipped = json.loads(path.read_text(encoding="utf-8"))
    return sorted(key for key in shipped.keys() | artifact.keys() if shipped.get(key) != artifact.get(key))


def check(artifacts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ArtifactError naming every artefact, and its fields, that differs from what forge built."""
    differing = {
        name: fields
        for name, artifact in artifacts.items()
        if (fields := differing_fields(ARTIFACTS / f"{name}.json", artifact))
    }
    if differing:
        details = "; ".join(f"{name}.json ({', '.join(fields)})" for name, fields in differing.items())
        raise ArtifactError(
            f"src/fedvm/chain/artifacts differs from contracts/src: {details}. Run `npx forge build` in "
            "contracts/, then `python contracts/tools/export_artifacts.py`, and commit the result."
        )


def main() -> int:
    """Export or check; return the exit status."""
    parser = argparse.ArgumentParser(description="Export the contracts' artefacts into the Python package.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the artefacts differ")
    parser.add_argument("--out", type=Path, default=CONTRACTS / "out", help="forge's output folder")
    arguments = parser.parse_args()
    try:
        artifacts = {name: make_artifact(name, arguments.out) for name in NAMES}
        if arguments.check:
            check(artifacts)
        else:
            for name, artifact in artifacts.items():
                write_atomically(ARTIFACTS / f"{name}.json", render(artifact))
    except ArtifactError as error:
        print(f"export_artifacts: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
