"""Do the sources compile with every compiler that their pragmas allow?

    python contracts/tools/matrix.py    # each source with each compiler that its pragma allows

Interfaces, and what they import, are for other people's projects: their pragmas are loose (`^`). They are compiled as
such a project would do it: without the other sources, with the compiler's own defaults. Contracts that are deployed
have an exact pragma, since the package ships their code; forge builds them.

The compilers are those of npm's `solc` that package.json names. The oldest that a pragma allows must be among them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent.parent
SOLC = CONTRACTS / "tools" / "solc"
PRAGMA = re.compile(r"^pragma solidity (\^?)(\d+\.\d+\.\d+);$", re.MULTILINE)
Version = tuple[int, ...]


@dataclass(frozen=True)
class Pragma:
    """Which compilers a source allows: one, or one and all later ones of its minor version."""

    oldest: Version
    loose: bool

    def allows(self, version: Version) -> bool:
        if not self.loose:
            return version == self.oldest
        return version[:2] == self.oldest[:2] and version >= self.oldest


def parsed(text: str) -> Version:
    return tuple(map(int, text.split(".")))


def spelled(version: Version) -> str:
    return ".".join(map(str, version))


def compilers(package: Path = CONTRACTS / "package.json") -> dict[Version, str]:
    """Version → the name of the npm package that has it, the oldest first."""
    wanted: dict[str, str] = json.loads(package.read_text())["devDependencies"]
    found = {}
    for name, version in wanted.items():
        if name == "solc" or name.startswith("solc-"):
            found[parsed(re.sub(r"^npm:solc@|-fixed$", "", version))] = name
    return dict(sorted(found.items()))


def pragma(source: Path) -> Pragma:
    """
    Raises:
        SystemExit: The source has not one pragma of the form `0.8.37` or `^0.8.37`.
    """
    found = PRAGMA.findall(source.read_text())
    if len(found) != 1:
        raise SystemExit(f"{source}: one line like `pragma solidity ^0.8.27;` is wanted; mend it")
    loose, oldest = found[0]
    return Pragma(parsed(oldest), bool(loose))


def complaints(package: str, sources: list[Path], root: Path = CONTRACTS) -> list[str]:
    """What a compiler says of sources that it reads with all that they import, warnings too. Paths are below `root`."""
    names = [source.relative_to(root).as_posix() for source in sources]
    request = {
        "language": "Solidity",
        "sources": {
            name: {"content": source.read_text()} for name, source in zip(names, sources, strict=True)
        },
        "settings": {"outputSelection": {name: {"*": ["abi", "evm.bytecode.object"]} for name in names}},
    }
    roots = ["--base-path", str(root), "--include-path", str(CONTRACTS / "node_modules")]
    done = subprocess.run(
        [SOLC, "--standard-json", *roots],
        input=json.dumps(request),
        env={**os.environ, "FEDVM_SOLC": package},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{package} failed:\n{done.stderr}")
    said = json.loads(done.stdout).get("errors", [])
    return [error["formattedMessage"] for error in said if error["severity"] != "info"]


def plan(sources: list[Path], known: list[Version]) -> dict[Version, list[Path]]:
    """Which sources with loose pragmas each compiler takes.

    Raises:
        SystemExit: A pragma's oldest compiler is not known, or an exact pragma names another than the newest.
    """
    planned: dict[Version, list[Path]] = {version: [] for version in known}
    for source in sources:
        allowed = pragma(source)
        if allowed.oldest not in known:
            raise SystemExit(
                f"{source.name}: package.json has no solc {spelled(allowed.oldest)}; add it, or mend the pragma"
            )
        if not allowed.loose and allowed.oldest != max(known):
            raise SystemExit(f"{source.name}: is pinned to another compiler than {spelled(max(known))}")
        if allowed.loose:
            for version in filter(allowed.allows, known):
                planned[version].append(source)
    return planned


def check() -> int:
    """Compile what the loose pragmas allow; forge builds the others. Returns how many compilers complain."""
    known = compilers()
    failures = 0
    for version, sources in plan(sorted((CONTRACTS / "src").rglob("*.sol")), list(known)).items():
        said = complaints(known[version], sources) if sources else []
        print(f"solc {spelled(version)}: {len(sources)} sources, {len(said)} complaints", flush=True)
        print("\n".join(said), end="")
        failures += bool(said)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    return int(check() > 0)


if __name__ == "__main__":
    sys.exit(main())
