"""A Flower `Grid` that runs unmodified ClientApps here or in warm worker processes, without Ray."""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from fedvm.federation.flower_task import private_copy, set_message_id, set_server_identity, task_identity
from fedvm.federation.reproducible import derive_seed, reproducible
from fedvm.federation.workers import Lost, WorkerPool

UserConfig = Mapping[str, bool | float | int | str]
FIRST_NODE_ID = 1_000


@dataclass(frozen=True)
class Node:
    """A simulated client: its id, what only it knows (`node_config`), and the app it runs."""

    node_id: int
    config: UserConfig
    app: ClientApp


@dataclass(frozen=True)
class Finished:
    """Progress: `done` of `total` clients answered, the last being `node_id`, `failed` if with an error."""

    node_id: int
    done: int
    total: int
    failed: bool


@dataclass(frozen=True)
class _Call:
    node_id: int
    message: Message
    state: RecordDict


@dataclass(frozen=True)
class _Reply:
    message: Message
    state: RecordDict


def make_nodes(app: ClientApp, configs: Sequence[UserConfig]) -> list[Node]:
    """One node a config, ids from 1000 up; adds `partition-id` and `num-partitions` as Flower does."""
    return [
        Node(FIRST_NODE_ID + index, {"partition-id": index, "num-partitions": len(configs), **config}, app)
        for index, config in enumerate(configs)
    ]


class InProcessGrid(Grid):
    """Calls `client_app(message, context)` directly; close it, or use it as a context manager.

    nodes: the clients. seed: every call starts from global random generators seeded by (seed, partition,
    message type, round), so results do not depend on `workers`, on node ids or on earlier calls.
    run_config: given to every client's context. workers: 0 runs clients one after another in this process;
    N ≥ 1 forks N processes **now** (so make the grid before opening files or starting threads that must not be shared).
    client_timeout: seconds per client, with workers only. on_finished: called in this process after every
    client.

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
        self._seed = seed
        self._run_config = dict(run_config or {})
        self._run = Run.create_empty(run_id)
        self._states = {node_id: RecordDict() for node_id in self._nodes}
        self._pending: dict[str, Message] = {}
        self._pushed = 0
        self.on_finished = on_finished
        set_server_identity(run_id)
        self._pool: WorkerPool[_Call, _Reply] | None = (
            WorkerPool(self._answer, workers, timeout=client_timeout) if workers else None
        )

    def close(self) -> None:
        """Stop the worker processes."""
        if self._pool:
            self._pool.close()

    def __enter__(self) -> InProcessGrid:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- Flower's interface ---

    def set_run(self, run: Run) -> None:
        """Use `run` for messages created from now on."""
        self._run = run
        set_server_identity(run.run_id)

    @property
    def run(self) -> Run:
        """The Flower run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message from the server to a node."""
        return Message(
            content, dst_node_id=dst_node_id, message_type=message_type, group_id=group_id, ttl=ttl
        )

    def get_node_ids(self) -> Iterable[int]:
        """All node ids, ascending."""
        return sorted(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; they are run when pulled. Raises ValueError for an unknown node id."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the queued messages with these ids and return the replies in the order of the ids."""
        return self._run_all([self._pending.pop(key) for key in message_ids if key in self._pending], None)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Run the messages and return the replies in their order.

        timeout: seconds after which no further client is started; as in Flower, what did not run has no
        reply.
        """
        return self._run_all([self._pending.pop(self._push(message)) for message in messages], timeout)

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

    def _run_all(self, messages: list[Message], timeout: float | None) -> list[Message]:
        deadline = None if timeout is None else time.monotonic() + timeout
        calls = self._calls(messages, deadline)
        replies: dict[int, Message] = {}
        for position, answer in self._answers(calls):
            message = messages[position]
            node_id = message.metadata.dst_node_id
            if isinstance(answer, Lost):
                reply = Message(Error(ErrorCode.CLIENT_APP_CRASHED, answer.reason), reply_to=message)
            else:
                reply = answer.message
                self._states[node_id] = answer.state
            replies[position] = reply
            if self.on_finished:
                self.on_finished(Finished(node_id, len(replies), len(messages), reply.has_error()))
        return [replies[position] for position in sorted(replies)]

    def _calls(self, messages: list[Message], deadline: float | None) -> Iterator[_Call]:
        for message in messages:
            if deadline is not None and time.monotonic() >= deadline:
                return
            node_id = message.metadata.dst_node_id
            yield _Call(node_id, message, self._states[node_id])

    def _answers(self, calls: Iterator[_Call]) -> Iterator[tuple[int, _Reply | Lost]]:
        if self._pool:
            yield from self._pool.run(calls)
        else:
            yield from ((position, self._answer(call)) for position, call in enumerate(calls))

    def _answer(self, call: _Call) -> _Reply:
        message = private_copy(call.message)
        node = self._nodes[call.node_id]
        context = Context(
            run_id=self._run.run_id,
            node_id=node.node_id,
            node_config=dict(node.config),
            state=copy.deepcopy(call.state),
            run_config=dict(self._run_config),
        )
        who = node.config.get("partition-id", node.node_id)
        seed = derive_seed(self._seed, who, message.metadata.message_type, _round_of(message))
        try:
            with task_identity(run_id=self._run.run_id, node_id=node.node_id), reproducible(seed):
                reply = node.app(message, context)
            return _Reply(reply, context.state)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
            return _Reply(
                Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message), call.state
            )


def _round_of(message: Message) -> str:
    """The round a message belongs to: Flower's strategies put it in a ConfigRecord, else the group id."""
    for config in message.content.config_records.values():
        if "server-round" in config:
            return str(config["server-round"])
    return message.metadata.group_id
