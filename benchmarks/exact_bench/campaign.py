"""Many trials with a journal: a campaign that is stopped goes on where it was, for the same compiler and generator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import fedvm.compiler
from exact_bench.backend import BackendCase, backend_cases, try_backend
from exact_bench.judge import Verdict
from exact_bench.sandbox import Failed, Sandbox
from exact_bench.trial import try_seed

SECONDS = 120
"""Of one trial at most; more is a hang."""
COMPILED = ("exact", "contract differs", "reference differs", "gas differs", "float differs")
"""Results of models of which a program was made."""
Job = TypeVar("Job")
Report = Callable[[str, Verdict], None]


@dataclass(frozen=True)
class Trial:
    """A trial by its name (a seed, or a backend test) with its verdict."""

    name: str
    verdict: Verdict


def version() -> str:
    """Digest of the sources of the compiler and of the trials: results of another version say nothing of this one."""
    digest = hashlib.sha256()
    folders = (Path(fedvm.compiler.__file__).parent, Path(__file__).parent)
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Journal:
    """Trials that are done, a line each; a file of another version is begun anew."""

    def __init__(self, path: Path, of: str | None = None) -> None:
        self._path = path
        head = json.dumps({"version": of or version()})
        lines = path.read_text().splitlines() if path.is_file() else []
        self.known: dict[str, Trial] = {}
        if lines[:1] != [head]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(head + "\n")
            lines = []
        for line in lines[1:]:
            try:
                name, verdict = json.loads(line)
                self.known[name] = Trial(name, Verdict(**verdict))
            except ValueError:  # the line that was being written when the process was killed
                continue

    def add(self, trial: Trial) -> None:
        self.known[trial.name] = trial
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([trial.name, asdict(trial.verdict)]) + "\n")


def random_trials(journal: Journal, first: int, programs: int, workers: int, report: Report) -> list[Trial]:
    """Trials of the seeds from `first` on, in order, until so many gave a program."""
    done: dict[int, Trial] = {}
    made = 0

    def jobs() -> Iterator[int]:
        for seed in count(first):
            if made >= programs:
                return
            if str(seed) not in journal.known:
                yield seed
            else:
                keep(seed, journal.known[str(seed)])

    def keep(seed: int, trial: Trial) -> None:
        nonlocal made
        done[seed] = trial
        made += trial.verdict.result in COMPILED
        report(f"{made:,} of {programs:,} programs", trial.verdict)

    for seed, answer in Sandbox(try_seed, workers=workers, seconds=SECONDS).run(jobs()):
        trial = Trial(str(seed), verdict_of(answer))
        journal.add(trial)
        keep(seed, trial)
    return [done[seed] for seed in sorted(done)]


def backend_trials(journal: Journal, every: int, workers: int, report: Report) -> list[Trial]:
    """Trials of ONNX's backend tests, or of one of so many."""
    done: list[Trial] = []

    def jobs() -> Iterator[BackendCase]:
        for case in backend_cases(every):
            if case.name in journal.known:
                done.append(journal.known[case.name])
            else:
                yield case

    for case, answer in Sandbox(try_backend, workers=workers, seconds=SECONDS).run(jobs()):
        trial = Trial(case.name, verdict_of(answer))
        journal.add(trial)
        done.append(trial)
        report(f"{len(done):,} backend tests", trial.verdict)
    return sorted(done, key=lambda trial: trial.name)


def counted(trials: Iterable[Trial], *results: str) -> int:
    """How many trials ended so."""
    return sum(trial.verdict.result in results for trial in trials)


def verdict_of(answer: Verdict | Failed) -> Verdict:
    """The answer of a process, or that it gave none."""
    if isinstance(answer, Verdict):
        return answer
    return Verdict("hang" if answer.kind == "hang" else "crash", f"{answer.kind}: {answer.reason}")
