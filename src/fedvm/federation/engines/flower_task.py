"""All uses of Flower's internal interfaces, in one place.

Flower's `Message` reads who is sending from `flwr.supercore.task_identity.TaskIdentity`, which SuperLink and
SuperNode set when they start a process; and a message's id can only be written through its `__dict__`, as
Flower's own grids do. Nothing else in FedVM touches either.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flwr.app import Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

SERVER_NODE_ID = 1
"""Node id of the ServerApp; the value Flower's SuperLink uses."""


Identity = tuple[Any, Any, Any]
"""Flower's task id, run id and node id of a process, whole numbers, or None where nothing is set."""


def current_identity() -> Identity:
    """Flower's identity of this process."""
    return (TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id)


def set_identity(identity: Identity) -> None:
    """Let messages created in this process from now on carry `identity`."""
    TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = identity


@contextmanager
def task_identity(*, run_id: int, node_id: int) -> Iterator[None]:
    """Let messages created inside the block carry this run and sender; restores the previous identity."""
    before = current_identity()
    set_identity((1, run_id, node_id))
    try:
        yield
    finally:
        set_identity(before)


def set_server_identity(run_id: int) -> None:
    """Identify this process as the ServerApp of run `run_id` until changed."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, SERVER_NODE_ID


def set_message_id(message: Message, message_id: str) -> None:
    """Write the id that replies to `message` will refer to."""
    message.metadata.__dict__["_message_id"] = message_id


def set_source(message: Message, node_id: int) -> None:
    """Write which node a reply is from."""
    message.metadata.__dict__["_src_node_id"] = node_id


def private_copy(message: Message) -> Message:
    """The same message with a content of its own.

    Messages of a round share one content object, and a client may change what it is given. Array data are
    bytes, which the copy shares.
    """
    return with_content(message, copy.deepcopy(message.content))


def with_content(message: Message, content: RecordDict) -> Message:
    """The same message with another content."""
    return Message(content, metadata=message.metadata)  # type: ignore[call-overload, no-any-return]
