"""Prove the rules of contracts/test/symbolic with Halmos, and see that each of them can fail.

    python contracts/tools/prove.py --halmos .venv-prove/bin/halmos [--only rules|reached|canaries] [--match Round]

rules: every `check_` function of every contract called …Proofs must be proved.
reached: in a copy of the proofs all of whose assertions are false, every rule must be refuted; one that is not looks at
nothing, because what it assumes, or the call that it makes, cannot be.
canaries: in a copy of the contracts with one line broken for each entry of `canaries.json`, the rule that the entry
names must be refuted.

Fails where one of these does not hold, and names the rules. What Halmos has proved or refuted is kept in
contracts/proofs.json, by the digest of the code that it ran: a run that was interrupted goes on where it stopped, and
after a change only what the change reaches is run again. --again runs all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent.parent
PROOFS = Path("test", "symbolic")
CANARIES = CONTRACTS / PROOFS / "canaries.json"
KEPT = CONTRACTS / "proofs.json"
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
NAMES = {name: code for code, name in OUTCOMES.items()}


@dataclass(frozen=True)
class Canary:
    """A line to break, and the rule that must see it."""

    contract: str
    rule: str
    file: str
    old: str
    new: str


Kept = dict[str, str | int]


class Outcomes:
    """What Halmos found of a rule, by the digest of the code of its contract: {digest: {rule: {outcome, seconds}}}.

    The code of a contract of proofs holds that of every contract that it puts in place, so whatever is changed in
    either changes the digest. Rules that Halmos could not decide are not kept.
    """

    def __init__(self, path: Path, again: bool) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._again = again
        self._known = self._read()

    def of(self, digest: str, rule: str) -> int | None:
        """Halmos' exit code for a rule, if it is known."""
        found = None if self._again else self._known.get(digest, {}).get(rule)
        return None if found is None else NAMES[str(found["outcome"])]

    def add(self, digest: str, contract: str, rule: str, code: int, seconds: int) -> None:
        if code not in (PROVED, REFUTED):
            return
        with self._lock:
            # Another run of this command, over other contracts, may have written meanwhile.
            self._known = self._known | self._read()
            kept: Kept = {"contract": contract, "outcome": OUTCOMES[code], "seconds": seconds}
            self._known.setdefault(digest, {})[rule] = kept
            self._write()

    def forget_all_but(self, digests: set[str]) -> None:
        """Drop what was found of other code than this."""
        with self._lock:
            self._known = {digest: rules for digest, rules in self._known.items() if digest in digests}
            self._write()

    def _read(self) -> dict[str, dict[str, Kept]]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def _write(self) -> None:
        ordered = {digest: dict(sorted(self._known[digest].items())) for digest in sorted(self._known)}
        beside = self._path.with_suffix(".part")
        beside.write_text(json.dumps(ordered, indent=1) + "\n")
        beside.replace(self._path)


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
    """A line that several rules must see is broken once."""
    for (file, old, new), rule in {(one.file, one.old, one.new): one.rule for one in broken}.items():
        path = root / file
        source = path.read_text()
        if source.count(old) != 1:
            raise SystemExit(f"canaries.json: {file} has not one {old!r}; mend the entry of {rule}")
        path.write_text(source.replace(old, new))


