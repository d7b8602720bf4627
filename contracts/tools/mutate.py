"""Would the tests see a wrong contract? Change one thing at a time in contracts/src and run them.

The mutants are those of slither's mutators (operators, constants, conditions, removed statements); `slither-mutate`
runs all of them in place, for hours, and cannot go on where it stopped. This draws a seeded sample of them, tests each
in a copy of the project, and keeps what it found. The verdicts about a file hold as long as its text does:

    python contracts/tools/mutate.py                                 # go on with the sample over all sources
    python contracts/tools/mutate.py --sources 'Ro*' --count 50      # until 50 mutants of some sources have a verdict
    python contracts/tools/mutate.py --report                        # print what is known

Compiling takes most of the time. So the copy is built without the optimizer, and its tests load contracts from forge's
output (`dynamic_test_linking`): a mutant of a contract compiles that contract alone. It meets the tests that speak of
it most first, with what they use compiled and no more; what those let live meets all. A mutant is killed if a test
fails. `equivalent` are those that compile to the very same code; `invalid` do not compile and are drawn again. What
says by its form that it changes nothing is not drawn: a word of a comment, `i++` for `++i` as a statement, `<= 0` for
`== 0` of what has no sign. Survivors are explained in contracts/survivors.json: mutant → why nothing can see it; those
that are not explained there are tested again. The contracts of sealed rounds are left out, since their tests are in
Python.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parent.parent
SOURCES = CONTRACTS / "src"
RESULTS = CONTRACTS / "mutation.json"
SURVIVORS = CONTRACTS / "survivors.json"
SLOW_OR_ABOUT_COST = "Gas|Invariant|Proofs"
TESTS_ABOUT_COST = "test_whatAChunkCosts"
TEST_SECONDS = 900
BUILT = ("out", "cache")
PASSED, FAILED, NOT_COMPILED = "passed", "failed", "not compiled"
# Their tests are in Python (tests/chain), which the laboratory does not run.
TESTED_FROM_PYTHON = frozenset({"Epochs", "SealedCourt", "SealedDisputes", "SealedRounds", "SealedSeats"})
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

    def changes_nothing(self) -> bool:
        """Whether its form alone says that it behaves as the original. Each costs a run of all tests otherwise."""
        text = (SOURCES / self.file).read_bytes()
        ahead, behind = text[: self.start].decode(), text[self.end :].decode()
        if "//" in ahead.rsplit("\n", 1)[-1] or _without_comments(self.before) == _without_comments(
            self.after
        ):
            return True
        # Locals are 0 without being set to it.
        if re.fullmatch(r"(u?int\d* \w+) ?= 0", self.before) and self.after.strip() + " = 0" == self.before:
            return True
        # Where no number has a sign, there is none below 0.
        if not re.search(r"\bint\d*\b", _without_comments(text.decode())):
            for equal, same in ((" == 0", " <= 0"), (" != 0", " > 0")):
                if self.before.endswith(equal) and self.after == self.before.removesuffix(equal) + same:
                    return True
        # The value of a statement is not used.
        swapped = {
            re.sub(r"^(\+\+|--)(\w+)$|^(\w+)(\+\+|--)$", _as_prefix, x) for x in (self.before, self.after)
        }
        if len(swapped) == 1 and ahead.rstrip()[-1:] in ";{}" and behind.lstrip()[:1] in (";", ")"):
            return True
        return self._only_counts_otherwise(ahead, behind)

    def _only_counts_otherwise(self, ahead: str, behind: str) -> bool:
        """Whether it gives a loop another counter that takes the same values: `for (uint256 i = 0; i < n; ++i)`."""
        head = r"for \(uint256 (\w+) = 0; \1 < ([\w.]+); \+\+\1\) \{"
        line = ahead.rsplit("\n", 1)[-1]
        old = (line + self.before + behind).lstrip()
        new = (line + self.after + behind).lstrip()
        found = re.match(head, old)
        if found is None:
            return False
        counter, bound = found.groups()
        body = _block(old[found.end() - 1 :])
        if re.search(rf"\b{counter}\b\s*([-+*/%&|^]?=[^=]|\+\+|--|<<=|>>=)|(\+\+|--){counter}\b", body):
            return False
        rest = old[found.end() :]
        # It rises by one from 0, so it meets the bound before it passes it.
        if new == found.group().replace(f"{counter} < ", f"{counter} != ") + rest:
            return True
        # No array has 2^128 elements.
        narrow = found.group().replace("uint256", "uint128")
        return bound.endswith(".length") and new == narrow + rest

    def apply(self, project: Path) -> None:
        """Write the changed source into a copy of the project."""
        path = project / "src" / self.file
        text = (SOURCES / self.file).read_bytes()
        path.write_bytes(text[: self.start] + self.after.encode() + text[self.end :])


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def _as_prefix(found: re.Match[str]) -> str:
    return (found[1] or found[4]) + (found[2] or found[3])


def _block(text: str) -> str:
    """The block that begins at the text's first character, an opening brace."""
    depth = 0
    for place, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return text[: place + 1]
    return text


