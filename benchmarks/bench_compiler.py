"""Gas, accuracy and compile time of the compiler, beside hand-written Solidity and published figures.

    python benchmarks/bench_compiler.py [--data PATH] [--models PATH] [--quick] [--plot] [--docs]

Needs CIFAR-10 as parquet files (`train.parquet`, `test.parquet`, columns of the hub's `uoft-cs/cifar10`) and the
models lenet_cifar10_trained.onnx and mlperf_tiny_resnet8.onnx; the MNIST models are trained here. Writes
benchmarks/results/compiler.json; with --plot also docs/img/compiler-gas.png, with --docs also the tables in the
documents. Gas is exact: it is what revm charges, and the run fails if that is not what the compiler predicted, if any
score differs from ONNX Runtime's, or if a model does not compile; then nothing is written.
Exit status 2: data or models are missing; 1: the compiler failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from compiler_bench.cases import LENET, RESNET, Case, cifar_cases, mnist_cases
from compiler_bench.comparison import Comparison, compare_with_solidity
from compiler_bench.measure import Measurement, PredictionDiffers, Progress, measure
from compiler_bench.naive import SolidityUnavailable
from compiler_bench.plot import draw
from compiler_bench.report import all_rows, comparison_table, results_table, update_document
from compiler_bench.rows import machine, read_results, write_results

from fedvm.compiler import CompileError
from fedvm.learning.datasets import load_dataset
from fedvm.learning.errors import LearningError

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
RESULTS = HERE / "results" / "compiler.json"
PLOT = HERE.parent / "docs" / "img" / "compiler-gas.png"
DOCUMENTS = (HERE.parent / "README.md", HERE.parent / "docs" / "compiler.md")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(arguments)
    missing = [
        path for path in (options.data, options.models / LENET, options.models / RESNET) if not path.exists()
    ]
    if missing:
        print(f"bench_compiler: there is no {missing[0]}; give --data and --models", file=sys.stderr)
        return 2
    _say("", "reading CIFAR-10")
    try:
        data = load_dataset("cifar10", options.data)
    except LearningError as error:
        print(f"bench_compiler: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        _say("", "training the MNIST models")
        cases = cifar_cases(data, options.models, options.quick) + mnist_cases(Path(folder), options.quick)
    try:
        measurements, comparison = _measure_all(cases, 2 if options.quick else 20)
    except (PredictionDiffers, CompileError) as error:
        print(f"\nbench_compiler: {error}", file=sys.stderr)
        return 1
    results, compared = results_table(measurements), comparison_table(measurements, comparison)
    print(f"{machine()}\n\n{results}\n\n{compared}")
    runs = [m.differential for m in measurements] + ([comparison.differential] if comparison else [])
    wrong = sum(run.mismatches for run in runs)
    if wrong:
        print(
            f"bench_compiler: {wrong} images have other scores in a contract than in ONNX Runtime",
            file=sys.stderr,
        )
        return 1
    if not options.quick:
        kept = (
            [row for row in read_results(options.out) if row.name.startswith("coverage: ")]
            if options.out.is_file()
            else []
        )
        write_results(options.out, [*all_rows(measurements, comparison), *kept])
    if options.plot:
        draw(all_rows(measurements, comparison), PLOT)
    if options.docs:
        for document in DOCUMENTS:
            update_document(document, {"results": results, "comparison": compared})
    return 0


def _measure_all(cases: list[Case], solidity_images: int) -> tuple[list[Measurement], Comparison | None]:
    measurements, comparison = [], None
    for number, case in enumerate(cases):
        say = _progress(case.name)
        try:
            measurement, compiled = measure(case, say)
        except CompileError as error:
            raise CompileError(f"{case.name}: {error}") from error
        measurements.append(measurement)
        if number == 0:
            try:
                comparison = compare_with_solidity(case, compiled, solidity_images, say)
            except SolidityUnavailable as error:
                print(f"\nbench_compiler: without the Solidity comparison: {error}", file=sys.stderr)
    _say("", "")
    return measurements, comparison


def _progress(name: str) -> Progress:
    return lambda what: _say(name, what)


def _say(name: str, what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{name}: {what}" if name else f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
    elif what and not what.startswith("image "):
        print(f"{name}: {what}" if name else what, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the compiler: gas, accuracy, compile time.")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "cifar10", help="folder of CIFAR-10")
    parser.add_argument("--models", type=Path, default=SHARED / "models", help="folder of the ONNX models")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer images, no ResNet-8 and no MNIST CNN; writes no results file",
    )
    parser.add_argument("--plot", action="store_true", help="also draw docs/img/compiler-gas.png")
    parser.add_argument(
        "--docs", action="store_true", help="also put the tables into README.md and docs/compiler.md"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
