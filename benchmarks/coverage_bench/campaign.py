"""All models of some lists, with a journal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exact_bench.campaign import Journal as Trials
from exact_bench.campaign import Trial, verdict_of, version
from exact_bench.judge import Verdict
from exact_bench.sandbox import Sandbox

from coverage_bench.judging import try_case
from coverage_bench.lists import cases_of

SECONDS = 300
"""Of one model at most; more is a hang."""
BETWEEN = ": "


@dataclass(frozen=True)
class Outcome:
    """What became of a model of a list."""

    list: str
    name: str
    verdict: Verdict

    def as_row(self) -> dict[str, Any]:
        """For the results file; only what says something."""
        verdict = self.verdict
        row: dict[str, Any] = {"list": self.list, "name": self.name, "result": verdict.result}
        for key in ("agreement", "correlation"):
            if (value := getattr(verdict, key)) is not None:
                row[key] = round(value, 4)
        return row | ({"reason": verdict.reason[:300]} if verdict.reason else {})


class Journal(Trials):
    """Models that are done; a file of another compiler or other lists is begun anew."""

    def __init__(self, path: Path) -> None:
        lists = hashlib.sha256()
        for source in sorted(Path(__file__).parent.glob("*.py")):
            lists.update(source.read_bytes())
        super().__init__(path, f"{version()} {lists.hexdigest()[:16]}")


def run_lists(
    names: list[str], journal: Journal, workers: int, report: Callable[[int, int, Outcome], None]
) -> list[Outcome]:
    """Every model of the lists with what became of it, in the order of the lists."""
    wanted = [(name, case) for name in names for case in cases_of(name)]

    def jobs() -> Iterator[tuple[str, str]]:
        yield from (job for job in wanted if BETWEEN.join(job) not in journal.known)

    for job, answer in Sandbox(try_named, workers=workers, seconds=SECONDS).run(jobs()):
        trial = Trial(BETWEEN.join(job), verdict_of(answer))
        journal.add(trial)
        report(len(journal.known), len(wanted), Outcome(job[0], job[1], trial.verdict))
    return [Outcome(*job, journal.known[BETWEEN.join(job)].verdict) for job in wanted]


def try_named(job: tuple[str, str]) -> Verdict:
    """What becomes of the model of this list and name."""
    return try_case(cases_of(job[0])[job[1]])
