"""What the in-process engine and accountability cost, beside Flower's simulation over Ray and Apple's pfl-research.

    python benchmarks/bench_federated.py --data FOLDER [--rows ROW ...] [--runs FOLDER] [--quick]

FOLDER holds CIFAR-10 as train.parquet and test.parquet. Every run is a command of its own, timed from its start to
its exit; the sides of a comparison take turns, train the same network on the same images in the same steps, two clients
at a time with one thread each, and the ratio is that of their medians. Flower's sides run the same ClientApp; pfl
runs two processes, its own federated averaging and the app's training loop as it has it. Runs are kept as they
are made: a benchmark that was stopped goes on. Needs Ray (`fedvm[simulation]`) and, for the rows `*_pfl*`, pfl in
an environment of its own (`make .venv-pfl/.installed`). About an hour and a quarter on two cores.

Rows go into benchmarks/results/federated.json beside those of other benchmarks, and into docs/performance.md.
"""

from __future__ import annotations

import argparse
import logging
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from compiler_bench.rows import markdown_table
from federated_bench import recipe
from federated_bench.data import prepare
from federated_bench.measurements import Measured, Measurements
from federated_bench.process import run
from federated_results import RESULTS, Row, machine, merge, read

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"
_MARK = "<!-- bench_federated: results -->"
_PFL_ENVIRONMENT = ROOT / ".venv-pfl"
_RAY = "Flower over Ray"
_PFL = f"pfl-research 0.6.0, {recipe.WORKERS} processes"


@dataclass(frozen=True)
class Work:
    """What every side of a comparison does."""

    clients: int
    images: int
    rounds: int
    sampled: int | None = None
    batch: int | None = None
    network: str | None = None

    def arguments(self) -> list[str]:
        """For `federated_bench.side`."""
        named = {
            "clients": self.clients,
            "images": self.images,
            "rounds": self.rounds,
            "sampled": self.sampled,
            "batch": self.batch,
            "network": self.network,
        }
        return [
            word for name, value in named.items() if value is not None for word in (f"--{name}", str(value))
        ]


SIXTEEN = Work(clients=16, images=3_125, rounds=5)
THOUSAND = Work(clients=1_000, images=50, rounds=1)
TEN_THOUSAND = Work(clients=10_000, images=50, rounds=1, sampled=100)
PFL_CIFAR = Work(clients=1_000, images=50, rounds=100, sampled=50, batch=10)
ALL_TEN_THOUSAND = Work(clients=10_000, images=10, rounds=1)
LARGE = Work(clients=16, images=256, rounds=1, network="resnet18")
LARGE_BRIEFLY = Work(clients=16, images=32, rounds=1, network="resnet18")


@dataclass(frozen=True)
class Bench:
    """Makes runs, or finds them among those made before an interruption."""

    folder: Path
    source: Path
    measurements: Measurements
    quick: bool

    def in_turns(self, row: str, sides: tuple[str, ...], work: Work, count: int) -> dict[str, list[Measured]]:
        """`count` runs of each side for one row, taking turns, so that a slower hour of the machine slows them all.

        A row never borrows another's runs, which that hour may lie between.
        """
        runs: dict[str, list[Measured]] = {side: [] for side in sides}
        for number in range(1 if self.quick else count):
            for side in sides:
                runs[side].append(self.one(row, side, work, number))
        return runs

    def one(self, row: str, side: str, work: Work, number: int = 0, *, memory: bool = False) -> Measured:
        """Run `number` of a side for a row."""
        arguments = [side, *work.arguments(), "--data", str(self.folder / "cifar10")]
        name = " ".join([row, side, *work.arguments(), str(number)])

        def make() -> Measured:
            print(f"running {name}", file=sys.stderr, flush=True)
            module, python = (
                ("federated_bench.pfl_side", pfl_python())
                if side == "pfl"
                else ("federated_bench.side", sys.executable)
            )
            done = run(module, arguments, self.folder / "stderr.log", python=python, memory=memory)
            return {"seconds": round(done.seconds, 2), "peak_mb": done.peak_mb, **done.output}

        return self.measurements.get(name, make)


