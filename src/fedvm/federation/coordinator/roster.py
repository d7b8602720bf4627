"""Which Flower node is which member: known beforehand, or found by asking the nodes when they connect."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from logging import INFO, WARNING

from flwr.app import Message
from flwr.app.message_type import MessageType
from flwr.common import log
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.engines.grids import GridAround
from fedvm.federation.errors import CommitmentError
from fedvm.federation.identity import Question, read_answer
from fedvm.protocol.address import Address, to_address

ASK_TIMES = 3
"""How often a node is asked that does not answer with a proof; it may have been starting, or be at fault."""


class Roster:
    """Knows the member behind each connected node.

    told: node id → member's address; if it is given, nobody is asked. Otherwise every node that connects is asked once
    for its address and a signature (`fedvm.federation.identity`); nodes that prove no member's key are left
    out with a line in the log. A SuperNode that is started again may have another id, while Flower takes the one before
    for connected, for a minute; so of several nodes of a member the one that proved its key last counts. ask_timeout:
    seconds to wait for the answers.
    """

    def __init__(
        self, ledger: ChainLedger, told: Mapping[int, str] | None = None, *, ask_timeout: float = 120.0
    ) -> None:
        self._ledger = ledger
        self._told = told is not None
        self._proved: dict[int, Address] = {node: to_address(member) for node, member in (told or {}).items()}
        self._asked: dict[int, int] = {}
        self._batches = 0
        self._proved_in: dict[int, int] = {}
        self._left_out: dict[int, str] = {}
        self._ask_timeout = ask_timeout

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
        question = Question(self._ledger.domain, secrets.token_bytes(32))
        content = question.content()
        messages = [Message(content, node_id, MessageType.TRAIN) for node_id in node_ids]
        unheard = set(node_ids)
        for reply in grid.send_and_receive(messages, timeout=timeout):
            node_id = reply.metadata.src_node_id
            if node_id not in unheard:  # the SuperLink answers for a node that is gone
                continue
            unheard.discard(node_id)
            if reply.has_error():
                first = reply.error.code == ErrorCode.MOD_FAILED_PRECONDITION
                hint = "; put fedvm_mod first among the ClientApp's mods" if first else ""
                self._leave_out(node_id, f"it failed when asked: {reply.error.reason}{hint}")
                continue
            try:
                self._proved[node_id] = read_answer(question, node_id, reply.content, self._ledger.key_of)
            except CommitmentError as error:
                self._leave_out(node_id, str(error))
                continue
            self._proved_in[node_id] = self._batches
            log(INFO, "Node %d is %s", node_id, self._proved[node_id])
        for node_id in node_ids:
            self._asked[node_id] = self._asked.get(node_id, 0) + 1
        for node_id in unheard:
            self._leave_out(node_id, "no answer in time")

    def _leave_out(self, node_id: int, reason: str) -> None:
        if self._left_out.get(node_id) != reason:
            self._left_out[node_id] = reason
            log(WARNING, "Node %d is left out: %s", node_id, reason)


class MemberGrid(GridAround):
    """A grid that shows only the nodes of members, for the inner strategy to count and wait for.

    shown: node id → member, as it was shown last.
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
        return list(self.shown)
