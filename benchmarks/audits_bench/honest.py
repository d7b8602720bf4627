"""Honest runs with every option: an audit that finds something in one of them gives a false alarm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(TESTS / "pipeline"), str(TESTS)]

from small_run import GATE, small_config, write_digits  # noqa: E402

from fedvm.audit.replay import audit  # noqa: E402
from fedvm.audit.run_files import RunFiles  # noqa: E402
from fedvm.pipeline.run import run_all  # noqa: E402
from fedvm.rundir.run import open_run  # noqa: E402

RUNS = 50
_STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "fedavg": {},
    "fedprox": {"strategy__proximal_mu": 0.1},
    "fedavgm": {"strategy__server_momentum": 0.5},
    "fedadam": {},
    "fedmedian": {},
    "fedtrimmedavg": {},
    "krum": {},
}
_OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"rules__max_share": 0.6},
    {"privacy__noise_multiplier": 0.5, "rules__max_norm": 40.0},
    {"security__stake": 10**15},
    {"rules__rest_rounds": 1, "rules__min_clients": 1},
    {"federation__fraction_train": 0.75, "rules__min_clients": 1},
    {"compiler__optimize": "deploy"},
)


def options() -> Iterator[Mapping[str, Any]]:
    """What each of the runs overrides: every strategy in both forms of submission, sealed rounds, gates, and rules in
    turn."""
    plain = dict.fromkeys(("adversaries__1", "adversaries__2"))
    forms = list(product(_STRATEGIES.items(), ("commitments", "rollup")))
    for number in range(RUNS):
        chosen: dict[str, Any] = {"run__seed": number}
        if number % 10 == 9:
            chosen |= {
                "sealed__group_size": 8,
                "data__clients": 8 + number % 3,
                "privacy__noise_multiplier": 0.3,
            }
        else:
            (strategy, more), form = forms[number % len(forms)]
            chosen |= {"federation__strategy": strategy, "federation__submission": form, **more}
            chosen |= _OPTIONS[number % len(_OPTIONS)]
        chosen |= GATE if number % 5 == 0 else {}
        yield chosen if number % 3 else {**chosen, **plain}


def false_alarms(home: Path, runs: int = RUNS, tell: Callable[[str], None] = print) -> int:
    """In how many of the runs the audit finds something. home: an empty directory."""
    digits, alarms = write_digits(home / "images"), 0
    for number, chosen in enumerate(options()):
        if number >= runs:
            break
        out = home / f"run-{number}"
        run_all(
            small_config(digits, out, **{name: value for name, value in chosen.items() if value is not None})
        )
        with open_run(out) as run:
            at = run.deployment
            report = audit(
                run.w3,
                run.store,
                federation=at.federation,
                service=at.service,
                first_block=at.block,
                files=RunFiles(out, at.program) if at.program else None,
            )
        alarms += not report.clean
        for finding in report.findings:
            tell(f"run {number} {dict(chosen)}: {finding}")
    return alarms
