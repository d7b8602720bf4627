"""What an audit takes, and whether it can be deceived.

Run: python benchmarks/bench_audits.py [--part PART …]. Writes its figures into benchmarks/results/networks.json and
leaves others that are there. The parts:

decisions: predictions of a LeNet that an audit runs again in a second. audit: of 50 rounds of 16 clients with a LeNet's
parameters, its seconds and its memory. Both by the CPU time of the process, which is one core's: other work on the
machine lengthens it little.

tampers: single changes to everything that an audit reads, and those that it did not name. alarms: honest runs with
every option, and those in which it found something. Each takes some ten minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from audits_bench.audits import measured
from audits_bench.decisions import decisions_per_second
from audits_bench.honest import RUNS, false_alarms
from audits_bench.tampering import tampered

from fedvm.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "networks.json"


def tampers() -> dict[str, float]:
    with TemporaryDirectory() as home:
        return {**tampered(Path(home))}


def alarms() -> dict[str, float]:
    with TemporaryDirectory() as home:
        return {"honest_runs": RUNS, "false_alarms": false_alarms(Path(home))}


PARTS: dict[str, Callable[[], dict[str, float]]] = {
    "decisions": lambda: {"decisions_per_second": decisions_per_second()},
    "audit": measured,
    "tampers": tampers,
    "alarms": alarms,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given again")
    for part in parser.parse_args().part or PARTS:
        figures = PARTS[part]()
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        write_atomically(RESULTS, json.dumps(dict(sorted((kept | figures).items())), indent=1) + "\n")
        for name, value in figures.items():
            print(f"{name:<34} {value:>10,.1f}", flush=True)


if __name__ == "__main__":
    main()
