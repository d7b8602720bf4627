"""A Flower `Grid` that runs unmodified ClientApps here or in warm worker processes, without Ray."""

from __future__ import annotations

import copy
import importlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flwr.app import Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.supercore.run import Run

from fedvm.federation.engines.clients import AppSource, Call, ClientRunner, Done, Job, Node, UserConfig
from fedvm.federation.engines.flower_task import (
    private_copy,
    set_message_id,
    set_server_identity,
    with_content,
)
from fedvm.federation.engines.grids import MessageGrid
from fedvm.federation.engines.shared import Shared
from fedvm.federation.engines.workers import Lost, WorkerPool
from fedvm.federation.ready_arrays import make_ready

Item = TypeVar("Item")
Value = TypeVar("Value")
FIRST_NODE_ID = 1_000


@dataclass(frozen=True)
class Finished:
    """Progress: `done` of `total` clients answered, the last being `node_id`, `failed` if with an error. reason: of the
    failure; trace: the traceback, where the client's app raised."""

    node_id: int
    done: int
    total: int
    failed: bool
    reason: str = ""
    trace: str = ""


def make_nodes(app: ClientApp | AppSource, configs: Sequence[UserConfig]) -> list[Node]:
    """One node a config, ids from 1000 up; adds `partition-id` and `num-partitions` as Flower does."""
    return [
        Node(FIRST_NODE_ID + index, {"partition-id": index, "num-partitions": len(configs), **config}, app)
        for index, config in enumerate(configs)
    ]


