"""Where the clients run: in this process, in Flower's simulation, or on the SuperNodes of a deployment."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from flwr.serverapp import Grid

from fedvm.federation.engines.grid import Finished
from fedvm.federation.engines.grids import GridOnDemand
from fedvm.federation.engines.relay import Relay, RelayGrid, own_identity
from fedvm.federation.engines.superlink import (
    SuperLink,
    failure_of,
    is_listening,
    simulation_superlink,
    status,
    stop_run,
    submit,
    wait_until_over,
)
from fedvm.federation.errors import EngineError
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.flower_project import write_app
from fedvm.rundir.layout import RunDirectory

_SERVERAPP_SECONDS = 300.0
_CHECK_EVERY = 10.0
_PATIENCE = 60.0
"""Seconds for which a SuperLink may be away, being restarted for instance."""


@contextmanager
def flower_grid(
    config: RunConfig,
    data: PreparedData,
    directory: RunDirectory,
    on_client: Callable[[Finished], None] | None = None,
) -> Iterator[Grid]:
    """The grid of a Flower run of its own, for the engines flower-simulation and deployment.

    Nothing is started before the grid is first used. Flower's files of the run lie in `flower/` of the run
    directory. on_client: called after every reply. The grid raises EngineError if the SuperLink cannot be reached
    or started, or the ServerApp does not come up.
    """
    with own_identity(), ExitStack() as stack:

        def start() -> Grid:
            grid = stack.enter_context(_started(config, data, directory.path.resolve() / "flower"))
            grid.on_finished = on_client
            return grid

        yield GridOnDemand(start)


@contextmanager
def _started(config: RunConfig, data: PreparedData, home: Path) -> Iterator[RelayGrid]:
    simulated = config.federation.engine == "flower-simulation"
    with ExitStack() as stack:
        superlink = stack.enter_context(_simulation(home)) if simulated else _deployed(config)
        relay = stack.enter_context(Relay())
        app = write_app(home / "app", config, data, relay.socket)
        run_id = submit(app, superlink, home, federation=_resources(config) if simulated else None)
        try:
            alive = _watcher(superlink, run_id, home)
            grid = relay.accept(alive=alive, seconds=_SERVERAPP_SECONDS)
            try:
                yield grid
            finally:
                grid.close()
            wait_until_over(run_id, home)
        except BaseException:
            if is_listening(superlink):
                with suppress(EngineError):  # the run may be over, and the exception raised matters more
                    stop_run(run_id, home)
                    wait_until_over(run_id, home)
            raise


@contextmanager
def _simulation(home: Path) -> Iterator[SuperLink]:
    if importlib.util.find_spec("ray") is None:
        raise EngineError(
            "Flower simulates with Ray, which is not installed: pip install 'fedvm[simulation]', or run the clients "
            "in this process with --engine inprocess"
        )
    with simulation_superlink(home) as superlink:
        yield superlink


def _deployed(config: RunConfig) -> SuperLink:
    wanted = config.deployment
    if wanted.superlink is None:
        raise EngineError("engine deployment needs a running SuperLink: name it with --superlink HOST:PORT")
    return SuperLink(wanted.superlink, wanted.root_certificates, wanted.insecure)


def _resources(config: RunConfig) -> dict[str, int | float]:
    """One CPU per client, and as many clients at once as the run has workers."""
    return {
        "num-supernodes": config.data.clients,
        "client-resources-num-cpus": 1,
        "init-args-num-cpus": config.training.workers,
    }


def _watcher(superlink: SuperLink, run_id: int, home: Path) -> Callable[[], None]:
    """A check, cheap to call often, that raises once the SuperLink is gone or says that the run is over."""
    checked = heard = time.monotonic()

    def alive() -> None:
        nonlocal checked, heard
        if time.monotonic() - checked < _CHECK_EVERY:
            return
        if is_listening(superlink):
            heard = time.monotonic()
            if status(run_id, home).startswith("finished"):
                raise EngineError(f"Flower ended its run {run_id}: {failure_of(run_id, home)}")
        elif time.monotonic() - heard > _PATIENCE:
            raise EngineError(
                f"nothing listens at {superlink.address} any more. Nothing is lost: start the SuperLink again and "
                "resume the run"
            )
        checked = time.monotonic()

    return alive
