"""How much of contracts/src the Solidity tests run: lines and branches of each file, from forge's coverage.

    python contracts/tools/coverage.py --least 98

Fails where less than --least per cent of all lines or branches are run, and names what is not. Tests of gas are left
out, since the instrumented code costs more, and the stateful ones, since they would hide what no unit test runs. The
contracts of sealed rounds are left out of the sum: their tests are in Python (tests/chain), where forge sees nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent.parent
LEFT_OUT = "Gas|Invariant|Proofs"
TESTS_LEFT_OUT = "test_whatAChunkCosts"
TESTED_FROM_PYTHON = frozenset({"Epochs", "SealedCourt", "SealedDisputes", "SealedRounds", "SealedSeats"})


@dataclass
class Coverage:
    """What of one file was run. lines: line → times; branches: (line, branch, path) → times."""

    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[tuple[int, str, str], int] = field(default_factory=dict)

    def counts(self) -> tuple[int, int, int, int]:
        """Lines run, lines, branches run, branches."""
        run = sum(times > 0 for times in self.lines.values())
        taken = sum(times > 0 for times in self.branches.values())
        return run, len(self.lines), taken, len(self.branches)

    def missing(self) -> list[int]:
        """Lines not run, or with a branch not taken."""
        lines = {line for line, times in self.lines.items() if not times}
        return sorted(lines | {line for (line, _, _), times in self.branches.items() if not times})


def measure(report: Path) -> None:
    """Run the tests and write forge's report in lcov's format."""
    command = ["node_modules/.bin/forge", "coverage", "--report", "lcov", "--report-file", str(report)]
    command += [
        "--no-match-coverage",
        "^(test|node_modules)/",
        "--no-match-contract",
        LEFT_OUT,
        "--no-match-test",
        TESTS_LEFT_OUT,
    ]
    # Coverage is measured without the optimizer: the gas of such code is not what snapshots/ is about.
    environment = {**os.environ, "FORGE_SNAPSHOT_EMIT": "false"}
    done = subprocess.run(
        command, cwd=CONTRACTS, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
        raise SystemExit("forge coverage failed; run `forge test` in contracts/ and mend what fails")


def read(report: Path) -> dict[str, Coverage]:
    """From a source's path to what of it was run."""
    files: dict[str, Coverage] = {}
    current = Coverage()
    for record in report.read_text().splitlines():
        name, _, rest = record.partition(":")
        values = rest.split(",")
        if name == "SF":
            current = files.setdefault(rest, Coverage())
        elif name == "DA":
            current.lines[int(values[0])] = int(values[1])
        elif name == "BRDA":
            times = 0 if values[3] == "-" else int(values[3])
            current.branches[int(values[0]), values[1], values[2]] = times
    return files


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--least", type=float, default=98.0, help="per cent of lines and of branches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedvm-coverage-") as folder:
        report = Path(folder) / "lcov.info"
        measure(report)
        files = read(report)
    totals = [0, 0, 0, 0]
    print(f"{'file':44} {'lines':>17} {'branches':>17}")
    for name, coverage in sorted(files.items()):
        if Path(name).stem in TESTED_FROM_PYTHON:
            print(f"{name:44} tested from Python")
            continue
        counts = coverage.counts()
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        missing = f"  not run: {', '.join(map(str, coverage.missing()))}" if coverage.missing() else ""
        print(f"{name:44} {_share(*counts[:2])} {_share(*counts[2:])}{missing}")
    print(f"{'all':44} {_share(*totals[:2])} {_share(*totals[2:])}")
    least = min(100 * totals[0] / totals[1], 100 * totals[2] / totals[3])
    if least < options.least:
        print(f"less than {options.least} % is run: add tests for the lines named above", file=sys.stderr)
    return int(least < options.least)


def _share(run: int, total: int) -> str:
    return f"{run:5}/{total:<4} {100 * run / total if total else 100:5.1f} %"


if __name__ == "__main__":
    sys.exit(main())
