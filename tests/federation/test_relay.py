"""A grid in another process, as Flower's ServerApp hands it over: the same federation, to the bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import pytest
from federation_bench import SEED, Bench, MakeBench
from flwr.app import Message, RecordDict

from fedvm.federation import FederationSettings, Finished, InProcessGrid, Node, Watch
from fedvm.federation.engines.flower_task import current_identity, set_server_identity
from fedvm.federation.engines.relay import Relay, RelayGrid, carry, own_identity
from fedvm.federation.errors import EngineError

SETTINGS = FederationSettings(clients=3, rounds=2)


def serve(nodes: list[Node], socket: str) -> None:
    """What Flower's ServerApp process does, with clients beside it."""
    with InProcessGrid(nodes, seed=SEED, run_id=77) as grid:
        carry(grid, socket)


@contextmanager
def relayed(bench: Bench) -> Iterator[tuple[RelayGrid, BaseProcess]]:
    with own_identity(), Relay() as relay:
        # Made here: the embedded chain cannot be read beyond the fork.
        nodes = bench.nodes(SETTINGS)
        process = multiprocessing.get_context("fork").Process(target=serve, args=(nodes, relay.socket))
        process.start()
        grid = relay.accept(alive=lambda: None, seconds=30)
        try:
            yield grid, process
        finally:
            grid.close()
            process.join(timeout=10)
            if process.is_alive():
                process.kill()


def test_a_federation_over_a_relay_has_the_same_digest(make_bench: MakeBench) -> None:
    here = make_bench(3, "here").run(SETTINGS)
    set_server_identity(5)
    before, bench, seen = current_identity(), make_bench(3, "there"), list[Finished]()
    with relayed(bench) as (grid, process):
        assert grid.run.run_id == 77
        grid.on_finished = seen.append
        there = bench.run(SETTINGS, nodes=(), keys=(), grid=grid, watch=Watch())
    assert there.model_root == here.model_root
    assert [record.evaluated for record in there.records] == [3, 3]
    assert process.exitcode == 0  # hanging up ends the ServerApp
    assert current_identity() == before
    assert {one.done for one in seen} == {1, 2, 3} and not any(one.failed for one in seen)


def test_a_call_that_fails_there_is_named_here(make_bench: MakeBench) -> None:
    with relayed(make_bench(3)) as (grid, _):
        with pytest.raises(EngineError, match=r"refused push_messages: ValueError: no node 7"):
            grid.send_and_receive([Message(RecordDict(), dst_node_id=7, message_type="train")])
        with pytest.raises(EngineError, match="is no call of a grid"):
            grid._ask("close")
        assert len(list(grid.get_node_ids())) == 3


def test_a_serverapp_that_dies_stops_the_coordinator_at_once(make_bench: MakeBench) -> None:
    with relayed(make_bench(3)) as (grid, process):
        process.kill()
        process.join()
        with pytest.raises(EngineError, match="resume the run"):
            grid.get_node_ids()


def test_waiting_for_a_serverapp_ends() -> None:
    def gone() -> None:
        raise EngineError("Flower ended its run")

    with Relay() as relay:
        begun = time.monotonic()
        with pytest.raises(EngineError, match="started no ServerApp within 0 s"):
            relay.accept(alive=lambda: None, seconds=0)
        with pytest.raises(EngineError, match="Flower ended its run"):
            relay.accept(alive=gone, seconds=60)
        assert time.monotonic() - begun < 20
        socket = relay.socket
    with (
        InProcessGrid(make_one_node(), seed=1) as grid,
        pytest.raises(EngineError, match="no coordinator listens"),
    ):
        carry(grid, socket)


def make_one_node() -> list:  # type: ignore[type-arg]
    from flwr.clientapp import ClientApp

    from fedvm.federation import make_nodes

    return make_nodes(ClientApp(), [{}])


def test_a_call_that_never_returns_is_given_up_once_flower_is_gone(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise EngineError("nothing listens any more")

    monkeypatch.setattr("fedvm.federation.engines.relay._ALIVE_SECONDS", 0.1)
    with relayed(make_bench(3)) as (grid, process):
        assert process.pid
        os.kill(process.pid, signal.SIGSTOP)
        try:
            monkeypatch.setattr(grid, "_alive", gone)
            with pytest.raises(EngineError, match="nothing listens any more"):
                grid.get_node_ids()
        finally:
            os.kill(process.pid, signal.SIGCONT)
