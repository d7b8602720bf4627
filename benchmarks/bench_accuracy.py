"""What federated training comes to: test accuracy of the recipes in examples/recipes on CIFAR-10.

    python benchmarks/bench_accuracy.py --data FOLDER [--only ROW ...] [--runs FOLDER] [--workers N] [--quick]

Each recipe is played as it stands, by the in-process engine with the contract on the embedded chain: signed
integer updates, exact aggregation. The accuracy is that of the last round's model on all test images, which are
looked at once, when the last round is over; nothing is chosen by them. A benchmark that was stopped goes on after
its last whole round. Rows go into benchmarks/results/federated.json beside those of other benchmarks.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from federated_results import Row, machine, merge

from fedvm.learning.errors import LearningError
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import load_config, save_config
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.events import Observer
from fedvm.pipeline.federate import federate
from fedvm.pipeline.ground import opened_ground
from fedvm.pipeline.results import RoundRow
from fedvm.rundir.layout import RunDirectory
from fedvm.store import ContentStore

HERE = Path(__file__).resolve().parent
RECIPES = {
    "cifar10_lenet_best": "cifar10-lenet-best",
    "cifar10_lenet_dirichlet_best": "cifar10-lenet-dirichlet",
    "cifar10_resnet8_best": "cifar10-resnet8",
}
"""From a row's name to its recipe's."""


@dataclass
class _Log(Observer):
    """A line a round."""

    name: str

    def round_done(self, row: RoundRow, total: int) -> None:
        loss = "–" if row.train_loss is None else f"{row.train_loss:.3f}"
        seen = "–" if row.validation_accuracy is None else f"{row.validation_accuracy:.2%}"
        took = "" if row.seconds is None else f", {row.seconds:.0f} s"
        print(
            f"{time.strftime('%H:%M:%S')} {self.name}: round {row.round} of {total}, "
            f"train loss {loss}, validation accuracy {seen}{took}",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> int:
    """Play the recipes, merge their rows; return the exit status (2: the data cannot be used)."""
    options = _parser().parse_args(arguments)
    logging.getLogger("flwr").setLevel(logging.WARNING)  # its lines would hide those of the rounds
    for name in options.only or RECIPES:
        config = _config(name, options)
        try:
            rounds = play(config, _Log(name))
        except LearningError as error:
            print(f"bench_accuracy: {error}", file=sys.stderr)
            return 2
        row = _row(name, config, rounds)
        if not options.quick:
            merge([row], options.results)
        print(f"{row['name']}: {row['value']} {row['unit']}", flush=True)
    return 0


def play(config: RunConfig, observer: Observer) -> tuple[RoundRow, ...]:
    """The rounds of a recipe, those of an earlier start included."""
    directory = RunDirectory(config.out)
    with directory.locked():
        data = prepare_data(config)
        if not directory.started:
            save_config(config, directory.config)
        elif load_config(directory.config, {"training.workers": config.training.workers}) != config:
            raise SystemExit(
                f"bench_accuracy: {config.out} holds another recipe's run; remove it to begin anew"
            )
        with opened_ground(config, directory, None, resume=False) as ground:
            return federate(
                config, data, ground, ContentStore(directory.path / "store"), directory, observer
            ).rounds


def _config(name: str, options: argparse.Namespace) -> RunConfig:
    overrides = {
        "run.out": str(options.runs / name),
        "data.path": str(options.data),
        "training.workers": options.workers,
        "training.device": "cpu",
    }
    if options.quick:
        overrides |= {"federation.rounds": 1, "training.epochs": 1}
    file = HERE.parent / "examples" / "recipes" / f"{RECIPES[name]}.toml"
    rounds = load_config(file, overrides).federation.rounds
    return load_config(file, overrides | {"evaluation.every": rounds})


def _row(name: str, config: RunConfig, rounds: tuple[RoundRow, ...]) -> Row:
    last = rounds[-1]
    if last.test_accuracy is None:
        raise SystemExit(f"bench_accuracy: the last round of {name} failed; there is nothing to report")
    return {
        "name": name,
        "value": round(100 * last.test_accuracy, 2),
        "unit": "%",
        "of": "all test images, model of the last round",
        "engine": "in-process, contract on the embedded chain",
        "recipe": f"examples/recipes/{RECIPES[name]}.toml",
        "rounds": config.federation.rounds,
        "seconds": round(sum(row.seconds or 0 for row in rounds)),
        "machine": machine(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Test accuracy of the federated recipes.")
    parser.add_argument("--data", type=Path, required=True, help="folder with CIFAR-10's parquet files")
    parser.add_argument("--only", nargs="+", choices=sorted(RECIPES), help="rows to make (all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"), help="where rounds are kept")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "federated.json")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one round, one epoch, nothing written: a trial")
    return parser


if __name__ == "__main__":
    sys.exit(main())
