"""Base classes of grids: one that makes messages, and one that delegates to another grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run


class MessageGrid(Grid):
    """Makes messages in this process; a subclass says where they are sent."""

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


class GridAround(Grid):
    """Delegates everything to the grid inside it; a subclass says which grid that is, and what differs."""

    @property
    @abstractmethod
    def inside(self) -> Grid:
        """The grid that does the work."""

    def set_run(self, run: Run) -> None:
        """As the grid inside."""
        self.inside.set_run(run)

    @property
    def run(self) -> Run:
        """As the grid inside."""
        return self.inside.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """As the grid inside."""
        return self.inside.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """As the grid inside."""
        return self.inside.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As the grid inside."""
        return self.inside.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As the grid inside."""
        return self.inside.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """As the grid inside."""
        return self.inside.send_and_receive(messages, timeout=timeout)


class GridOnDemand(GridAround):
    """A grid that is opened when it is first used, so that a run with no round left needs no node at all."""

    def __init__(self, open_grid: Callable[[], Grid]) -> None:
        self._open = open_grid
        self._inside: Grid | None = None

    @property
    def inside(self) -> Grid:
        """The grid, opened now if it was not."""
        if self._inside is None:
            self._inside = self._open()
        return self._inside
