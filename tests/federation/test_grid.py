"""The grid runs real Flower ClientApps and ServerApp strategies, in this process and in workers."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from fedvm.federation.engines.grid import Finished, InProcessGrid, make_nodes


def echo_app() -> ClientApp:
    """Adds noise from every global generator and counts its own calls in the context's state."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        record = context.state.get("calls", MetricRecord({"count": 0}))
        calls = int(record["count"]) + 1
        context.state["calls"] = MetricRecord({"count": calls})
        partition = int(context.node_config["partition-id"])
        config = next(iter(message.content.config_records.values()))
        if config.get("raise-in") == partition:
            raise RuntimeError("the phone fell in the sea")
        if config.get("exit-in") == partition:
            os._exit(3)
        if config.get("sleep-in") == partition:
            time.sleep(30)
        values = message.content["arrays"]["w"].numpy()
        noise = (
            random.random() + np.random.random() + float(torch.rand(1)) + float(torch.randn(200, 200).sum())
        )
        arrays = ArrayRecord({"w": Array(values + np.float64(noise + partition))})
        message.content["arrays"] = ArrayRecord()  # a client may do what it likes with its own message
        metrics = MetricRecord(
            {"num-examples": 1 + partition, "calls": calls, "threads": torch.get_num_threads()}
        )
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def grid_of(count: int, **options: object) -> InProcessGrid:
    return InProcessGrid(make_nodes(echo_app(), [{} for _ in range(count)]), seed=5, **options)  # type: ignore[arg-type]


def messages(grid: InProcessGrid, round_: int = 1, **config: int) -> list[Message]:
    record = RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(np.zeros(4))}),
            "config": ConfigRecord({"server-round": round_, **config}),
        }
    )
    return [Message(record, dst_node_id=node, message_type="train") for node in grid.get_node_ids()]


def values(replies: list[Message]) -> list[list[float]]:
    return [reply.content["arrays"]["w"].numpy().tolist() for reply in replies]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_give_the_same_replies_as_this_process(workers: int) -> None:
    with grid_of(5) as alone, grid_of(5, workers=workers) as pooled:
        for round_ in (1, 2):
            first = list(alone.send_and_receive(messages(alone, round_)))
            second = list(pooled.send_and_receive(messages(pooled, round_)))
            assert values(first) == values(second)
            assert [reply.content["metrics"]["calls"] for reply in second] == [round_] * 5
            assert [reply.metadata.src_node_id for reply in second] == list(pooled.get_node_ids())
            assert {reply.content["metrics"]["threads"] for reply in second} == {1}


def test_a_round_repeated_gives_the_same_and_another_round_does_not() -> None:
    with grid_of(2) as grid:
        first = values(list(grid.send_and_receive(messages(grid, 1))))
        assert values(list(grid.send_and_receive(messages(grid, 1)))) == first
        assert values(list(grid.send_and_receive(messages(grid, 2)))) != first


def test_global_generators_of_the_server_are_left_alone() -> None:
    with grid_of(2) as grid:
        random.seed(1)
        expected = random.random()
        random.seed(1)
        grid.send_and_receive(messages(grid))
        assert random.random() == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_client_that_raises_becomes_an_error_reply(workers: int) -> None:
    seen: list[Finished] = []
    with grid_of(4, workers=workers, on_finished=seen.append) as grid:
        replies = list(grid.send_and_receive(messages(grid, **{"raise-in": 2})))
    assert [reply.has_error() for reply in replies] == [False, False, True, False]
    assert "the phone fell in the sea" in str(replies[2].error.reason)
    assert sorted(f.done for f in seen) == [1, 2, 3, 4]
    assert [f.node_id for f in seen if f.failed] == [1002]


def test_a_crashed_worker_is_replaced() -> None:
    with grid_of(5, workers=2) as grid:
        replies = list(grid.send_and_receive(messages(grid, **{"exit-in": 1})))
        assert [reply.has_error() for reply in replies] == [False, True, False, False, False]
        assert "exit code 3" in str(replies[1].error.reason)
        assert not any(reply.has_error() for reply in grid.send_and_receive(messages(grid, 2)))


def test_a_client_over_its_time_is_stopped() -> None:
    with grid_of(3, workers=2, client_timeout=2.0) as grid:
        started = time.monotonic()
        replies = list(grid.send_and_receive(messages(grid, **{"sleep-in": 0})))
        assert time.monotonic() - started < 10
        assert [reply.has_error() for reply in replies] == [True, False, False]
        assert "no answer within 2 s" in str(replies[0].error.reason)


