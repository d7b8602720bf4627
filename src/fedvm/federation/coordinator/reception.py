"""Takes in a reply: checks the signed update, puts its vector into the store, and passes on only the small parts.

With the in-process grid this runs in the worker that trained the client. So the coordinator never holds a round's
vectors, and all processors check them. With any other grid it runs where the replies arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedvm.federation.byte_model import payload_of
from fedvm.federation.commitment import check_commitment
from fedvm.federation.engines.grid import InProcessGrid
from fedvm.federation.errors import CommitmentError
from fedvm.federation.replies import Rounding, read_reply, read_rounding
from fedvm.federation.terms import RECORD
from fedvm.protocol import Domain, Submission, to_bytes
from fedvm.protocol.aggregators import MOST_BYTES, Aggregator, ByteRule
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.store import Store
from fedvm.store.payloads import name_of

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function for each item and returns the results in order, as `map` does; perhaps in several processes."""


@dataclass(frozen=True)
class Received:
    """A train reply that was taken in. It is one of three: a `submission` whose data are staged in the store;
    `failure`, the reason why there is no signed update; or `withheld`, the reason why the coordinator does not relay
    `submission` (its data are not what it states).

    metrics: the reply's metric records. rounding: what became of the float update, as the client says.
    """

    node_id: int
    metrics: RecordDict
    submission: Submission | SealedSubmission | None = None
    failure: str | None = None
    withheld: str | None = None
    rounding: Rounding | None = None


@dataclass(frozen=True)
class Intake:
    """Takes in the replies of one federation into one store. rule: what makes a model of the updates; if it works on
    bytes, these come with the updates, which name them."""

    store: Store
    domain: Domain
    rule: Aggregator | None = None

    def __call__(self, reply: Message) -> Received:
        """Check a reply and stage its vector. Raises only what the store raises (for a full disk, say)."""
        node_id = reply.metadata.src_node_id
        if reply.has_error():
            return Received(node_id, RecordDict(), failure=str(reply.error.reason))
        metrics = RecordDict(dict(reply.content.metric_records))
        received = Received(node_id, metrics)
        try:
            signed = read_reply(reply.content)
        except CommitmentError as error:
            return replace(received, failure=str(error))
        received = replace(received, submission=signed.submission, rounding=read_rounding(reply.content))
        try:
            check_commitment(signed, self.domain)
        except CommitmentError as error:
            return replace(received, withheld=str(error))
        if isinstance(self.rule, ByteRule):
            data = payload_of(reply.content)
            if data is None or len(data) > MOST_BYTES or not np.array_equal(name_of(data), signed.vector):
                what = f"its bytes are not those that its update names, or more than {MOST_BYTES >> 20} MiB"
                return replace(received, withheld=what)
            if why := self.rule.objection(data):
                return replace(received, withheld=f"nothing would be taken of its bytes: {why}")
            self.store.stage(data)
        self.store.stage(to_bytes(signed.vector))
        return received


@dataclass(frozen=True)
class Taken:
    """A reply that was taken in, and what is left of it for a strategy's own code: metrics, configs, perhaps arrays."""

    received: Received
    reply: Message


@dataclass(frozen=True)
class TakeIn:
    """Takes in a reply by `intake`, and takes FedVM's records out of it; the arrays stay if `keep_arrays`."""

    intake: Callable[[Message], Received]
    keep_arrays: bool

    def __call__(self, reply: Message) -> Taken:
        """Raises what `intake` raises."""
        received = self.intake(reply)
        if not reply.has_error():
            for key in [key for key in reply.content.config_records if key.startswith(RECORD)]:
                del reply.content[key]
            if not self.keep_arrays:
                for key in list(reply.content.array_records):
                    reply.content[key] = ArrayRecord()
        return Taken(received, reply)


def gather(
    grid: Grid, messages: Iterable[Message], intake: Callable[[Message], Received], *, timeout: float | None
) -> Iterator[Received]:
    """Send messages over any grid and take in the replies, in the order in which they come."""
    if isinstance(grid, InProcessGrid):
        yield from grid.stream(messages, intake, timeout=timeout)
    else:
        yield from map(intake, grid.send_and_receive(messages, timeout=timeout))


def spread_over(grid: Grid) -> Spread:
    """The grid's function that spreads work over its workers, if it has workers."""
    return grid.spread if isinstance(grid, InProcessGrid) else map
