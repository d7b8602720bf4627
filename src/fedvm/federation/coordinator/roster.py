"""Which Flower node is which member: known beforehand, or found by asking the nodes when they connect."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging import INFO, WARNING

from flwr.app import Message, RecordDict
from flwr.app.message_type import MessageType
from flwr.common import log
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.engines.grids import GridAround
from fedvm.federation.errors import CommitmentError, SettingsError
from fedvm.federation.identity import Question, read_answer
from fedvm.protocol import Domain
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.verdict import no_key

ASK_TIMES = 3
"""How often a node is asked that does not answer with a proof; it may have been starting, or be at fault."""
ASK_SECONDS = 120.0
"""How long to wait for the answers."""
_PATIENCE = 60.0


@dataclass(frozen=True)
class Answered:
    """What a node that was asked has proved: the member whose key it holds; or None, for a reason. failed: its app
    raised an error, or a mod before FedVM's did."""

    node_id: int
    member: Address | None
    reason: str = ""
    failed: bool = False


def ask_nodes(
    grid: Grid,
    domain: Domain,
    node_ids: Sequence[int],
    *,
    timeout: float = ASK_SECONDS,
    key_of: Callable[[str], str] = no_key,
    may_draw: bool = False,
    dressing: RecordDict | None = None,
) -> Iterator[Answered]:
    """Ask nodes who they are; one answer for each.

    key_of, may_draw: see `read_answer` and `Question`. dressing: what a train message of the app looks like; nodes that
    fail at a bare question are asked again in one, since a mod that wants such a message may stand before FedVM's.
    """
    question = Question(domain, secrets.token_bytes(32), may_draw)
    failed = []
    for answered in _ask(grid, question, question.content(), node_ids, timeout, key_of):
        if answered.failed and dressing is not None:
            failed.append(answered.node_id)
        else:
            yield answered
    if failed and dressing is not None:
        dressed = RecordDict({**dict(dressing), **dict(question.content())})
        yield from _ask(grid, question, dressed, failed, timeout, key_of)


def _ask(
    grid: Grid,
    question: Question,
    content: RecordDict,
    node_ids: Sequence[int],
    timeout: float,
    key_of: Callable[[str], str],
) -> Iterator[Answered]:
    unheard = dict.fromkeys(node_ids)
    messages = [Message(content, node_id, MessageType.TRAIN) for node_id in node_ids]
    for reply in grid.send_and_receive(messages, timeout=timeout):
        node_id = reply.metadata.src_node_id
        if node_id not in unheard:  # the SuperLink answers for a node that is gone
            continue
        del unheard[node_id]
        if reply.has_error():
            first = reply.error.code == ErrorCode.MOD_FAILED_PRECONDITION
            hint = "; put fedvm_mod first among the ClientApp's mods" if first else ""
            yield Answered(node_id, None, f"it failed when asked: {reply.error.reason}{hint}", failed=True)
            continue
        try:
            yield Answered(node_id, read_answer(question, node_id, reply.content, key_of))
        except CommitmentError as error:
            yield Answered(node_id, None, str(error))
    for node_id in unheard:
        yield Answered(node_id, None, "no answer in time")


