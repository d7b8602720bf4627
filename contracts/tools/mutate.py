"""Would the Solidity tests see a wrong contract? Change one thing at a time in contracts/src and run them.

The mutants are those of slither's mutators (operators, constants, conditions, removed statements); `slither-mutate`
runs all of them in place, for hours, and cannot go on where it stopped. This draws a seeded sample of them, tests each
in a copy of the project, and keeps what it found; a file that changed is sampled anew, the others are not:

    python contracts/tools/mutate.py                 # go on with the sample in contracts/mutation.json
    python contracts/tools/mutate.py --report        # print what is known
    python contracts/tools/mutate.py --count 500 --seed 1

A mutant meets the tests that import least of the project first, since compiling takes most of the time; what those
let live meets all. It is killed if a test fails. `equivalent` are those that compile to the very same code; `invalid`
do not compile and are drawn again. Survivors are explained in contracts/survivors.json: mutant → why nothing can
see it; those that are not explained there are tested again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parent.parent
SOURCES = CONTRACTS / "src"
RESULTS = CONTRACTS / "mutation.json"
SURVIVORS = CONTRACTS / "survivors.json"
SLOW_OR_ABOUT_COST = "Gas|Invariant|Proofs"
TEST_SECONDS = 900
# FHR swaps view and pure, which changes no code.
LEFT_OUT = ("FHR",)
# Of a condition's operands slither sometimes replaces one by the whole statement, which does not compile.
GROWTH = 16


@dataclass(frozen=True)
class Mutant:
    """One change of a source's text. start, end: bytes; before, after: what stands there and what shall."""

    source: str  # path below src, without its suffix
    mutator: str
    line: int
    start: int
    end: int
    before: str
    after: str

    @property
    def id(self) -> str:
        """Stable as long as the source's text is."""
        text = (SOURCES / self.file).read_bytes()
        return hashlib.sha256(text + json.dumps(asdict(self)).encode()).hexdigest()[:12]

    @property
    def file(self) -> str:
        """Path below src."""
        return f"{self.source}.sol"

    def apply(self, project: Path) -> None:
        """Write the changed source into a copy of the project."""
        path = project / "src" / self.file
        text = (SOURCES / self.file).read_bytes()
        path.write_bytes(text[: self.start] + self.after.encode() + text[self.end :])


def all_mutants() -> Iterator[Mutant]:
    """Every mutant that slither's mutators find in the sources, without those that are the original."""
    from slither import Slither
    from slither.tools.mutator.mutators import all_mutators
    from slither.tools.mutator.mutators.abstract_mutator import AbstractMutator

    kinds = [
        kind
        for kind in vars(all_mutators).values()
        if isinstance(kind, type) and issubclass(kind, AbstractMutator) and kind.NAME not in ("", *LEFT_OUT)
    ]
    slither = Slither(str(CONTRACTS), ignore_compile=False)
    for unit in slither.compilation_units:
        for contract in sorted(unit.contracts, key=lambda c: c.name):
            path = Path(contract.source_mapping.filename.absolute)
            if SOURCES not in path.parents or contract.is_interface:
                continue
            source = path.relative_to(SOURCES).with_suffix("").as_posix()
            text = path.read_bytes()
            for kind in sorted(kinds, key=lambda k: k.NAME):
                mutator = kind(unit, 0, "", "", contract, None, False, path.parent, [])
                for patch in _patches(mutator, contract):
                    start, end = int(patch["start"]), int(patch["end"])
                    before, after = text[start:end].decode(), str(patch["new_string"])
                    if before != after and len(after) <= len(before) + GROWTH:
                        line = text[:start].count(b"\n") + 1
                        yield Mutant(source, kind.NAME, line, start, end, before, after)


def _patches(mutator: Any, contract: Any) -> Iterator[dict[str, Any]]:
    """What a mutator of slither's would do, function by function where one of them makes it fail."""
    from slither.exceptions import SlitherException

    def patches() -> list[dict[str, Any]]:
        return [patch for found in mutator._mutate().get("patches", {}).values() for patch in found]

    try:
        yield from patches()
    except (IndexError, SlitherException):
        # slither 0.11 fails at an operator in another line than its statement's, and at a bool that is set
        for function in contract.functions_and_modifiers_declared:
            mutator.should_mutate_function = lambda candidate, wanted=function: candidate is wanted
            with contextlib.suppress(IndexError, SlitherException):
                yield from patches()


def draw(count: int, seed: int) -> list[Mutant]:
    """A sample in an order of its own, longer than `count`, since some mutants do not compile."""
    ordered = sorted(set(all_mutants()), key=lambda m: hashlib.sha256(f"{seed} {m.id}".encode()).digest())
    return ordered[: 3 * count]


