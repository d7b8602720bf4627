"""One side of the comparison in a process of its own: `python -m federated_bench.side SIDE ...`.

Prints as its last line a JSON object: `round_seconds`, the time of the rounds alone, and `train_loss` of the last.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

from federated_bench.recipe import SEED, parser, read


def ray(options: argparse.Namespace) -> dict[str, Any]:
    """Flower's own simulation: Ray, one CPU a client, started in the way that takes the fewest processes."""
    from flwr.server.superlink.fleet.vce.backend.backend import BackendConfig
    from flwr.simulation import run_simulation

    from federated_bench.app import make_app

    server, results = ServerApp(), []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        results.append(play(options, grid, fedavg(options)))

    resources: BackendConfig = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server, make_app(), num_supernodes=options.clients, backend_config=resources)
    return results[0]


def engine(options: argparse.Namespace) -> dict[str, Any]:
    """FedVM's engine alone: the same app and strategy over its grid."""
    from federated_bench.app import make_app
    from fedvm.federation.engines.grid import InProcessGrid, make_nodes

    nodes = make_nodes(make_app(), [{}] * options.clients)
    with InProcessGrid(nodes, seed=SEED, workers=options.workers) as grid:
        return play(options, grid, fedavg(options))


def accountable(options: argparse.Namespace) -> dict[str, Any]:
    """The same with FedVM's mod and strategy, recorded by a contract on an embedded chain."""
    from federated_bench.app import make_app
    from federated_bench.contract import recorded
    from fedvm.devnet.embedded import open_chain
    from fedvm.federation import Accountable, fedvm_mod
    from fedvm.federation.engines.grid import InProcessGrid, make_nodes
    from fedvm.federation.keys import KEY

    with tempfile.TemporaryDirectory() as name, open_chain(name, seed=SEED, create=True) as chain:
        federation, keys = recorded(
            chain, Path(name), first_arrays(options.network), options.clients, quorum=options.sampled
        )
        nodes = make_nodes(make_app([fedvm_mod]), [{KEY: key} for key in keys])
        with InProcessGrid(nodes, seed=SEED, workers=options.workers) as grid:
            return play(options, grid, Accountable(fedavg(options), federation=federation))


SIDES: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = MappingProxyType(
    {"ray": ray, "engine": engine, "accountable": accountable}
)


def fedavg(options: argparse.Namespace) -> FedAvg:
    """Trains `sampled` of the clients a round, evaluates none."""
    return FedAvg(
        fraction_train=options.sampled / options.clients,
        fraction_evaluate=0.0,
        min_train_nodes=options.sampled,
        min_available_nodes=options.clients,
    )


def first_arrays(network: str) -> ArrayRecord:
    """The model every side begins with."""
    import torch

    from federated_bench.networks import NETWORKS

    torch.manual_seed(SEED)
    return ArrayRecord(NETWORKS[network]().state_dict())


def play(options: argparse.Namespace, grid: Grid, strategy: Strategy) -> dict[str, Any]:
    """Run the rounds and say what they took."""
    started = time.perf_counter()
    result = strategy.start(
        grid,
        first_arrays(options.network),
        num_rounds=options.rounds,
        train_config=ConfigRecord(
            {
                "data": options.data,
                "images": options.images,
                "batch": options.batch,
                "network": options.network,
            }
        ),
    )
    seconds = time.perf_counter() - started
    return {
        "round_seconds": round(seconds / options.rounds, 3),
        "train_loss": result.train_metrics_clientapp[options.rounds]["train_loss"],
    }


def main() -> None:
    """See the module."""
    options = read(parser(SIDES))
    logging.getLogger("flwr").setLevel(logging.WARNING)
    print("\n" + json.dumps(SIDES[options.side](options)))


if __name__ == "__main__":
    main()
