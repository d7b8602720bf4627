"""Standard-JSON inputs of the Solidity compiler for the shipped contracts, by which explorers verify their source.

Sourcify and Blockscout take such a file, compile it, and compare the code. The shipped code has no metadata appended
(`bytecode_hash = "none"`), so the code is the same wherever it is built, and a match is one of the code, not of a hash
of the sources.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fedvm.chain.artifacts import CONTRACT_NAMES, load_artifact
from fedvm.files import write_atomically
from fedvm.pipeline.errors import UsageError

_IMPORT: Final = re.compile(r"""^\s*import\s+(?:[^;"']*?\sfrom\s+)?["']([^"']+)["']""", re.MULTILINE)
_REMAPPED: Final = "@openzeppelin/"
_REMAPPING: Final = f"{_REMAPPED}=node_modules/{_REMAPPED}"


def write_standard_json(contracts: Path, folder: Path) -> list[Path]:
    """Write NAME.json for each shipped contract into a folder, which is made; returns the files.

    contracts: the folder `contracts` of a checkout with its dependencies installed.

    Raises:
        UsageError: sources are missing, or are not those that the shipped code was built from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in CONTRACT_NAMES:
        file = folder / f"{name}.json"
        write_atomically(file, json.dumps(standard_json(contracts, name), indent=1, sort_keys=True) + "\n")
        written.append(file)
    return written


def standard_json(contracts: Path, name: str) -> dict[str, Any]:
    """The input for one contract; raises as `write_standard_json`."""
    main = _main_file(contracts, name)
    sources = dict(_sources(contracts, main))
    artifact = load_artifact(name)
    if (found := _hash(sources)) != artifact.source_hash:
        raise UsageError(
            f"the sources of {name} in {contracts} are not those of the shipped code ({found}, wanted "
            f"{artifact.source_hash}): check out the version of FedVM that is installed"
        )
    return {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in sources.items()},
        "settings": {
            **artifact.settings,
            "remappings": [_REMAPPING],
            "metadata": {"bytecodeHash": "none", "appendCBOR": False},
            "outputSelection": {main: {name: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
        },
    }


def _main_file(contracts: Path, name: str) -> str:
    found = sorted((contracts / "src").rglob(f"{name}.sol"))
    if not found:
        raise UsageError(
            f"{contracts} has no source of {name}: give the folder contracts of a checkout of FedVM with --contracts"
        )
    return found[0].relative_to(contracts).as_posix()


def _sources(contracts: Path, main: str) -> Iterator[tuple[str, str]]:
    """The file and all that it imports, by the paths under which the compiler knows them."""
    waiting, seen = [main], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            text = (contracts / path).read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{contracts / path}: {error.strerror}; run npm ci in {contracts}") from None
        yield path, text
        for named in _IMPORT.findall(text):
            if named.startswith("."):
                waiting.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), named)))
            elif named.startswith(_REMAPPED):
                waiting.append(f"node_modules/{named}")
            else:
                waiting.append(named)


def _hash(sources: dict[str, str]) -> str:
    """The hash that an artefact has of the sources that it was built from."""
    digest = hashlib.sha256()
    for name in sorted(sources):
        content = sources[name].encode()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"
