"""Prove the rules of contracts/test/symbolic with Halmos, and see that each of them can fail.

    python contracts/tools/prove.py --halmos .venv-prove/bin/halmos [--only rules|reached|canaries] [--match Round]

rules: every `check_` function of every contract called …Proofs must be proved.
reached: in a copy of the proofs all of whose assertions are false, every rule must be refuted; one that is not looks at
nothing, because what it assumes, or the call that it makes, cannot be.
canaries: in a copy of the contracts with one line broken for each entry of `canaries.json`, the rule that the entry
names must be refuted.

Fails where one of these does not hold, and names the rules.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent.parent
PROOFS = Path("test", "symbolic")
CANARIES = CONTRACTS / PROOFS / "canaries.json"
OUT = Path("cache", "prove", "out")
# Arrays of one element, bytes as long as a CID, and a solver that may think: what Halmos gives up on is no proof.
OPTIONS = (
    *(
        "--forge-build-out",
        str(OUT),
        "--loop",
        "34",
        "--default-array-lengths",
        "1",
        "--default-bytes-lengths",
        "36",
    ),
    *(
        "--solver-timeout-assertion",
        "120s",
        "--solver-timeout-branching",
        "2s",
        "--early-exit",
        "--no-status",
    ),
)
PROVED, REFUTED = 0, 1
OUTCOMES = {0: "proved", 1: "refuted", 2: "timed out", 3: "stuck", 4: "always reverts", 5: "error"}


@dataclass(frozen=True)
class Canary:
    """A line to break, and the rule that must see it."""

    contract: str
    rule: str
    file: str
    old: str
    new: str


def canaries() -> list[Canary]:
    return [Canary(**entry) for entry in json.loads(CANARIES.read_text())]


def rules(root: Path = CONTRACTS) -> dict[str, list[str]]:
    """Contract → its rules, as the sources name them."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / PROOFS).glob("*.t.sol")):
        source = path.read_text()
        contract = re.search(r"^contract (\w+Proofs) ", source, re.MULTILINE)
        if contract is None:
            raise SystemExit(f"{path.name} has no contract called …Proofs")
        found[contract[1]] = re.findall(r"function (check_\w+)\(", source)
    return found


def copy_of_the_project(where: Path, match: str = "") -> None:
    """Its sources, and of the proofs those of contracts whose name has `match` in it."""
    for name in ("src", "test", "tools"):
        shutil.copytree(CONTRACTS / name, where / name)
    for path in (where / PROOFS).glob("*.t.sol"):
        if match not in path.name:
            path.unlink()
    shutil.copy(CONTRACTS / "foundry.toml", where)
    (where / "node_modules").symlink_to((CONTRACTS / "node_modules").resolve())


def make_every_assertion_false(root: Path) -> None:
    for path in (root / PROOFS).glob("*.t.sol"):
        source = re.sub(r"\bassert\(", "_denied(", path.read_text())
        path.write_text(source + "\nfunction _denied(bool) pure {\n    assert(false);\n}\n")


def break_a_line_for_each(root: Path, broken: list[Canary]) -> None:
    for canary in broken:
        path = root / canary.file
        source = path.read_text()
        if source.count(canary.old) != 1:
            raise SystemExit(
                f"canaries.json: {canary.file} has not one {canary.old!r}; mend the entry of {canary.rule}"
            )
        path.write_text(source.replace(canary.old, canary.new))


def run(halmos: Path, root: Path, contract: str, only: list[str]) -> dict[str, int]:
    """Rule → Halmos' exit code. All rules of the contract, or some."""
    chosen = f"^({'|'.join(only)})\\("
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "out.json")
        command = [
            halmos,
            "--root",
            root,
            *OPTIONS,
            "--match-contract",
            f"^{contract}$",
            "--match-test",
            chosen,
        ]
        done = subprocess.run(
            [str(part) for part in (*command, "--json-output", output)],
            env=environment(),
            cwd=root,
            capture_output=True,
            text=True,
        )
        if not output.exists():
            raise SystemExit(f"halmos failed on {contract}:\n{done.stdout}{done.stderr}")
        results = json.loads(output.read_text())["test_results"]
    return {
        result["name"].split("(")[0]: result["exitcode"] for tests in results.values() for result in tests
    }


def environment() -> dict[str, str]:
    binaries = CONTRACTS / "node_modules" / ".bin"
    return {**os.environ, "FOUNDRY_PROFILE": "prove", "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}


def build(root: Path) -> None:
    """Once, before several ask for it at a time; as Halmos asks."""
    command = ["forge", "build", "--ast", "--root", str(root), "--extra-output", "storageLayout", "metadata"]
    subprocess.run(command, env=environment(), cwd=root, check=True)


def hold(halmos: Path, root: Path, wanted: dict[str, list[str]], outcome: int, jobs: int) -> list[str]:
    """Runs the rules, and returns a line for each whose outcome is another."""
    build(root)
    wrong: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        runs = {contract: pool.submit(run, halmos, root, contract, only) for contract, only in wanted.items()}
        for contract, future in runs.items():
            results = future.result()
            for rule in wanted[contract]:
                code = results.get(rule)
                if code != outcome:
                    wrong.append(f"{contract}.{rule}: {'not run' if code is None else OUTCOMES[code]}")
            print(f"  {contract}: {len(wanted[contract])} rules", flush=True)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--halmos", type=Path, required=True, help="the command")
    parser.add_argument("--only", choices=("rules", "reached", "canaries"))
    parser.add_argument("--match", default="", help="contracts whose name has this in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="contracts at a time")
    arguments = parser.parse_args()
    halmos = arguments.halmos.resolve()
    every = {contract: names for contract, names in rules().items() if arguments.match in contract}
    broken = [canary for canary in canaries() if arguments.match in canary.contract]
    wrong: list[str] = []
    if arguments.only in (None, "rules"):
        print(f"{sum(map(len, every.values()))} rules must be proved", flush=True)
        wrong += hold(halmos, CONTRACTS, every, PROVED, arguments.jobs)
    if arguments.only in (None, "reached"):
        with tempfile.TemporaryDirectory() as directory:
            copy_of_the_project(Path(directory), arguments.match)
            make_every_assertion_false(Path(directory))
            print("each must be refuted where its assertions are false", flush=True)
            wrong += hold(halmos, Path(directory), every, REFUTED, arguments.jobs)
    if arguments.only in (None, "canaries"):
        named: dict[str, list[str]] = {}
        for canary in broken:
            named.setdefault(canary.contract, []).append(canary.rule)
        with tempfile.TemporaryDirectory() as directory:
            copy_of_the_project(Path(directory), arguments.match)
            break_a_line_for_each(Path(directory), broken)
            print(f"{len(broken)} must be refuted where a line of a contract is broken", flush=True)
            wrong += hold(halmos, Path(directory), named, REFUTED, arguments.jobs)
    if wrong:
        sys.exit("not as they must be:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