class InProcessGrid(MessageGrid):
    """Calls `client_app(message, context)` directly; close it, or use it as a context manager.

    nodes: the clients. seed: every call starts from global random generators seeded by (seed, partition,
    message type, round), so results do not depend on `workers`, on node ids or on earlier calls.
    run_config: given to every client's context. workers: 0 runs clients one after another in this process;
    N ≥ 1 makes N processes **now**: forked, so that they share what is in memory (make the grid before opening files or
    starting threads that must not be shared), or `fresh`, which load the nodes' app themselves (an `AppSource`).
    client_timeout: seconds per client, with workers only. on_finished: called in this process after every client.

    A client that raises, crashes its worker or overruns its time answers with an error message
    (`message.has_error()`); the others are not affected. Each node's `context.state` is kept between calls.
    Raises ValueError for no nodes or duplicate node ids.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        seed: int,
        run_config: UserConfig | None = None,
        run_id: int = 1,
        workers: int = 0,
        fresh: bool = False,
        client_timeout: float | None = None,
        on_finished: Callable[[Finished], None] | None = None,
    ) -> None:
        if not nodes:
            raise ValueError("a grid needs at least one node")
        self._nodes = {node.node_id: node for node in nodes}
        if len(self._nodes) != len(nodes):
            raise ValueError("node ids must be different from each other")
        if client_timeout is not None and workers == 0:
            raise ValueError("client_timeout needs workers: a client in this process cannot be stopped")
        self._run = Run.create_empty(run_id)
        self._runner = ClientRunner(self._nodes, seed, run_id, dict(run_config or {}))
        self._states = {node_id: RecordDict() for node_id in self._nodes}
        self._pending: dict[str, Message] = {}
        self._pushed = 0
        self._numbers = itertools.count()
        self.on_finished = on_finished
        set_server_identity(run_id)
        if workers and not fresh:
            _import_what_training_imports()
        self._client_timeout = client_timeout
        self._pool: WorkerPool[Call | Job, Done] | None = (
            WorkerPool(self._runner, workers, fresh=fresh) if workers else None
        )

    def close(self) -> None:
        """Stop the worker processes."""
        if self._pool:
            self._pool.close()

    def __enter__(self) -> InProcessGrid:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def seed(self) -> int:
        """What every call's random numbers follow from."""
        return self._runner.seed

    # --- Flower's interface ---

    def set_run(self, run: Run) -> None:
        """Use `run` for messages created from now on."""
        self._run, self._runner.run_id = run, run.run_id
        set_server_identity(run.run_id)

    @property
    def run(self) -> Run:
        """The Flower run."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        """All node ids, ascending."""
        return sorted(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; they are run when pulled. Raises ValueError for an unknown node id."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the queued messages with these ids and return the replies in the order of the ids."""
        return self._replies([self._pending.pop(key) for key in message_ids if key in self._pending], None)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Run the messages and return the replies in their order.

        timeout: seconds after which no further client is started and, with workers, those at work are stopped;
        as in Flower, they have no reply.
        """
        return self._replies([self._pending.pop(self._push(message)) for message in messages], timeout)

    # --- beyond Flower's interface ---

    def stream(
        self, messages: Iterable[Message], intake: Callable[[Message], Value], *, timeout: float | None = None
    ) -> Iterator[Value]:
        """Run the messages and yield `intake(reply)` for each, in the order in which the clients finish.

        intake: runs in the process that ran the client, so that only what it returns is sent here; with workers
        it and its values must pickle. What it raises is raised here. timeout: as for `send_and_receive`.
        """
        ready = [self._pending.pop(self._push(message)) for message in messages]
        for _, value in self._run_all(ready, intake, timeout):
            yield value

    def spread(self, function: Callable[[Item], Value], items: Iterable[Item]) -> Iterable[Value]:
        """`function(item)` for each item, in their order, in the worker processes if there are any."""
        if not self._pool:
            return [function(item) for item in items]
        listed = list(items)
        values: dict[int, Value] = {}
        for position, done in self._pool.run(Job(function, item) for item in listed):
            if isinstance(done, Lost):  # out of memory, perhaps: try in this process, where nothing else runs
                values[position] = function(listed[position])
            else:
                values[position] = _value_of(done)
        return [values[position] for position in range(len(listed))]

    # --- running ---

    def _push(self, message: Message) -> str:
        if message.metadata.dst_node_id not in self._nodes:
            raise ValueError(
                f"no node {message.metadata.dst_node_id}; this grid has {len(self._nodes)} nodes"
            )
        self._pushed += 1
        key = f"{self._run.run_id}-{self._pushed}"
        set_message_id(message, key)
        self._pending[key] = message
        return key

    def _replies(self, messages: list[Message], timeout: float | None) -> list[Message]:
        replies = dict(self._run_all(messages, _as_it_is, timeout))
        for reply in replies.values():
            if reply.has_content():
                make_ready(reply.content)
        return [replies[position] for position in sorted(replies)]

    def _run_all(
        self, messages: list[Message], intake: Callable[[Message], Value], timeout: float | None
    ) -> Iterator[tuple[int, Value]]:
        deadline = None if timeout is None else time.monotonic() + timeout
        with Shared(self._numbers) as shared:
            answers = self._answers(self._calls(messages, intake, shared, deadline), deadline)
            yield from self._taken(messages, intake, answers)

    def _taken(
        self,
        messages: list[Message],
        intake: Callable[[Message], Value],
        answers: Iterator[tuple[int, Done | Lost]],
    ) -> Iterator[tuple[int, Value]]:
        for answered, (position, done) in enumerate(answers, start=1):
            message = messages[position]
            node_id = message.metadata.dst_node_id
            if isinstance(done, Lost):
                error = Error(ErrorCode.CLIENT_APP_CRASHED, done.reason)
                value, failed, reason, trace = intake(Message(error, reply_to=message)), True, done.reason, ""
            else:
                value, failed, reason, trace = _value_of(done), done.failed, done.reason, done.trace
                if done.state is not None:
                    self._states[node_id] = done.state
            if self.on_finished:
                self.on_finished(Finished(node_id, answered, len(messages), failed, reason, trace))
            yield position, value

    def _calls(
        self,
        messages: list[Message],
        intake: Callable[[Message], Any],
        shared: Shared,
        deadline: float | None,
    ) -> Iterator[Call]:
        several = Counter(id(message.content) for message in messages if message.has_content())
        for message in messages:
            if deadline is not None and time.monotonic() >= deadline:
                return
            node_id = message.metadata.dst_node_id
            call = Call(node_id, message, self._states[node_id], intake)
            if self._pool and message.has_content() and several[id(message.content)] > 1:
                bare = with_content(message, RecordDict())
                content = shared.place_of(message.content)
                call = replace(call, message=bare, intake=shared.place_of(intake), content=content)
            yield call

    def _answers(self, calls: Iterator[Call], deadline: float | None) -> Iterator[tuple[int, Done | Lost]]:
        if self._pool:
            yield from self._pool.run(calls, timeout=self._client_timeout, until=deadline)
        else:
            for position, call in enumerate(calls):
                own = replace(call, message=private_copy(call.message), state=copy.deepcopy(call.state))
                yield position, self._runner(own)


def _import_what_training_imports() -> None:
    # PyTorch's first optimizer imports 800 modules, 70 MB: once here rather than once in each worker.
    if "torch" in sys.modules:
        importlib.import_module("torch._dynamo")


def _as_it_is(reply: Message) -> Message:
    return reply


def _value_of(done: Done) -> Any:
    if done.problem is not None:
        raise done.problem
    return done.value