def all_mutants(folder: Path) -> Iterator[Mutant]:
    """Every mutant that slither's mutators find in the sources, without those that are the original.

    Slither deletes what forge has built, so it reads a copy that is made in `folder`.
    """
    from slither import Slither
    from slither.tools.mutator.mutators import all_mutators
    from slither.tools.mutator.mutators.abstract_mutator import AbstractMutator

    kinds = [
        kind
        for kind in vars(all_mutators).values()
        if isinstance(kind, type) and issubclass(kind, AbstractMutator) and kind.NAME not in ("", *LEFT_OUT)
    ]
    for name in ("src", "tools"):
        shutil.copytree(CONTRACTS / name, folder / name)
    settings = (CONTRACTS / "foundry.toml").read_text()
    (folder / "foundry.toml").write_text(settings.replace("optimizer = true", "optimizer = false"))
    (folder / "node_modules").symlink_to((CONTRACTS / "node_modules").resolve())
    # It looks for sources below the working directory first.
    with contextlib.chdir(folder):
        slither = Slither(".")
    for unit in slither.compilation_units:
        for contract in sorted(unit.contracts, key=lambda c: c.name):
            path = Path(contract.source_mapping.filename.absolute)
            if folder / "src" not in path.parents or contract.is_interface:
                continue
            source = path.relative_to(folder / "src").with_suffix("").as_posix()
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


def draw(seed: int, pattern: str, folder: Path) -> list[Mutant]:
    """Mutants of the sources that match, in an order of their own; what changes nothing by its form is left out."""
    found = {
        mutant
        for mutant in all_mutants(folder)
        if fnmatch.fnmatch(mutant.source, pattern)
        and mutant.source not in TESTED_FROM_PYTHON
        and not mutant.changes_nothing()
    }
    return sorted(found, key=lambda m: hashlib.sha256(f"{seed} {m.id}".encode()).digest())