def pfl_python() -> str:
    """The Python of the environment that has pfl; ends the benchmark if there is none."""
    if not (_PFL_ENVIRONMENT / ".installed").exists():
        raise SystemExit(
            "bench_federated: pfl-research is not installed; make .venv-pfl/.installed does that"
        )
    return str(_PFL_ENVIRONMENT / "bin" / "python")


def wall_ratio_16(bench: Bench) -> Row:
    """The engine alone against Flower over Ray: whole processes."""
    return _wall_ratio(bench, "wall_ratio_16", ("engine", "ray"), SIXTEEN, 3, _RAY)


def wall_ratio_1000(bench: Bench) -> Row:
    """Likewise, with many small clients."""
    return _wall_ratio(bench, "wall_ratio_1000", ("engine", "ray"), THOUSAND, 2, _RAY)


def wall_ratio_1000_accountable(bench: Bench) -> Row:
    """Many small clients with trees, signatures, submission and proposal on the chain, against plain Flower."""
    return _wall_ratio(bench, "wall_ratio_1000_accountable", ("accountable", "ray"), THOUSAND, 2, _RAY)


def wall_ratio_16_pfl(bench: Bench) -> Row:
    """The engine alone against as many processes of pfl: whole commands, training dominates."""
    return _wall_ratio(bench, "wall_ratio_16_pfl", ("engine", "pfl"), SIXTEEN, 3, _PFL)


def wall_ratio_1000_pfl(bench: Bench) -> Row:
    """Likewise, with many small clients."""
    return _wall_ratio(bench, "wall_ratio_1000_pfl", ("engine", "pfl"), THOUSAND, 3, _PFL)


def wall_ratio_pfl_cifar(bench: Bench) -> Row:
    """Users, images, batches and cohorts of pfl's own benchmark on CIFAR-10, for 100 of its 1,500 rounds."""
    return _wall_ratio(bench, "wall_ratio_pfl_cifar", ("engine", "pfl"), PFL_CIFAR, 2, _PFL)


def memory_ratio_16(bench: Bench) -> Row:
    """The largest sum of PSS over all processes."""
    peaks = {
        side: bench.one("memory_ratio_16", side, SIXTEEN, memory=True)["peak_mb"]
        for side in ("engine", "ray")
    }
    return {
        "value": round(peaks["engine"] / peaks["ray"], 3),
        "unit": f"× {_RAY}",
        **{f"{side}_mb": round(peak) for side, peak in peaks.items()},
    }


def accountability_overhead_share(bench: Bench) -> Row:
    """What commitments, signatures, trees and the chain add to a round of 16 clients on the same engine."""
    return _overhead(bench, "accountability_overhead_share", SIXTEEN, 3)


def _overhead(bench: Bench, row: str, work: Work, count: int) -> Row:
    runs = bench.in_turns(row, ("accountable", "engine"), work, count)
    seconds = _medians(runs, "round_seconds")
    share = seconds["accountable"] / seconds["engine"] - 1
    return {
        "value": round(100 * share, 1),
        "unit": "% of a round",
        **{f"{side}_round_s": value for side, value in seconds.items()},
        "runs": {side: [one["round_seconds"] for one in made] for side, made in runs.items()},
    }


def clients_10000_peak_mb(bench: Bench) -> Row:
    """A round of 100 sampled of 10,000 clients."""
    done = bench.one("clients_10000_peak_mb", "engine", TEN_THOUSAND, memory=True)
    return {"value": round(done["peak_mb"]), "unit": "MB", "engine_s": done["seconds"]}


def clients_10000_all_peak_mb(bench: Bench) -> Row:
    """An accountable round of all 10,000 clients, each with ten images."""
    return _peak(bench, "clients_10000_all_peak_mb", ALL_TEN_THOUSAND)


def resnet18_overhead_share(bench: Bench) -> Row:
    """What accountability adds to a round of 16 clients that train 11.2 million parameters."""
    return _overhead(bench, "resnet18_overhead_share", LARGE, 1)


