"""Running one client's app on one message, in whatever process that is."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from fedvm.federation.engines.components import find_first, load_component
from fedvm.federation.engines.flower_task import task_identity, with_content
from fedvm.federation.engines.shared import Place, Reader
from fedvm.federation.keys import QUESTION, draw_key
from fedvm.federation.reproducible import derive_seed, reproducible

UserConfig = Mapping[str, bool | float | int | str]


@dataclass(frozen=True)
class AppSource:
    """A ClientApp that a fresh process can load: "module:attribute" and the directory where the module lies; or its
    bytes, pickled, where it has no name."""

    reference: str = ""
    directory: str = ""
    pickled: bytes = b""

    @classmethod
    def of(cls, app: ClientApp) -> AppSource:
        """The source of an app that exists, by value as far as its module cannot be imported elsewhere."""
        return cls(pickled=cloudpickle.dumps(app))

    def load(self) -> ClientApp:
        """The app, loaded once in a process. Raises what importing it raises."""
        return _loaded(self)


@lru_cache(maxsize=4)
def _loaded(source: AppSource) -> ClientApp:
    if source.pickled:
        app: ClientApp = cloudpickle.loads(source.pickled)
        return app
    if source.directory:
        find_first(Path(source.directory))
    return load_component(source.reference, ClientApp)


@dataclass(frozen=True)
class Node:
    """A simulated client: its id, what only it knows (`node_config`), and the app it runs."""

    node_id: int
    config: UserConfig
    app: ClientApp | AppSource


@dataclass(frozen=True)
class Call:
    """The task to run a client, and then `intake` on its reply. content: where the message's content lies, if others
    have it, too; then it has none itself. intake: perhaps where it lies."""

    node_id: int
    message: Message
    state: RecordDict
    intake: Callable[[Message], Any] | Place
    content: Place | None = None


@dataclass(frozen=True)
class Job:
    """The task to run one of the coordinator's own functions."""

    function: Callable[[Any], Any]
    item: Any


@dataclass(frozen=True)
class Done:
    """The outcome of a task: its value, or the exception of the coordinator's own function.

    state, failed, reason, trace: for a call, the client's state, whether it answered with an error and which, and the
    traceback of what it raised.
    """

    value: Any
    state: RecordDict | None = None
    failed: bool = False
    problem: Exception | None = None
    reason: str = ""
    trace: str = ""


@dataclass
class ClientRunner:
    """Runs the clients `nodes` (by their ids) of a run; it pickles if their apps are sources."""

    nodes: Mapping[int, Node]
    seed: int
    run_id: int
    run_config: UserConfig
    shared: Reader = field(default_factory=Reader)

    def __call__(self, task: Call | Job) -> Done:
        """Run a task that may change its objects: they are copies, or came through the pipe."""
        if isinstance(task, Job):
            return attempt(task.function, task.item)
        node, message = self.nodes[task.node_id], task.message
        if task.content:
            message = with_content(message, self.shared.content_at(task.content))
        intake = self.shared.at(task.intake) if isinstance(task.intake, Place) else task.intake
        context = Context(
            run_id=self.run_id,
            node_id=node.node_id,
            node_config=dict(node.config),
            state=task.state,
            run_config=dict(self.run_config),
        )
        who = node.config.get("partition-id", node.node_id)
        if QUESTION in message.content.config_records:
            # A key from the operating system would give every run other members, and with them other seeds.
            draw_key(context, hashlib.sha256(f"{self.seed}/key/{who}".encode()).digest())
        seed = derive_seed(self.seed, who, message.metadata.message_type, _round_of(message))
        reason = trace = ""
        try:
            app = node.app if isinstance(node.app, ClientApp) else node.app.load()
            with task_identity(run_id=self.run_id, node_id=node.node_id), reproducible(seed):
                reply = app(message, context)
                state: RecordDict | None = context.state
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
            state = None  # a client that fails does not change its state
            trace = "".join(traceback.format_exception(error))
        if reply.has_error():
            reason = str(reply.error.reason)
        taken = attempt(intake, reply)
        return Done(taken.value, state, bool(reason), taken.problem, reason, trace)


def attempt(function: Callable[[Any], Any], item: Any) -> Done:
    """A function's value, or what it raised."""
    try:
        return Done(function(item))
    except Exception as error:
        return Done(None, problem=error)


def _round_of(message: Message) -> str:
    """The round a message belongs to: Flower's strategies put it in a ConfigRecord, else the group id."""
    for config in message.content.config_records.values():
        if "server-round" in config:
            return str(config["server-round"])
    return message.metadata.group_id