class Laboratory:
    """A copy of the project in which mutants are built and tested by forge."""

    def __init__(self, folder: Path, like: Laboratory | None = None) -> None:
        """Make one below a folder, and build and test it; `like`: a copy of one that is built and idle."""
        self.project = folder / "contracts"
        self.built = folder / "built"
        self.environment = {
            **os.environ,
            "FOUNDRY_FUZZ_RUNS": "16",
            "FOUNDRY_LINT_LINT_ON_BUILD": "false",
            "FOUNDRY_DENY": "never",
            "FORGE_SNAPSHOT_EMIT": "false",
        }
        if like is not None:
            shutil.copytree(like.project.parent, folder, symlinks=True, dirs_exist_ok=True)
            self.near: dict[str, list[str]] = like.near
            self.original: dict[str, str] = like.original
            return
        ignore = shutil.ignore_patterns("node_modules", "out", "cache", "symbolic")
        shutil.copytree(CONTRACTS, self.project, ignore=ignore)
        (self.project / "node_modules").symlink_to((CONTRACTS / "node_modules").resolve())
        (folder / "tests").mkdir()
        (folder / "tests" / "protocol").symlink_to(CONTRACTS.parent / "tests" / "protocol")
        self._set_up()
        if self._forge("build") != PASSED or self._tests() != PASSED:
            raise SystemExit("the unchanged project fails; run its tests and mend it")
        self.original = self._code()
        for name in BUILT:
            shutil.copytree(self.project / name, self.built / name)

    def judge(self, mutant: Mutant) -> str:
        """`killed`, `survived`, `equivalent` or `invalid`."""
        mutant.apply(self.project)
        try:
            # Forge compiles only what these tests use.
            near = self.near.get(mutant.source, [])
            found = self._tests("--match-path", "{" + ",".join(near) + "}") if near else PASSED
            if found == PASSED:
                found = self._forge("build")
            if found == PASSED and self._code() == self.original:
                return "equivalent"
            if found == PASSED:
                found = self._tests()
            return {PASSED: "survived", FAILED: "killed", NOT_COMPILED: "invalid"}[found]
        finally:
            shutil.copy2(SOURCES / mutant.file, self.project / "src" / mutant.file)
            self._restore()

    def _restore(self) -> None:
        """Put back what the unchanged project was built to, so that nothing of a mutant is left for the next."""
        for name in BUILT:
            kept, now = self.built / name, self.project / name
            for path in now.rglob("*"):
                if path.is_file() and not (kept / path.relative_to(now)).is_file():
                    path.unlink()
            for path in kept.rglob("*"):
                other = now / path.relative_to(kept)
                if path.is_file() and not _same_file(path, other):
                    other.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, other)

    def _set_up(self) -> None:
        _replace(self.project / "foundry.toml", "optimizer = true", "optimizer = false")
        _replace(
            self.project / "foundry.toml",
            "isolate = true",
            "isolate = true\ndynamic_test_linking = true\ncode_size_limit = 1000000",
        )
        # It loads their code, then.
        fixture = self.project / "test" / "base" / "FederationFixture.sol"
        _replace(fixture, "implementationCodes() internal pure", "implementationCodes() internal view")
        self.near = nearest_tests(self.project)

    def _tests(self, *which: str) -> str:
        excluded = ["--no-match-contract", SLOW_OR_ABOUT_COST, "--no-match-test", TESTS_ABOUT_COST]
        return self._forge("test", "--fail-fast", *excluded, *which, timeout=TEST_SECONDS)

    def _forge(self, *arguments: str, timeout: int | None = None) -> str:
        """`PASSED`, `FAILED` or `NOT_COMPILED`. What takes too long has failed."""
        try:
            done = subprocess.run(
                ["node_modules/.bin/forge", *arguments],
                cwd=self.project,
                env=self.environment,
                timeout=timeout,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return FAILED
        if done.returncode == 0:
            return PASSED
        return NOT_COMPILED if "Compiler run failed" in done.stdout + done.stderr else FAILED

    def _code(self) -> dict[str, str]:
        """Creation code of everything that is built, tests included: libraries are compiled into their users."""
        found = {}
        for path in sorted((self.project / "out").glob("*/*.json")):
            code = json.loads(path.read_text()).get("bytecode", {}).get("object", "")
            found[str(path.relative_to(self.project))] = hashlib.sha256(code.encode()).hexdigest()
        return found


def _same_file(one: Path, other: Path) -> bool:
    """Whether one is a copy of the other that nobody has written to since."""
    if not other.is_file():
        return False
    stat, copied = one.stat(), other.stat()
    return (stat.st_size, stat.st_mtime_ns) == (copied.st_size, copied.st_mtime_ns)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{path.name} has not one {old!r}; mend the laboratory in mutate.py")
    path.write_text(text.replace(old, new))


def nearest_tests(project: Path) -> dict[str, list[str]]:
    """For each source the two files of tests that use it, themselves or through others, and are called after it or
    name it most often; among such the one that uses least besides."""
    statement = re.compile(r'import\s+(?:\{[^}]*\}\s+from\s+)?"(\.[^"]+)"')

    def imported(path: Path, seen: set[Path]) -> set[Path]:
        if path not in seen:
            seen.add(path)
            for name in statement.findall(path.read_text()):
                imported((path.parent / name).resolve(), seen)
        return seen

    tests = {path: imported(path, set()) for path in sorted((project / "test").rglob("*.t.sol"))}
    tests = {path: files for path, files in tests.items() if not re.search(SLOW_OR_ABOUT_COST, path.name)}
    sizes = {path: sum(file.stat().st_size for file in files) for path, files in tests.items()}
    texts = {path: path.read_text().lower() for path in tests}
    nearest = {}
    for source in (project / "src").rglob("*.sol"):
        name = source.stem.lower()
        users = [path for path, files in tests.items() if source in files]
        users.sort(key=lambda path: (name not in path.name.lower(), -texts[path].count(name), sizes[path]))
        nearest[source.relative_to(project / "src").with_suffix("").as_posix()] = [
            str(path.relative_to(project)) for path in users[:2]
        ]
    return nearest


def run(count: int, seed: int, pattern: str, jobs: int) -> None:
    """Test mutants of the sources that match, `jobs` at a time, until `count` of them have a verdict; each is kept at
    once."""
    explained = _explanations()
    verdicts = {
        key: verdict
        for key, verdict in _load().items()
        if _is_current(key, verdict)
        and not _mutant(verdict).changes_nothing()
        and (verdict["verdict"] != "survived" or key in explained)
    }
    lock = threading.Lock()

    def valid() -> int:
        return sum(
            verdict["verdict"] != "invalid" and fnmatch.fnmatch(verdict["source"], pattern)
            for verdict in verdicts.values()
        )

    def work(laboratory: Laboratory, mutants: Iterator[Mutant]) -> None:
        while True:
            with lock:
                mutant = next(mutants, None) if valid() < count else None
            if mutant is None:
                return
            verdict = laboratory.judge(mutant)
            with lock:
                verdicts[mutant.id] = {**asdict(mutant), "verdict": verdict}
                _save(verdicts)
                print(
                    f"{valid():4} of {count} {verdict:10} {mutant.source}:{mutant.line} {mutant.mutator}",
                    flush=True,
                )

    if valid() >= count:
        return
    with tempfile.TemporaryDirectory(prefix="fedvm-mutants-") as name:
        folder = Path(name).resolve()
        wanted = [mutant for mutant in draw(seed, pattern, folder / "sources") if mutant.id not in verdicts]
        print(f"{len(wanted)} mutants can be drawn; building the unchanged project", flush=True)
        first = Laboratory(folder / "0")
        laboratories = [first, *(Laboratory(folder / str(number), first) for number in range(1, jobs))]
        mutants = iter(wanted)
        with ThreadPoolExecutor(jobs) as pool:
            for done in [pool.submit(work, laboratory, mutants) for laboratory in laboratories]:
                done.result()


def report() -> int:
    """Print totals and survivors. Returns the number of survivors that nobody has explained."""
    held = {key: found for key, found in _load().items() if _is_current(key, found)}
    if not held:
        print("nothing has been tested yet: run this without --report")
        return 0
    explained = _explanations()
    for kind, mine in (("libraries", True), ("contracts", False)):
        totals = Counter(
            str(found["verdict"])
            for found in held.values()
            if str(found["source"]).startswith("libraries/") is mine
        )
        judged = totals["killed"] + totals["survived"]
        share = totals["killed"] / judged if judged else 1.0
        print(f"{kind}: {dict(totals)}: {share:.1%} of {judged} mutants that change the code are killed")
    open_cases = 0
    for key, found in held.items():
        if found["verdict"] == "survived":
            reason = explained.get(key, "NOT EXPLAINED")
            open_cases += key not in explained
            print(
                f"{key} {found['source']}:{found['line']} {found['mutator']}: {found['before']!r} → {found['after']!r}"
            )
            print(f"    {reason}")
    return open_cases


def _is_current(key: str, found: dict[str, Any]) -> bool:
    """Whether a verdict is about the sources as they are."""
    mutant = _mutant(found)
    return (SOURCES / mutant.file).is_file() and mutant.id == key


def _mutant(found: dict[str, Any]) -> Mutant:
    return Mutant(**{name: value for name, value in found.items() if name != "verdict"})


def _load() -> dict[str, dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def _explanations() -> dict[str, str]:
    return json.loads(SURVIVORS.read_text()) if SURVIVORS.is_file() else {}


def _save(verdicts: dict[str, dict[str, Any]]) -> None:
    draft = RESULTS.with_suffix(".draft")
    draft.write_text(json.dumps(verdicts, indent=1) + "\n")
    draft.replace(RESULTS)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500, help="mutants with a verdict (default: 500)")
    parser.add_argument("--sources", default="*", help="paths below src, without .sol (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument(
        "--report", action="store_true", help="print what is known; fails on unexplained survivors"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time (default: one a core)"
    )
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments.count, arguments.seed, arguments.sources, arguments.jobs)
    return 1 if report() else 0


if __name__ == "__main__":
    sys.exit(main())
