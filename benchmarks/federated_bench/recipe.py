"""What every side of the comparison is asked for, and how it trains; imports nothing, so that any environment can."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

SEED = 7
WORKERS = 2
BATCH_SIZE, LEARNING_RATE, MOMENTUM = 32, 0.02, 0.9


def parser(sides: Iterable[str]) -> argparse.ArgumentParser:
    """Of the command line of `federated_bench.side` and `federated_bench.pfl_side`."""
    made = argparse.ArgumentParser()
    made.add_argument("side", choices=tuple(sides))
    made.add_argument("--clients", type=int, required=True)
    made.add_argument("--sampled", type=int, help="clients a round (all)")
    made.add_argument("--images", type=int, required=True, help="of a client")
    made.add_argument("--rounds", type=int, required=True)
    made.add_argument("--batch", type=int, default=BATCH_SIZE, help="images of a step of SGD")
    made.add_argument("--network", default="lenet", help="of federated_bench.networks.NETWORKS")
    made.add_argument("--data", required=True, help="folder with images.npy and labels.npy")
    made.add_argument(
        "--workers", type=int, default=WORKERS, help="processes that train; Ray starts its own number"
    )
    return made


def read(made: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line says."""
    options = made.parse_args()
    options.sampled = options.sampled or options.clients
    return options