def resnet18_peak_mb(bench: Bench) -> Row:
    """An accountable round of these, over fewer images, which the memory does not depend on."""
    return _peak(bench, "resnet18_peak_mb", LARGE_BRIEFLY)


def cifar10_lenet_iid_5_rounds(bench: Bench) -> Row:
    """Test accuracy of examples/cifar10.toml's rounds."""
    from bench_accuracy import play

    from fedvm.pipeline.config_file import load_config
    from fedvm.pipeline.events import Observer

    settings = {"run.out": str(bench.folder / "cifar10-run"), "data.path": str(bench.source)}
    if bench.quick:
        settings |= {"federation.rounds": "1"}
    config = load_config(ROOT / "examples" / "cifar10.toml", settings)
    last = play(config, Observer())[-1]
    if last.test_accuracy is None:
        raise SystemExit("bench_federated: the last round of examples/cifar10.toml failed")
    return {
        "value": round(100 * last.test_accuracy, 2),
        "unit": "%",
        "recipe": "examples/cifar10.toml",
        "rounds": config.federation.rounds,
    }


def apps_two_lines(bench: Bench) -> Row:
    """Apps of as many kinds, without the two lines and with them, in process and in Flower's simulation."""
    log = bench.folder / "stderr.log"

    def play(name: str) -> str:
        def make() -> Measured:
            print(f"running apps_two_lines {name}", file=sys.stderr, flush=True)
            return run("federated_bench.apps", [name], log, timeout=1_800).output

        return str(bench.measurements.get(f"apps_two_lines {name}", make)["differs"])

    said = {name: play(name) for name in run("federated_bench.apps", [], log).output["apps"]}
    passed = [name for name, differs in said.items() if not differs]
    failed = {name: differs for name, differs in said.items() if differs}
    return {"value": len(passed), "unit": f"of {len(said)} apps", "passed": passed, "failed": failed}


ROWS: Mapping[str, Callable[[Bench], Row]] = MappingProxyType(
    {
        "wall_ratio_16": wall_ratio_16,
        "memory_ratio_16": memory_ratio_16,
        "accountability_overhead_share": accountability_overhead_share,
        "wall_ratio_1000": wall_ratio_1000,
        "wall_ratio_1000_accountable": wall_ratio_1000_accountable,
        "wall_ratio_16_pfl": wall_ratio_16_pfl,
        "wall_ratio_1000_pfl": wall_ratio_1000_pfl,
        "wall_ratio_pfl_cifar": wall_ratio_pfl_cifar,
        "clients_10000_peak_mb": clients_10000_peak_mb,
        "clients_10000_all_peak_mb": clients_10000_all_peak_mb,
        "resnet18_overhead_share": resnet18_overhead_share,
        "resnet18_peak_mb": resnet18_peak_mb,
        "cifar10_lenet_iid_5_rounds": cifar10_lenet_iid_5_rounds,
        "apps_two_lines": apps_two_lines,
    }
)
_SAID = {
    "wall_ratio_16": "Wall time, 16 clients × 3,125 images, 5 rounds: engine / Flower over Ray",
    "memory_ratio_16": "Peak memory of all processes (PSS), likewise",
    "accountability_overhead_share": "What accountability adds to a round of these 16",
    "wall_ratio_1000": "Wall time, 1,000 clients × 50 images, 1 round: engine / Flower over Ray",
    "wall_ratio_1000_accountable": "The same 1,000, all accountable / plain Flower over Ray",
    "wall_ratio_16_pfl": "Wall time, 16 clients × 3,125 images, 5 rounds: engine / pfl",
    "wall_ratio_1000_pfl": "Wall time, 1,000 clients × 50 images, 1 round: engine / pfl",
    "wall_ratio_pfl_cifar": "Wall time, 50 of 1,000 clients × 50 images, batches of 10, 100 rounds: engine / pfl",
    "clients_10000_peak_mb": "Peak memory, 10,000 clients, 1 round of 100 sampled, engine alone",
    "clients_10000_all_peak_mb": "Peak memory, all of 10,000 clients in a round of 10 images each, all accountable",
    "resnet18_overhead_share": "What accountability adds to a round of 16 clients with ResNet-18, 256 images each",
    "resnet18_peak_mb": "Peak memory of such a round, all accountable",
    "apps_two_lines": "Apps that come to the same metrics with the two lines, in process and over Ray",
    "cifar10_lenet_iid_5_rounds": "Test accuracy, LeNet on CIFAR-10, 16 IID clients, 5 rounds of one local epoch",
}


