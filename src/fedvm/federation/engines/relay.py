"""A Flower grid over a local socket: the ServerApp inside Flower hands its grid to the process that coordinates.

Flower starts a ServerApp in a process of its own, while chain, store and coordinator's key belong to the process that
runs `fedvm`. So the ServerApp only carries messages, and the same program makes all decisions, whichever engine runs
the clients.

Messages are pickled, so both ends must belong to the same user: the socket lies in a directory that only its
owner may enter.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from types import TracebackType
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from fedvm.federation.engines.flower_task import Identity, current_identity, set_identity, set_source
from fedvm.federation.engines.grid import Finished
from fedvm.federation.engines.grids import MessageGrid
from fedvm.federation.errors import EngineError

_CALLS = ("get_node_ids", "push_messages", "pull_messages")
_POLL_SECONDS = 0.25
_ALIVE_SECONDS = 5.0


def carry(grid: Grid, socket: str) -> None:
    """Serve `grid` to the coordinator listening at `socket` until it hangs up. For a ServerApp's main."""
    try:
        connection = Client(socket, family="AF_UNIX")
    except OSError as error:
        raise EngineError(
            f"no coordinator listens at {socket} ({error.strerror}): `fedvm run` and the SuperLink must run on one "
            "machine as one user, and this run is over once `fedvm run` has ended"
        ) from error
    with connection:
        connection.send((current_identity(), grid.run))
        while True:
            try:
                name, arguments = connection.recv()
            except (EOFError, ConnectionResetError):
                return
            connection.send(_call(grid, name, arguments))


def _call(grid: Grid, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    if name not in _CALLS:
        return False, f"{name} is no call of a grid"
    try:
        return True, list(getattr(grid, name)(*arguments))
    except Exception as error:  # the coordinator decides what becomes of the round
        return False, f"{type(error).__name__}: {error}"


class Relay:
    """The coordinator's end: a socket to wait at for the ServerApp. Use as a context manager."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="fedvm-")  # mode 0700; its path is short enough
        self.socket = str(Path(self._directory.name) / "grid")
        self._listener = Listener(self.socket, family="AF_UNIX")

    def accept(self, *, alive: Callable[[], None], seconds: float) -> RelayGrid:
        """Wait for the ServerApp. alive: raises when it is clear that none will come.

        Raises EngineError after `seconds`.
        """
        deadline = time.monotonic() + seconds
        listening = self._listener._listener._socket  # type: ignore[attr-defined]
        listening.settimeout(1.0)
        while True:
            try:
                return RelayGrid(self._listener.accept(), alive)
            except TimeoutError:
                alive()
                if time.monotonic() > deadline:
                    raise EngineError(
                        f"Flower started no ServerApp within {seconds:g} s: see the SuperLink's log"
                    ) from None

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._directory.cleanup()


class RelayGrid(MessageGrid):
    """The grid of a ServerApp elsewhere, as `carry` serves it.

    on_finished: called after every reply. Raises EngineError when the ServerApp is gone or a call failed there.
    """

    def __init__(self, connection: Connection, alive: Callable[[], None]) -> None:
        self._connection = connection
        self._alive = alive
        identity, run = connection.recv()
        self._run: Run = run
        set_identity(identity)
        self.on_finished: Callable[[Finished], None] | None = None

    def close(self) -> None:
        """Let the ServerApp end."""
        self._connection.close()

    def set_run(self, run: Run) -> None:
        """A relayed grid stays with the run it was accepted for."""
        raise EngineError("a relayed grid's run cannot be changed")

    @property
    def run(self) -> Run:
        """The Flower run."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        """Ids of the connected nodes."""
        return self._ask("get_node_ids")

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; their ids."""
        return self._ask("push_messages", list(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to these messages that have come."""
        return self._ask("pull_messages", list(message_ids))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send, and wait for all replies or `timeout` seconds; what came by then."""
        sent = list(messages)
        pending = {
            str(message_id): message.metadata.dst_node_id
            for message_id, message in zip(self.push_messages(sent), sent, strict=False)
            if message_id
        }
        total, replies = len(pending), list[Message]()
        deadline = None if timeout is None else time.monotonic() + timeout
        while pending and (deadline is None or time.monotonic() < deadline):
            for reply in self.pull_messages(pending):
                node_id = pending.pop(reply.metadata.reply_to_message_id, reply.metadata.src_node_id)
                if reply.has_error():  # which the SuperLink sends in its own name for a node that is gone
                    set_source(reply, node_id)
                replies.append(reply)
                if self.on_finished:
                    self.on_finished(Finished(node_id, len(replies), total, reply.has_error()))
            if pending:
                time.sleep(_POLL_SECONDS)
        return replies

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        try:
            self._connection.send((name, arguments))
            while not self._connection.poll(_ALIVE_SECONDS):
                self._alive()
            succeeded, answer = self._connection.recv()
        except (EOFError, OSError):
            raise EngineError(
                "Flower's ServerApp is gone: see the SuperLink's log. Nothing is lost: resume the run."
            ) from None
        if not succeeded:
            raise EngineError(f"Flower's grid refused {name}: {answer}")
        return list(answer)


@contextmanager
def own_identity() -> Iterator[None]:
    """Restore this process's Flower identity after a relayed run."""
    before: Identity = current_identity()
    try:
        yield
    finally:
        set_identity(before)