def test_interrupt_leaves_no_stale_answers() -> None:
    def interrupt(finished: Finished) -> None:
        raise KeyboardInterrupt

    with grid_of(6, workers=2, on_finished=interrupt) as grid:
        with pytest.raises(KeyboardInterrupt):
            grid.send_and_receive(messages(grid, 1))
        grid.on_finished = None
        with grid_of(6) as alone:
            assert values(list(grid.send_and_receive(messages(grid, 2)))) == values(
                list(alone.send_and_receive(messages(alone, 2)))
            )


def test_workers_die_with_a_killed_parent() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        grid = grid_of(2, workers=2)
        assert grid._pool
        os.write(writer, b" ".join(str(w.process.pid).encode() for w in grid._pool._workers))
        os.close(writer)
        time.sleep(60)
        os._exit(0)
    pids = [int(pid) for pid in os.read(reader, 100).split()]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_backward_in_the_parent_does_not_break_training_in_workers() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        weight = torch.ones(300, 300, requires_grad=True)
        (weight @ weight).sum().backward()
        assert weight.grad is not None
        metrics = MetricRecord({"num-examples": 1, "grad": float(weight.grad[0, 0])})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    weight = torch.ones(300, 300, requires_grad=True)
    (weight @ weight).sum().backward()
    with InProcessGrid(make_nodes(app, [{}, {}]), seed=1, workers=2, client_timeout=30) as grid:
        replies = list(grid.send_and_receive(messages(grid)))
    assert [reply.content["metrics"]["grad"] for reply in replies] == [600, 600]


def test_plain_fedavg_runs_over_the_grid() -> None:
    with grid_of(3) as grid:
        result = FedAvg(fraction_evaluate=0.0).start(
            grid, ArrayRecord({"w": Array(np.zeros(4))}), num_rounds=2
        )
    assert result.train_metrics_clientapp[2]["calls"] == pytest.approx(2)


def test_push_then_pull() -> None:
    with grid_of(2) as grid:
        ids = list(grid.push_messages(messages(grid)))
        assert len(list(grid.pull_messages(ids[:1]))) == 1
        assert [reply.metadata.reply_to_message_id for reply in grid.pull_messages(ids)] == ids[1:]


def test_bad_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        InProcessGrid([], seed=1)
    nodes = make_nodes(echo_app(), [{}])
    with pytest.raises(ValueError, match="different"):
        InProcessGrid(nodes * 2, seed=1)
    with pytest.raises(ValueError, match="client_timeout needs worker"):
        InProcessGrid(nodes, seed=1, client_timeout=1)
    with InProcessGrid(nodes, seed=1) as grid, pytest.raises(ValueError, match="no node 7"):
        grid.send_and_receive([Message(RecordDict(), dst_node_id=7, message_type="train")])


def node_and_round(reply: Message) -> tuple[int, float]:
    """An intake: what is kept of a reply."""
    if reply.has_error():
        return reply.metadata.src_node_id, -1.0
    return reply.metadata.src_node_id, float(reply.content["arrays"]["w"].numpy().sum())


def full_disk(reply: Message) -> None:
    raise OSError("the disk is full")


def process_of(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_replies_are_taken_in_where_the_client_ran(workers: int) -> None:
    with grid_of(4, workers=workers) as grid, grid_of(4) as alone:
        streamed = dict(grid.stream(messages(grid, **{"raise-in": 2}), node_and_round))
        replies = alone.send_and_receive(messages(alone, **{"raise-in": 2}))
        assert streamed == dict(node_and_round(reply) for reply in replies)
        assert streamed[1002] == -1.0
        with pytest.raises(OSError, match="the disk is full"):
            list(grid.stream(messages(grid), full_disk))
        assert len(list(grid.stream(messages(grid), node_and_round))) == 4


def test_the_coordinators_sums_are_spread_over_the_workers() -> None:
    with grid_of(2, workers=2) as grid, grid_of(2) as alone:
        assert list(grid.spread(abs, [-3, 2, -1])) == [3, 2, 1] == list(alone.spread(abs, [-3, 2, -1]))
        assert os.getpid() not in grid.spread(process_of, range(4))
        with pytest.raises(TypeError):
            grid.spread(abs, ["x"])