def digest_of(root: Path, contract: str) -> str:
    """Of the code of a contract of proofs, how Halmos is called, and which Halmos it is."""
    artefact = json.loads((root / OUT / f"{contract}.t.sol" / f"{contract}.json").read_text())
    version = (CONTRACTS / "symbolic-requirements.txt").read_text()
    annotations = re.findall(r"@custom:halmos.*", (root / PROOFS / f"{contract}.t.sol").read_text())
    parts = [artefact["bytecode"]["object"], json.dumps(artefact["abi"]), *OPTIONS, version, *annotations]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def run(halmos: Path, root: Path, contract: str, rule: str) -> tuple[int, int]:
    """Halmos' exit code for a rule, and how many seconds it took."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "out.json")
        chosen = ["--match-contract", f"^{contract}$", "--match-test", f"^{rule}\\("]
        command = [halmos, "--root", root, *OPTIONS, *chosen, "--json-output", output]
        done = subprocess.run(
            [str(part) for part in command], env=environment(), cwd=root, capture_output=True, text=True
        )
        if not output.exists():
            raise SystemExit(f"halmos failed on {contract}.{rule}:\n{done.stdout}{done.stderr}")
        tests = json.loads(output.read_text())["test_results"]
    (result,) = [result for found in tests.values() for result in found]
    return result["exitcode"], round(result["time"][0])


def environment() -> dict[str, str]:
    binaries = CONTRACTS / "node_modules" / ".bin"
    return {**os.environ, "FOUNDRY_PROFILE": "prove", "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}


def build(root: Path) -> None:
    """Once, before several ask for it at a time; as Halmos asks."""
    command = ["forge", "build", "--ast", "--root", str(root), "--extra-output", "storageLayout", "metadata"]
    subprocess.run(command, env=environment(), cwd=root, check=True)


@dataclass(frozen=True)
class Stage:
    """What must come of rules in one tree of sources."""

    root: Path
    wanted: dict[str, list[str]]
    outcome: int


def hold(halmos: Path, stage: Stage, known: Outcomes, jobs: int) -> tuple[list[str], set[str]]:
    """Runs the rules, and returns a line for each whose outcome is another, and the digests of what was run."""
    build(stage.root)
    digests = {contract: digest_of(stage.root, contract) for contract in stage.wanted}

    def decide(contract: str) -> dict[str, int]:
        codes: dict[str, int] = {}
        for rule in stage.wanted[contract]:
            code = known.of(digests[contract], rule)
            if code is None:
                code, seconds = run(halmos, stage.root, contract, rule)
                known.add(digests[contract], contract, rule, code, seconds)
                print(f"  {contract}.{rule}: {OUTCOMES[code]}, {seconds} s", flush=True)
            codes[rule] = code
        return codes

    wrong: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        runs = {contract: pool.submit(decide, contract) for contract in stage.wanted}
        for contract, future in runs.items():
            for rule, code in future.result().items():
                if code != stage.outcome:
                    wrong.append(f"{contract}.{rule}: {OUTCOMES[code]}")
    return wrong, set(digests.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--halmos", type=Path, required=True, help="the command")
    parser.add_argument("--only", choices=("rules", "reached", "canaries"))
    parser.add_argument("--match", default="", help="contracts whose name has this in it")
    parser.add_argument("--again", action="store_true", help="run what is known, too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="contracts at a time")
    arguments = parser.parse_args()
    halmos = arguments.halmos.resolve()
    every = {contract: names for contract, names in rules().items() if arguments.match in contract}
    broken = [canary for canary in canaries() if arguments.match in canary.contract]
    named: dict[str, list[str]] = {}
    for canary in broken:
        named.setdefault(canary.contract, []).append(canary.rule)
    known = Outcomes(KEPT, arguments.again)
    wrong: list[str] = []
    digests: set[str] = set()

    def check(root: Path, wanted: dict[str, list[str]], outcome: int) -> None:
        found, seen = hold(halmos, Stage(root, wanted, outcome), known, arguments.jobs)
        wrong.extend(found)
        digests.update(seen)

    if arguments.only in (None, "rules"):
        print(f"{sum(map(len, every.values()))} rules must be proved", flush=True)
        check(CONTRACTS, every, PROVED)
    if arguments.only in (None, "reached"):
        with tempfile.TemporaryDirectory() as directory:
            copy_of_the_project(Path(directory), arguments.match)
            make_every_assertion_false(Path(directory))
            print("each must be refuted where its assertions are false", flush=True)
            check(Path(directory), every, REFUTED)
    if arguments.only in (None, "canaries"):
        with tempfile.TemporaryDirectory() as directory:
            copy_of_the_project(Path(directory), arguments.match)
            break_a_line_for_each(Path(directory), canaries())
            print(f"{len(broken)} must be refuted where a line of a contract is broken", flush=True)
            check(Path(directory), named, REFUTED)
    if arguments.only is None and not arguments.match:
        known.forget_all_but(digests)
    if wrong:
        sys.exit("not as they must be:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
