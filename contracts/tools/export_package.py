"""Write what the npm package holds beside the sources, or check that it is up to date.

    python contracts/tools/export_package.py           # write abi/, layouts/ and addresses.json in contracts/
    python contracts/tools/export_package.py --check   # exit 1 if they differ from contracts/out/ and the artefacts

abi: of the interfaces, of the contracts that ship compiled, and of the adapters. layouts: where each contract with
state keeps it, so that a change of storage is seen in a review. addresses.json: where the factory and what it installs
lie on each chain with the common CREATE2 deployer; needs the Python package. What an interface promises must be in
words, too: a function, parameter, event or error without them is refused.

`--out DIR` reads another output folder (that of `forge build --out DIR`).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export_artifacts import CONTRACTS, NAMES, ArtifactError, write_atomically

ADAPTERS = ("VersionRegistry", "ExecutionVerifier")
FOLDERS = ("abi", "layouts")
ADDRESSES = "addresses.json"
AST_IDS = re.compile(r"\)\d+")
"""Numbers of declarations in names of types: another order of compilation gives other ones."""


def built(out: Path, source: str, name: str) -> Mapping[str, Any]:
    """What forge wrote of contract `name` of `source`.

    Raises ArtifactError if there is nothing.
    """
    path = out / source / f"{name}.json"
    if not path.is_file():
        raise ArtifactError(f"{out} has no {name}; run `node_modules/.bin/forge build` in contracts/ first")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def interfaces() -> list[tuple[str, str]]:
    """Source and name of each interface that others import."""
    found = [(path.name, path.stem) for path in sorted((CONTRACTS / "src" / "interfaces").glob("*.sol"))]
    return [*found, ("IERC7992.sol", "IERC7992Registry"), ("IERC7992.sol", "IERC7992Verifier")]


def wordless(name: str, metadata: Mapping[str, Any], abi: list[Mapping[str, Any]]) -> Iterator[str]:
    """What of an interface has no words: a function, its parameters or what it returns, an event, an error."""
    user, developer = metadata["output"]["userdoc"], metadata["output"]["devdoc"]
    for one in abi:
        kind = {"function": "methods", "event": "events", "error": "errors"}[one["type"]]
        signature = f"{one['name']}({','.join(map(spelled, one['inputs']))})"
        said, detail = user.get(kind, {}).get(signature), developer.get(kind, {}).get(signature, {})
        told = detail[0] if isinstance(detail, list) else detail
        if kind != "methods":
            if not said:
                yield f"{name}.{signature}"
            continue
        if not said and not told.get("returns"):
            yield f"{name}.{signature}"
        missing = {argument["name"] for argument in one["inputs"]} - told.get("params", {}).keys()
        yield from (f"{name}.{signature}: {argument}" for argument in sorted(missing))
        if len(told.get("returns", {})) != len(one["outputs"]):
            yield f"{name}.{signature}: what it returns"


def spelled(parameter: Mapping[str, Any]) -> str:
    """A type as signatures spell it."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(spelled, parameter['components']))}){kind.removeprefix('tuple')}"


def layout(storage: Mapping[str, Any]) -> dict[str, Any]:
    """The compiler's description of storage without what changes from one compilation to the next: the variables, and
    the members of each struct."""
    types = storage["types"] or {}
    structs = {
        AST_IDS.sub(")", name): [variable(member) for member in kind["members"]]
        for name, kind in types.items()
        if "members" in kind
    }
    return {
        "storage": [variable(one) for one in storage["storage"]],
        "structs": dict(sorted(structs.items())),
    }


def variable(described: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": described["label"],
        "slot": int(described["slot"]),
        "offset": described["offset"],
        "type": AST_IDS.sub(")", described["type"]),
    }


def addresses() -> dict[str, Any]:
    """By chain id: where the common deployer puts the factory, and the factory the rest."""
    from fedvm.chain.create2 import DEPLOYER
    from fedvm.chain.factory import shared_addresses
    from fedvm.chain.networks import EMBEDDED, NETWORKS

    # Filecoin's gas lets nobody put the common deployer there: each account has a copy, and addresses of its own.
    shared = [network for network in NETWORKS if not network.is_filecoin and network is not EMBEDDED]
    chains = {
        str(network.chain_id): {"name": network.name, "contracts": shared_addresses()}
        for network in sorted(shared, key=lambda network: network.chain_id)
    }
    return {"deployer": DEPLOYER, "salt": "0x" + 64 * "0", "chains": chains}


def package(out: Path) -> dict[str, str]:
    """Path below contracts/ → text, of each file.

    Raises ArtifactError, also where an interface has something without words.
    """
    files, without = {}, []
    for source, name in interfaces():
        contract = built(out, source, name)
        # Forge leaves the words of events and errors out of `metadata`.
        without += list(wordless(name, json.loads(contract["rawMetadata"]), contract["abi"]))
        files[f"abi/{name}.json"] = lines(contract["abi"])
    if without:
        raise ArtifactError("say in NatSpec what these are: " + "; ".join(without))
    for name in (*NAMES, *ADAPTERS):
        contract = built(out, f"{name}.sol", name)
        if "storageLayout" not in contract:
            raise ArtifactError(f"{out} has no storage layouts: build with contracts/foundry.toml as it is")
        files[f"abi/{name}.json"] = lines(contract["abi"])
        if contract["storageLayout"]["storage"]:
            files[f"layouts/{name}.json"] = text(layout(contract["storageLayout"]))
    return {**files, ADDRESSES: text(addresses())}


def lines(abi: list[Any]) -> str:
    """An ABI as JSON, a line for each function, event and error."""
    return "[\n" + ",\n".join(json.dumps(one, separators=(",", ":")) for one in abi) + "\n]\n"


def text(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"


def present() -> dict[str, str]:
    """Path below contracts/ → text, of each file that lies there."""
    paths = [path for folder in FOLDERS for path in (CONTRACTS / folder).glob("*.json")]
    paths += [path for path in [CONTRACTS / ADDRESSES] if path.is_file()]
    return {path.relative_to(CONTRACTS).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def main() -> int:
    """Export or check; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file differs")
    parser.add_argument("--out", type=Path, default=CONTRACTS / "out", help="forge's output folder")
    arguments = parser.parse_args()
    try:
        wanted, found = package(arguments.out), present()
        differing = sorted(
            path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)
        )
        if differing and arguments.check:
            raise ArtifactError(
                f"{', '.join(differing)} differ from contracts/src: run `node_modules/.bin/forge build` in contracts/, "
                "then `python contracts/tools/export_package.py`, read the difference, and commit it"
            )
        for path in differing:
            if path in wanted:
                write_atomically(CONTRACTS / path, wanted[path])
            else:
                (CONTRACTS / path).unlink()
    except ArtifactError as error:
        print(f"export_package: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
