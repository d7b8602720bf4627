"""What people export: how many models of four lists compile and are what they were.

    python benchmarks/bench_coverage.py [--list NAME]... [--only TEXT] [--again]        (`make bench-coverage`)

The lists (benchmarks/coverage_bench): scikit-learn's estimators and pipelines, XGBoost and LightGBM by skl2onnx's and
onnxmltools' defaults; Keras models with the operators that tf2onnx writes; PyTorch modules by both exporters; small
networks such as EZKL's users try. Every model is compiled with some 300 rows, run in revm on others, and held against
ONNX Runtime on its reference, bit for bit, and on the file that was given.

Puts the rows `coverage: …` into benchmarks/results/compiler.json, beside those of bench_compiler, and every model
with its verdict into benchmarks/results/coverage.json. A run that is stopped goes on (runs/coverage/journal.jsonl),
until the compiler or a list changes. Exit status 1: something is wrong or crashed, or a list is below what is demanded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.update(
    OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"
)  # before numpy: the processes share the cores

from compiler_bench.rows import Row, machine, merge_results
from coverage_bench.campaign import Journal, Outcome, run_lists
from coverage_bench.judging import try_case
from coverage_bench.lists import REQUIRED, cases_of
from exact_bench.judge import WRONG

from fedvm.files import write_atomically

HERE = Path(__file__).resolve().parent
ROWS = HERE / "results" / "compiler.json"
RESULTS = HERE / "results" / "coverage.json"
JOURNAL = HERE.parent / "runs" / "coverage" / "journal.jsonl"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(arguments)
    names = options.list or list(REQUIRED)
    if options.only:
        for name in names:
            for case in cases_of(name).values():
                if options.only in case.name:
                    print(f"{name}: {case.name}: {try_case(case)}", flush=True)
        return 0
    if options.again:
        options.journal.unlink(missing_ok=True)
    outcomes = run_lists(names, Journal(options.journal), options.workers, _report)
    rows = rows_of(outcomes)
    for row in rows:
        print(f"{row.name}: {row.value:g} {row.unit}")
    for one in outcomes:
        if one.verdict.result != "exact":
            print(f"{one.list}: {one.name}: {one.verdict.result}: {one.verdict.reason[:200]}")
    if set(names) == set(REQUIRED):
        merge_results(options.out, "coverage: ", rows)
        content = {"machine": machine(), "models": [one.as_row() for one in outcomes]}
        write_atomically(options.details, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return int(_fails(rows))


def rows_of(outcomes: list[Outcome]) -> list[Row]:
    """Shares of each list, and what went wrong in all of them."""
    rows = []
    for name in dict.fromkeys(one.list for one in outcomes):
        own = [one.verdict.result for one in outcomes if one.list == name]
        rows.append(Row(f"coverage: {name}", round(own.count("exact") / len(own), 4), "of the list"))
        rows.append(Row(f"coverage: {name}: models", len(own), "models"))
    results = [one.verdict.result for one in outcomes]
    wrong = sum(result in WRONG and result not in ("crash", "hang") for result in results)
    rows.append(Row("coverage: wrong", wrong, "models"))
    rows.append(Row("coverage: crash", sum(result in ("crash", "hang") for result in results), "models"))
    return rows


def _fails(rows: list[Row]) -> bool:
    values = {row.name: row.value for row in rows}
    low = any(values.get(f"coverage: {name}", 1) < least for name, least in REQUIRED.items())
    return low or values["coverage: wrong"] + values["coverage: crash"] > 0


def _report(done: int, of: int, one: Outcome) -> None:
    line = f"{done} of {of}: {one.list}: {one.name}: {one.verdict.result} ({one.verdict.seconds:.1f} s)"
    terminal = sys.stderr.isatty()
    print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--list", action="append", choices=REQUIRED, help="this list alone; nothing is written"
    )
    parser.add_argument(
        "--only", metavar="TEXT", help="try the models whose names hold it, and print the verdicts"
    )
    parser.add_argument("--again", action="store_true", help="try also what the journal has")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--journal", type=Path, default=JOURNAL, help="models that are done")
    parser.add_argument("--out", type=Path, default=ROWS, help="results file of the rows")
    parser.add_argument("--details", type=Path, default=RESULTS, help="results file of every model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