class Laboratory:
    """A copy of the project in which mutants are built and tested."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "contracts"
        ignore = shutil.ignore_patterns("node_modules", "out", "cache", "symbolic", "invariants")
        shutil.copytree(CONTRACTS, self.project, ignore=ignore)
        (self.project / "node_modules").symlink_to((CONTRACTS / "node_modules").resolve())
        (folder / "tests").mkdir()
        (folder / "tests" / "protocol").symlink_to(CONTRACTS.parent / "tests" / "protocol")
        settings = self.project / "foundry.toml"
        # compiling takes longer than testing: no optimizer
        settings.write_text(settings.read_text().replace("optimizer = true", "optimizer = false"))
        self.environment = {**os.environ, "FOUNDRY_FUZZ_RUNS": "16", "FOUNDRY_LINT_LINT_ON_BUILD": "false"}
        if not self._forge("build") or not self._tests_pass():
            raise SystemExit("the unchanged project fails; run `forge test` in contracts/ and mend it")
        self.original = self._code()
        self.near = _nearest_tests(self.project)

    def judge(self, mutant: Mutant) -> str:
        """`killed`, `survived`, `equivalent` or `invalid`."""
        mutant.apply(self.project)
        try:
            near = self.near.get(mutant.source, [])
            if near:
                if not self._forge("build", *near):
                    return "invalid"
                if not self._tests_pass("--match-path", "{" + ",".join(near) + "}"):
                    return "killed"
            if not self._forge("build"):
                return "invalid"
            if self._code() == self.original:
                return "equivalent"
            return "survived" if self._tests_pass() else "killed"
        finally:
            shutil.copy(SOURCES / mutant.file, self.project / "src" / mutant.file)

    def _tests_pass(self, *which: str) -> bool:
        excluded = ["--no-match-contract", SLOW_OR_ABOUT_COST]
        return self._forge("test", "--fail-fast", *excluded, *which, timeout=TEST_SECONDS)

    def _forge(self, *arguments: str, timeout: int | None = None) -> bool:
        try:
            done = subprocess.run(
                ["node_modules/.bin/forge", *arguments],
                cwd=self.project,
                env=self.environment,
                timeout=timeout,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _code(self) -> dict[str, str]:
        """Creation code of everything that is built, tests included: libraries are compiled into their users."""
        found = {}
        for path in sorted((self.project / "out").glob("*/*.json")):
            code = json.loads(path.read_text()).get("bytecode", {}).get("object", "")
            found[str(path.relative_to(self.project))] = hashlib.sha256(code.encode()).hexdigest()
        return found


def _nearest_tests(project: Path) -> dict[str, list[str]]:
    """For each source the two files of tests that import it, itself or through others, and least besides."""
    statement = re.compile(r'import\s+(?:\{[^}]*\}\s+from\s+)?"(\.[^"]+)"')

    def imported(path: Path, seen: set[Path]) -> set[Path]:
        if path not in seen:
            seen.add(path)
            for name in statement.findall(path.read_text()):
                imported((path.parent / name).resolve(), seen)
        return seen

    tests = {path: imported(path, set()) for path in sorted((project / "test").glob("*.t.sol"))}
    tests = {path: files for path, files in tests.items() if not re.search(SLOW_OR_ABOUT_COST, path.name)}
    sizes = {path: sum(file.stat().st_size for file in files) for path, files in tests.items()}
    nearest = {}
    for source in (project / "src").rglob("*.sol"):
        users = sorted((path for path, files in tests.items() if source in files), key=sizes.__getitem__)
        nearest[source.relative_to(project / "src").with_suffix("").as_posix()] = [
            str(path.relative_to(project)) for path in users[:2]
        ]
    return nearest


def run(count: int, seed: int) -> None:
    """Test mutants until `count` have a verdict; each verdict is kept at once."""
    held = _load()
    if held and (held["seed"], held["count"]) != (seed, count):
        held = {}
    verdicts: dict[str, dict[str, object]] = held.get("mutants", {})
    sample = draw(count, seed)
    wanted: list[tuple[str, Mutant]] = [(mutant.id, mutant) for mutant in sample]
    explained = _explanations()
    verdicts = {
        key: verdicts[key]
        for key, _ in wanted
        if key in verdicts and (verdicts[key]["verdict"] != "survived" or key in explained)
    }
    with tempfile.TemporaryDirectory(prefix="fedvm-mutants-") as folder:
        laboratory: Laboratory | None = None
        for key, mutant in wanted:
            valid = sum(verdict["verdict"] != "invalid" for verdict in verdicts.values())
            if valid >= count:
                break
            if key in verdicts:
                continue
            laboratory = laboratory or Laboratory(Path(folder).resolve())
            verdict = laboratory.judge(mutant)
            verdicts[key] = {**asdict(mutant), "verdict": verdict}
            _save({"seed": seed, "count": count, "mutants": verdicts})
            print(
                f"{valid + 1:4} of {count} {verdict:10} {mutant.source}:{mutant.line} {mutant.mutator}",
                flush=True,
            )


def report() -> int:
    """Print totals and survivors. Returns the number of survivors that nobody has explained."""
    held = _load()
    if not held:
        print("nothing has been tested yet: run this without --report")
        return 0
    explained = _explanations()
    totals = Counter(str(found["verdict"]) for found in held["mutants"].values())
    judged = totals["killed"] + totals["survived"]
    share = totals["killed"] / judged if judged else 1.0
    print(f"{dict(totals)}: {share:.1%} of {judged} mutants that change the code are killed")
    open_cases = 0
    for key, found in held["mutants"].items():
        if found["verdict"] == "survived":
            reason = explained.get(key, "NOT EXPLAINED")
            open_cases += key not in explained
            print(
                f"{key} {found['source']}:{found['line']} {found['mutator']}: {found['before']!r} → {found['after']!r}"
            )
            print(f"    {reason}")
    return open_cases


def _load() -> dict[str, object]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def _explanations() -> dict[str, str]:
    return json.loads(SURVIVORS.read_text()) if SURVIVORS.is_file() else {}


def _save(results: dict[str, object]) -> None:
    draft = RESULTS.with_suffix(".draft")
    draft.write_text(json.dumps(results, indent=1) + "\n")
    draft.replace(RESULTS)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500, help="mutants with a verdict (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument(
        "--report", action="store_true", help="print what is known; fails on unexplained survivors"
    )
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments.count, arguments.seed)
    return 1 if report() else 0


if __name__ == "__main__":
    sys.exit(main())
