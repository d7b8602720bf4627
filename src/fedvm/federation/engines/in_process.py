"""Any Flower app in processes of this machine, without Ray: a ServerApp here, its clients in worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.common import log
from flwr.serverapp import ServerApp

from fedvm.federation.engines.clients import AppSource
from fedvm.federation.engines.components import AppFiles, Value, find_first, load_component
from fedvm.federation.engines.flower_task import SERVER_NODE_ID
from fedvm.federation.engines.grid import Finished, InProcessGrid, make_nodes
from fedvm.federation.errors import SettingsError
from fedvm.federation.reproducible import derive_seed, seed_generators

CLIENT_TIMEOUT = 600.0
"""Seconds that a client may take for one message unless another number is given."""
_MOST_WORKERS = 8


@dataclass(frozen=True)
class InProcessRun:
    """How an app is run.

    num_supernodes: clients; each has `partition-id` and `num-partitions` in its node config, as in Flower's simulation.
    seed: what random numbers follow from that the app does not seed itself: of the ServerApp, and of each client by
    partition, kind of message and round. workers: processes that run clients, each loading the app afresh; as many as
    there are processors, up to 8, unless given; 0 runs them one after another in this process. client_timeout: seconds
    for one message; a client that takes longer is stopped and counts as failed; None for no limit. on_finished: called
    here after each client; a failure is logged with its traceback in any case.

    Raises:
        SettingsError: a value is out of range.
    """

    num_supernodes: int = 10
    seed: int = 0
    workers: int | None = None
    client_timeout: float | None = CLIENT_TIMEOUT
    on_finished: Callable[[Finished], None] | None = None

    def __post_init__(self) -> None:
        if self.num_supernodes < 1:
            raise SettingsError(f"num_supernodes is {self.num_supernodes}; an app needs a client")
        if self.workers is not None and self.workers < 0:
            raise SettingsError(f"workers is {self.workers}; give 0 to run clients in this process, or more")
        if self.client_timeout is not None and not self.client_timeout > 0:
            raise SettingsError(f"client_timeout is {self.client_timeout}; give seconds above 0, or None")

    @property
    def processes(self) -> int:
        """How many processes run clients."""
        if self.workers is not None:
            return min(self.workers, self.num_supernodes)
        return min(os.cpu_count() or 1, _MOST_WORKERS, self.num_supernodes)


def run_in_process(
    server_app: ServerApp,
    client_app: ClientApp,
    *,
    run_config: Mapping[str, Value] | None = None,
    how: InProcessRun | None = None,
) -> None:
    """Run an unmodified Flower app; its results are those of Flower's simulation with the same seeds.

    Replies come in the order of the messages, however long clients take, so that sums of floats do not depend on it.
    run_config: what the contexts of server and clients have. how: `InProcessRun()` unless given. In a script that is
    run by its path, call this below `if __name__ == "__main__":`, since worker processes import the script.

    Raises:
        Whatever the ServerApp raises.
    """
    how = how or InProcessRun()
    _run(server_app, client_app, AppSource.of(client_app) if how.processes else None, run_config or {}, how)


def run_directory(directory: Path, *, overrides: Mapping[str, Value], how: InProcessRun) -> None:
    """Run the app in a directory as `flwr run` would. overrides: of its run config.

    Raises:
        EngineError: the directory holds no app, the app cannot be loaded, or has no such key in its config.
    """
    files = AppFiles.read(directory)
    config = files.configured(overrides)
    find_first(files.directory)
    server = load_component(files.serverapp, ServerApp)
    client = load_component(files.clientapp, ClientApp)
    _run(server, client, AppSource(files.clientapp, str(files.directory)), config, how)


def _run(
    server: ServerApp,
    client: ClientApp,
    source: AppSource | None,
    run_config: Mapping[str, Value],
    how: InProcessRun,
) -> None:
    nodes = make_nodes(source if source and how.processes else client, [{}] * how.num_supernodes)
    partitions = {node.node_id: node.config["partition-id"] for node in nodes}

    def finished(one: Finished) -> None:
        if one.failed:
            told = one.trace.rstrip() or one.reason
            log(ERROR, "Client %s (node %d) failed:\n%s", partitions[one.node_id], one.node_id, told)
        if how.on_finished:
            how.on_finished(one)

    with InProcessGrid(
        nodes,
        seed=how.seed,
        run_config=run_config,
        workers=how.processes,
        fresh=True,
        client_timeout=how.client_timeout if how.processes else None,
        on_finished=finished,
    ) as grid:
        seed_generators(derive_seed(how.seed, "server"))
        server(grid, Context(grid.run.run_id, SERVER_NODE_ID, {}, RecordDict(), dict(run_config)))