class Roster:
    """Knows the member behind each connected node.

    told: node id → member's address; if it is given, nobody is asked. Otherwise every node that connects is asked once
    for its address and a signature (`fedvm.federation.identity`); nodes that prove no member's key are left
    out with a line in the log. A SuperNode that is started again may have another id, while Flower takes the one before
    for connected, for a minute; so of several nodes of a member the one that proved its key last counts. ask_timeout:
    seconds to wait for the answers. proved: what nodes have proved already. admit: takes new members in, if the
    federation is for whoever connects.
    """

    def __init__(
        self,
        ledger: ChainLedger,
        told: Mapping[int, str] | None = None,
        *,
        ask_timeout: float = ASK_SECONDS,
        proved: Mapping[int, Address] | None = None,
        admit: Callable[[Sequence[Address]], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._told = told is not None
        self._proved: dict[int, Address] = {node: to_address(member) for node, member in (told or {}).items()}
        self._asked: dict[int, int] = {}
        self._batches = 0
        self._proved_in: dict[int, int] = {}
        self._left_out: dict[int, str] = {}
        self._ask_timeout = ask_timeout
        self._proved.update(proved or {})
        self._admit = admit
        self._in_vain: float | None = None
        self.dressing: RecordDict | None = None
        """What a train message of the app looks like, for nodes that fail at a bare question."""

    def member_of(self, node_id: int) -> Address | None:
        """The member's address that a node has proved, None if it has proved none."""
        return self._proved.get(node_id)

    def present(self, grid: Grid, *, seconds: float | None = None) -> dict[int, Address]:
        """Node id → member for all connected members, at most one node for each; asks nodes that are new, and waits for
        them no longer than `seconds`."""
        connected = sorted(grid.get_node_ids())
        if self._told:
            return {node_id: self._proved[node_id] for node_id in connected if node_id in self._proved}
        timeout = self._ask_timeout if seconds is None else min(seconds, self._ask_timeout)
        self._ask(grid, [node_id for node_id in connected if self._wants_asking(node_id)], timeout)
        members = frozenset(self._ledger.members())
        present: dict[Address, int] = {}
        for node_id in sorted(connected, key=lambda one: (-self._proved_in.get(one, 0), one)):
            address = self._proved.get(node_id)
            if address is None:
                continue
            if address not in members:
                self._leave_out(node_id, f"{address} is no member of the federation {self._ledger.address}")
            elif address in present:
                self._leave_out(node_id, f"node {present[address]} is {address} already")
            else:
                present[address] = node_id
        return {present[member]: member for member in sorted(present, key=present.__getitem__)}

    def _wants_asking(self, node_id: int) -> bool:
        return node_id not in self._proved and self._asked.get(node_id, 0) < ASK_TIMES

    def _ask(self, grid: Grid, node_ids: list[int], timeout: float) -> None:
        if not node_ids:
            return
        self._batches += 1
        for node_id in node_ids:
            self._asked[node_id] = self._asked.get(node_id, 0) + 1
        for answered in ask_nodes(
            grid,
            self._ledger.domain,
            node_ids,
            timeout=timeout,
            key_of=self._ledger.key_of,
            may_draw=self._admit is not None,
            dressing=self.dressing,
        ):
            if answered.member is None:
                self._leave_out(answered.node_id, answered.reason)
                continue
            self._proved[answered.node_id] = answered.member
            self._proved_in[answered.node_id] = self._batches
            log(INFO, "Node %d is %s", answered.node_id, answered.member)
        if self._admit:
            members = frozenset(self._ledger.members())
            if new := sorted({self._proved[node] for node in node_ids if node in self._proved} - members):
                self._admit(new)

    def why_nobody(self, connected: Iterable[int]) -> str | None:
        """Why none of the connected nodes is a member, once all have been asked in vain and a minute has passed, in
        which others might have come; else None."""
        nodes = list(connected)
        if self._told or not nodes or any(node in self._proved or self._wants_asking(node) for node in nodes):
            self._in_vain = None
            return None
        self._in_vain = self._in_vain or time.monotonic()
        if self._admit is None and time.monotonic() - self._in_vain < _PATIENCE:
            return None
        return "; ".join(
            f"node {node_id}: {self._left_out[node_id]}" for node_id in nodes[:3] if node_id in self._left_out
        )

    def _leave_out(self, node_id: int, reason: str) -> None:
        if self._left_out.get(node_id) != reason:
            self._left_out[node_id] = reason
            log(WARNING, "Node %d is left out: %s", node_id, reason)


class MemberGrid(GridAround):
    """A grid that shows only the nodes of members, for the inner strategy to count and wait for.

    shown: node id → member, as it was shown last. Where all connected nodes were asked in vain, it raises SettingsError
    rather than let the strategy wait for ever.
    """

    def __init__(self, grid: Grid, roster: Roster) -> None:
        self._grid = grid
        self._roster = roster
        self.shown: Mapping[int, Address] = {}

    @property
    def inside(self) -> Grid:
        """The whole grid."""
        return self._grid

    def get_node_ids(self) -> Iterable[int]:
        """The connected members' nodes."""
        self.shown = self._roster.present(self._grid)
        if not self.shown and (why := self._roster.why_nobody(self._grid.get_node_ids())):
            raise SettingsError(f"no connected node is a member of the federation: {why}")
        return list(self.shown)