def main(arguments: list[str] | None = None) -> int:
    """Make the rows, merge them as they come; return the exit status."""
    parser = argparse.ArgumentParser(description="Costs of the in-process engine and of accountability.")
    parser.add_argument("--data", type=Path, required=True, help="folder with CIFAR-10's parquet files")
    parser.add_argument(
        "--rows", nargs="+", choices=tuple(ROWS), default=tuple(ROWS), help="rows to make (all)"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/bench-federated"), help="where runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="one run a side, nothing written: a trial")
    options = parser.parse_args(arguments)
    logging.getLogger("flwr").setLevel(logging.WARNING)
    if any("pfl" in row for row in options.rows):
        pfl_python()  # better now than after an hour
    folder = options.runs.resolve()
    prepare(options.data, folder / "cifar10")
    measurements = Measurements(folder / "measurements.json")
    bench = Bench(folder, options.data.resolve(), measurements, options.quick)
    for name in options.rows:
        row = {"name": name, **ROWS[name](bench), "machine": machine()}
        print(f"{name}: {row['value']} {row['unit']}", flush=True)
        if not options.quick:
            merge([row], options.results)
    if not options.quick:
        measurements.forget()
        write_document(options.results, DOCUMENT)
    return 0


def write_document(results: Path, document: Path) -> None:
    """Put the table of the rows that there are into the document, between its marks."""
    rows = {row["name"]: row for row in read(results)}
    lines = [
        (_SAID[name], f"{rows[name]['value']} {rows[name]['unit']}", _detail(rows[name]))
        for name in ROWS
        if name in rows
    ]
    block = f"{_MARK}\n{markdown_table(('', 'result', 'measured'), lines)}\n<!-- end -->"
    before = document.read_text(encoding="utf-8")
    after = re.sub(rf"{re.escape(_MARK)}\n.*?<!-- end -->", lambda _: block, before, flags=re.DOTALL)
    document.write_text(after, encoding="utf-8")


def _peak(bench: Bench, row: str, work: Work) -> Row:
    done = bench.one(row, "accountable", work, memory=True)
    return {"value": round(done["peak_mb"]), "unit": "MB", "accountable_s": done["seconds"]}


def _wall_ratio(bench: Bench, row: str, sides: tuple[str, str], work: Work, count: int, against: str) -> Row:
    runs = bench.in_turns(row, sides, work, count)
    seconds = _medians(runs, "seconds")
    ours, theirs = sides
    return {
        "value": round(seconds[ours] / seconds[theirs], 3),
        "unit": f"× {against}",
        **{f"{side}_s": value for side, value in seconds.items()},
        **{f"{side}_round_s": value for side, value in _medians(runs, "round_seconds").items()},
        **{f"{side}_train_loss": value for side, value in _medians(runs, "train_loss").items()},
        "runs": {side: [one["seconds"] for one in made] for side, made in runs.items()},
    }


def _medians(runs: Mapping[str, list[Measured]], what: str) -> dict[str, float]:
    """Of each side's runs."""
    return {side: round(statistics.median(one[what] for one in made), 3) for side, made in runs.items()}


def _detail(row: Row) -> str:
    units = {"_round_s": "s a round", "_s": "s", "_mb": "MB"}
    parts = []
    for key, value in row.items():
        ending = next((one for one in units if key.endswith(one)), None)
        if ending and isinstance(value, int | float):
            parts.append(f"{key.removesuffix(ending)} {value:g} {units[ending]}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
