"""A grid of clients as Flower's SuperNodes are: a process for each message, nothing in memory between two of them."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.run import Run

from fedvm.federation.engines.clients import Node, UserConfig
from fedvm.federation.engines.flower_task import (
    set_message_id,
    set_server_identity,
    set_source,
    task_identity,
)
from fedvm.federation.engines.grids import MessageGrid

SUPERLINK_NODE_ID = 1
_FORK = multiprocessing.get_context("fork")
Fault = Callable[[Message, int], bool]
"""From a message and the partition that it is for to whether the process dies once its answer is ready."""


class ScatteredGrid(MessageGrid):
    """Every message goes to a new process as bytes of Flower's, and so does its answer; answers come in random order.

    Nodes reconnect (`reconnect`) under new ids, while the ids before stay connected: of these the SuperLink says in its
    own name that they are gone, as it does of a node whose heartbeat has failed. dies: whose process dies, its answer
    ready and its state written.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        seed: int,
        run_config: UserConfig | None = None,
        dies: Fault | None = None,
    ) -> None:
        self._random = random.Random(seed)
        self._nodes = {self._random.getrandbits(63): node for node in nodes}
        self._gone: set[int] = set()
        self._run_config = dict(run_config or {})
        self._dies = dies or (lambda _message, _partition: False)
        self._run = Run.create_empty(1)
        self._replies: dict[str, Message] = {}
        set_server_identity(1)

    def reconnect(self) -> None:
        """All nodes are started again, and have other ids."""
        self._gone |= set(self._nodes)
        self._nodes = {self._random.getrandbits(63): node for node in self._nodes.values()}

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        return [*self._nodes, *self._gone]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        keys = []
        for message in messages:
            keys.append(str(self._random.getrandbits(63)))
            set_message_id(message, keys[-1])
            self._replies[keys[-1]] = self._answer(message)
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = list(self.pull_messages(self.push_messages(messages)))
        self._random.shuffle(replies)
        return replies

    def _answer(self, message: Message) -> Message:
        node_id = message.metadata.dst_node_id
        if node_id in self._gone:
            gone = Message(Error(ErrorCode.NODE_UNAVAILABLE, "the node is gone"), reply_to=message)
            set_source(gone, SUPERLINK_NODE_ID)
            return gone
        ours, theirs = _FORK.Pipe()
        sent = message_to_proto(message).SerializeToString()
        process = _FORK.Process(target=self._live, args=(node_id, sent, theirs))
        process.start()
        theirs.close()
        try:
            reply = message_from_proto(ProtoMessage.FromString(ours.recv_bytes()))
        except EOFError:
            reply = Message(Error(ErrorCode.CLIENT_APP_CRASHED, "it stopped responding"), reply_to=message)
            set_source(reply, node_id)
        process.join()
        ours.close()
        return reply

    def _live(self, node_id: int, sent: bytes, answers: Connection) -> None:
        """What a client's process does with its one message."""
        node, message = self._nodes[node_id], message_from_proto(ProtoMessage.FromString(sent))
        context = Context(1, node_id, dict(node.config), RecordDict(), dict(self._run_config))
        with task_identity(run_id=1, node_id=node_id):
            try:
                reply = node.app(message, context)
            except Exception as error:
                reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
        if self._dies(message, int(str(node.config["partition-id"]))):
            os._exit(9)
        answers.send_bytes(message_to_proto(reply).SerializeToString())
