"""Is the contract the model? Random networks and ONNX's backend tests, compiled and held against what they are.

    python benchmarks/bench_exact.py [--programs N] [--seed FIRST] [--every K] [--again]

Every program runs on 40 inputs (calibration data, all-low, all-high, one-hot, extremes of sums, noise) in revm, in
stages too where it has them, and is compared with ONNX Runtime on the reference, with the numpy interpreter, and its
integers with ONNX Runtime on the float model. Networks that the compiler refuses with a reason are counted, and
others tried until N programs are made. The seeds of what went wrong stand in the results;
`python benchmarks/bench_exact.py --show SEED` tries one again, and shrinks it.

Writes benchmarks/results/exact.json. Needs LeNet on CIFAR-10 for the share of the compiler's self-check in its time
(--models, --data; left out without them). Two processes; a run that is stopped goes on (runs/exact/journal.jsonl).
Exit status 1: something differs, crashed or hung.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.update(
    OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"
)  # before numpy: the processes share the cores

from compiler_bench.rows import machine
from exact_bench.campaign import COMPILED, Journal, Trial, backend_trials, counted, random_trials, version
from exact_bench.generator import random_recipe
from exact_bench.judge import WRONG, Verdict
from exact_bench.self_check import self_check_share
from exact_bench.shrink import shrink
from exact_bench.trial import try_recipe

from fedvm.files import write_atomically
from fedvm.learning.datasets import load_dataset

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
RESULTS = HERE / "results" / "exact.json"
JOURNAL = HERE.parent / "runs" / "exact" / "journal.jsonl"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.show is not None:
        return _show(options.show)
    if options.again:
        options.journal.unlink(missing_ok=True)
    journal, progress = Journal(options.journal), _Progress()
    random = random_trials(journal, options.seed, options.programs, options.workers, progress)
    backend = backend_trials(journal, options.every, options.workers, progress)
    progress.end()
    content = _results(random, backend, options)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, text)
    print(text)
    return int(bool(content["wrong"]))


def _results(random: list[Trial], backend: list[Trial], options: argparse.Namespace) -> dict[str, Any]:
    wrong = [trial for trial in (*random, *backend) if trial.verdict.result in WRONG]
    content: dict[str, Any] = {
        "machine": machine(),
        "version": version(),
        "seeds": [options.seed, int(random[-1].name)] if random else [],
        "random_networks": len(random),
        "random_programs": counted(random, *COMPILED),
        "random_refused": counted(random, "refused"),
        "random_crashes": counted(random, "crash"),
        "random_hangs": counted(random, "hang"),
        "programs_in_stages": sum(trial.verdict.stages > 0 for trial in random),
        "inputs": sum(trial.verdict.inputs for trial in (*random, *backend)),
        "contract_differs": counted(wrong, "contract differs"),
        "reference_differs": counted(wrong, "reference differs"),
        "gas_differs": counted(wrong, "gas differs"),
        "float_differs_unnoticed": counted(wrong, "float differs"),
        "backend_tests": len(backend),
        "backend_programs": counted(backend, *COMPILED),
        "backend_refused": counted(backend, "refused"),
        "backend_crashes": counted(backend, "crash"),
        "backend_hangs": counted(backend, "hang"),
        "compile_seconds_mean": round(sum(t.verdict.seconds for t in random) / max(1, len(random)), 3),
        "compile_seconds_most": round(max((t.verdict.seconds for t in random), default=0), 1),
        "refusals": dict(
            Counter(t.verdict.reason.partition(":")[0] for t in random if t.verdict.result == "refused")
        ),
        "wrong": [[trial.name, trial.verdict.result, trial.verdict.reason[:300]] for trial in wrong],
    }
    model = options.models / "lenet_cifar10_trained.onnx"
    if model.is_file() and options.data.is_dir():
        share, seconds = self_check_share(model, load_dataset("cifar10", options.data).train.images[:1000])
        content |= {"self_check_share": round(share, 3), "lenet_compile_seconds": round(seconds, 2)}
    return content


def _show(seed: int) -> int:
    """Try one seed again; if it is wrong, print the smallest network that is wrong in the same way."""
    recipe = random_recipe(seed)
    verdict = try_recipe(recipe)
    print(f"{recipe}\n{verdict}")
    if verdict.result not in WRONG:
        return 0
    smallest = shrink(recipe, lambda other: _alike(try_recipe(other), verdict))
    print(f"\nshrunk:\n{smallest}\n{try_recipe(smallest)}")
    return 1


def _alike(a: Verdict, b: Verdict) -> bool:
    """Whether two networks are wrong in the same way."""
    return a.result == b.result and (
        a.result != "crash" or a.reason.split(": ")[0] == b.reason.split(": ")[0]
    )


class _Progress:
    """How far the run is, on one line of a terminal; in a log now and then."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._start = self._last = time.monotonic()

    def __call__(self, done: str, verdict: Verdict) -> None:
        self._counts[verdict.result] += 1
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self._last < (0.2 if terminal else 30):
            return
        self._last = now
        what = ", ".join(f"{count:,} {result}" for result, count in self._counts.most_common())
        line = f"{now - self._start:,.0f} s: {done} ({what})"
        print(
            f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True
        )

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--programs", type=int, default=5000, help="programs of random networks; 50000 is the long form"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the first network; the others follow")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="one of K backend tests")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--again", action="store_true", help="try also what the journal has")
    parser.add_argument("--show", type=int, metavar="SEED", help="try this seed alone and shrink it")
    parser.add_argument("--models", type=Path, default=SHARED / "models", help="folder of the ONNX models")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "cifar10", help="folder of CIFAR-10")
    parser.add_argument("--journal", type=Path, default=JOURNAL, help="trials that are done")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
