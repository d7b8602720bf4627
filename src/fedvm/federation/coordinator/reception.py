"""A reply on its way in: check the signed update, keep its vector in the store, pass on what is small.

With the in-process grid this runs in the worker that trained the client, so that the coordinator never holds the
vectors of a round and checks them on all processors. With any other grid it runs where the replies arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedvm.federation.commitment import check_commitment
from fedvm.federation.engines.grid import InProcessGrid
from fedvm.federation.errors import CommitmentError
from fedvm.federation.replies import read_reply
from fedvm.protocol import Domain, Submission, to_bytes
from fedvm.store import Store

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function for each item and returns the results in order, as `map` does; perhaps in several processes."""


@dataclass(frozen=True)
class Received:
    """A train reply taken in. Exactly one of these is given: a submission whose data are staged in the store;
    `failure`, why there is no signed update; `withheld`, why the one that `submission` speaks of is not its data.

    metrics: the reply's metric records.
    """

    node_id: int
    metrics: RecordDict
    submission: Submission | None = None
    failure: str | None = None
    withheld: str | None = None


@dataclass(frozen=True)
class Intake:
    """Takes in the replies of one federation into one store."""

    store: Store
    domain: Domain

    def __call__(self, reply: Message) -> Received:
        """Check a reply and stage its vector. Raises what the store does (a full disk, say), nothing else."""
        node_id = reply.metadata.src_node_id
        if reply.has_error():
            return Received(node_id, RecordDict(), failure=str(reply.error.reason))
        metrics = RecordDict(dict(reply.content.metric_records))
        received = Received(node_id, metrics)
        try:
            signed = read_reply(reply.content)
        except CommitmentError as error:
            return replace(received, failure=str(error))
        received = replace(received, submission=signed.submission)
        try:
            check_commitment(signed, self.domain)
        except CommitmentError as error:
            return replace(received, withheld=str(error))
        self.store.stage(to_bytes(signed.vector))
        return received


def gather(
    grid: Grid, messages: Iterable[Message], intake: Intake, *, timeout: float | None
) -> Iterator[Received]:
    """Send messages over any grid and take in the replies, in the order in which they come."""
    if isinstance(grid, InProcessGrid):
        yield from grid.stream(messages, intake, timeout=timeout)
    else:
        yield from map(intake, grid.send_and_receive(messages, timeout=timeout))


def spread_over(grid: Grid) -> Spread:
    """The grid's own workers if it has any to lend."""
    return grid.spread if isinstance(grid, InProcessGrid) else map
