"""Brings an epoch about: asks members to enrol, draws groups, passes keys on, and states who is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from logging import INFO, WARNING

from flwr.app import ConfigRecord, Message
from flwr.app.message_type import MessageType
from flwr.common import log
from flwr.serverapp import Grid

from fedvm.chain.epoch_types import EpochStanding, EpochState, SignedEnrolment
from fedvm.evm.keccak import keccak
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.roster import Roster
from fedvm.federation.coordinator.sealed.ledger import SealedLedger
from fedvm.federation.errors import CommitmentError, FederationStalled
from fedvm.federation.sealed.messages import (
    EdgesRequest,
    EnrolReply,
    EnrolRequest,
    KeysReply,
    KeysRequest,
    SharesRequest,
    step_content,
    step_reply,
)
from fedvm.protocol import EncodingError, SignatureError
from fedvm.protocol.address import Address
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.edges import ciphertexts, published
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.typed_data import Enrol, Ready
from fedvm.protocol.verdict import signs_for
from fedvm.store.unixfs import cid_of

Request = EnrolRequest | KeysRequest | EdgesRequest | SharesRequest
ATTEMPTS = 3
"""Epochs that may fail in a row before the run stops."""
ASK_TIMES = 2
"""How often a member is asked for a step before it counts as absent: its process may die, or its RPC be a block
behind."""
MARGIN = 10
"""A part of this of each span of time that the sealed rules give is kept for the transactions that end it."""
_LOOK_SECONDS = 1.0


@dataclass
class EpochKeeper:
    """Keeps a sealed federation in an epoch in which rounds can be sealed.

    roster: which node is which member. What members sent is kept while the process lives; after a restart they are
    asked again, and answer with the same keys. Who answered no step before may answer it in a later round.
    """

    federation: Federation
    ledger: SealedLedger
    roster: Roster
    _mlkem: dict[Address, bytes] = field(default_factory=dict)
    _files: dict[Address, bytes] = field(default_factory=dict)
    _signatures: dict[Address, bytes] = field(default_factory=dict)
    _agreed: Epoch | None = None
    _sharing: set[Address] = field(default_factory=set)

    def current(self, grid: Grid, *, left_open: bool = False) -> Epoch:
        """The epoch that the next round is sealed in; a new one is brought about when the one before is over.

        left_open: the round is open already, in the latest epoch.

        Raises:
            FederationStalled: too few members enrol, or none of the groups is fit.
        """
        for _ in range(ATTEMPTS):
            standing = self.ledger.standing()
            if not left_open and not self.ledger.is_usable(standing):
                standing = self._brought_about(grid, standing)
            if standing.state is EpochState.FAILED:
                continue
            epoch = self.ledger.agreed(standing, self._agreed)
            if self._agreed != epoch:
                self._agreed, self._sharing = epoch, set()
            self._agree(grid, epoch)
            if not any(group.is_fit for group in epoch.groups):
                raise FederationStalled(
                    f"no group of epoch {standing.number} has nine tenths of its members ready; connect more clients"
                )
            return epoch
        raise FederationStalled(
            f"{ATTEMPTS} epochs in a row failed; see the log, mend the clients and resume the run"
        )

    def _brought_about(self, grid: Grid, standing: EpochStanding) -> EpochStanding:
        over = standing.state in (EpochState.NONE, EpochState.FAILED) or standing.is_stated
        if over:
            self._await_members(grid)
            standing = self.ledger.open_epoch()
            self._mlkem, self._files, self._signatures, self._agreed = {}, {}, {}, None
            log(INFO, "Epoch %d: members enrol", standing.number)
        if standing.state is EpochState.ENROLLING:
            self._enrol(grid, standing)
        draw = self.ledger.draw(standing)
        standing = self.ledger.standing()
        log(
            INFO, "Epoch %d: %d members in %d groups", standing.number, len(draw.roster), draw.grouping.groups
        )
        if self.federation.ledger.now() > standing.until:
            self.ledger.fail_epoch(standing)
            return self.ledger.standing()
        places = self._exchange(grid, draw, standing.until - self.ledger.rules.key_seconds // MARGIN)
        ready = bitmap(len(draw.roster), places)
        if any(group.is_fit for group in Epoch(draw, 0, ready).groups):
            self.ledger.state_ready(standing.number, ready)
        else:
            log(WARNING, "Epoch %d: no group has nine tenths of its members ready", standing.number)
            self.ledger.fail_epoch(standing)
        return self.ledger.standing()

    def _await_members(self, grid: Grid) -> None:
        """Wait until as many members are connected as an epoch needs, but no longer than they have to enrol."""
        needed, seconds = self.ledger.rules.min_roster, self.ledger.rules.enrol_seconds
        deadline = time.monotonic() + seconds
        told = -1
        while (here := len(self.roster.present(grid))) < needed and time.monotonic() < deadline:
            if here != told:
                log(INFO, "An epoch needs %d members; %d are connected", needed, here)
                told = here
            time.sleep(_LOOK_SECONDS)

    def _enrol(self, grid: Grid, standing: EpochStanding) -> None:
        """Bring the enrolments of those connected, and of those that connect while there is time."""
        now, rules = self.federation.ledger.now, self.ledger.rules
        asked: set[Address] = set()
        while now() <= standing.until:
            if not asked or standing.until - now() > rules.enrol_seconds // 2:
                fresh = self._present(grid) - asked
                signed = self._enrolments(
                    grid,
                    fresh,
                    standing.number,
                    standing.until,
                    standing.until - rules.enrol_seconds // MARGIN,
                )
                if signed:
                    self.ledger.enrol(standing.number, list(signed.values()))
                asked |= fresh
            if (missing := standing.until + 1 - now()) > 0:
                self.ledger.wait(missing)

    def _present(self, grid: Grid) -> set[Address]:
        return set(self.roster.present(grid).values())

    def _enrolments(
        self, grid: Grid, members: Collection[Address], number: int, deadline: int, until: int
    ) -> dict[Address, SignedEnrolment]:
        """Ask members for their keys of an epoch. deadline: of their signatures; until: as of `ask`."""
        ledger = self.federation.ledger
        rules, sealed = ledger.rules(), self.ledger.rules
        request = EnrolRequest(ledger.domain, number, rules, sealed, deadline)
        signed: dict[Address, SignedEnrolment] = {}

        def take(member: Address, record: ConfigRecord) -> None:
            reply = EnrolReply.from_record(record)
            if reply.member != member:
                raise CommitmentError(f"it answers in the name of {reply.member}")
            statement = Enrol(
                number, rules.digest(), sealed.digest(), reply.x25519, keccak(reply.mlkem), deadline
            )
            if not signs_for(statement.signer(ledger.domain, reply.signature), member, ledger.key_of):
                raise CommitmentError("its enrolment is signed by another key")
            self._mlkem[member] = reply.mlkem
            signed[member] = SignedEnrolment(member, statement, reply.signature)

        self.ask(grid, dict.fromkeys(members, request), take, until=until)
        return signed

    def _exchange(self, grid: Grid, draw: Draw, until: int) -> list[int]:
        """Ask all members of the roster for their ciphertexts; the places of those whose file is there. until: as of
        `ask`."""
        if not self._mlkem:  # after a restart
            enrolled = [enrolment.member for enrolment in draw.roster]
            self._enrolments(grid, enrolled, draw.number, 2**63 - 1, until)
        ledger, grouping = self.federation.ledger, draw.grouping
        requests: dict[Address, Request] = {}
        for place, enrolment in enumerate(draw.seats):
            mates = draw.mates(grouping.group_of(place))[grouping.rank_of(place) + 1 :]
            keys = {mate.member: self._mlkem[mate.member] for mate in mates if mate.member in self._mlkem}
            requests[enrolment.member] = KeysRequest(draw, keys)

        def take(member: Address, record: ConfigRecord) -> None:
            reply = KeysReply.from_record(record)
            place = draw.place_of(member)
            above = len(draw.mates(grouping.group_of(place))) - grouping.rank_of(place) - 1
            ciphertexts(member, reply.file, above)
            file = published(reply.file)
            cid = self.federation.store.stage(file)
            statement = Ready(draw.number, draw.roster_root, cid_of(file).binary)
            if not signs_for(statement.signer(ledger.domain, reply.signature), member, ledger.key_of):
                raise CommitmentError(f"its key file {cid} is signed by another key")
            self._files[member], self._signatures[member] = reply.file, reply.signature

        self.ask(grid, requests, take, until=until)
        self.federation.store.sync()
        return [draw.place_of(member) for member in self._files]

    def _agree(self, grid: Grid, epoch: Epoch) -> None:
        """Pass key files on to those above in the group that share no keys with it yet: all of them at first, later
        those that were away or died."""
        ledger = self.federation.ledger
        present = self._present(grid) - self._sharing
        lacking = {group.members[rank] for group in epoch.groups for rank in group.ready} & present
        if not lacking:
            return
        until = ledger.now() + self.ledger.rules.key_seconds
        if not self._files:  # after a restart
            self._exchange(grid, epoch.draw, until)
        requests: dict[Address, Request] = {}
        for group in epoch.groups:
            for rank in group.ready:
                if group.members[rank] not in lacking:
                    continue
                below = [group.members[one] for one in group.ready if one < rank]
                files = {member: self._files[member] for member in below if member in self._files}
                signatures = {member: self._signatures[member] for member in files}
                requests[group.members[rank]] = EdgesRequest(
                    ledger.domain, epoch.draw.number, epoch.first_round, epoch.ready, files, signatures
                )
        self.ask(grid, requests, lambda member, _record: self._sharing.add(member), until=until)

    def ask(
        self,
        grid: Grid,
        requests: Mapping[Address, Request],
        take: Callable[[Address, ConfigRecord], None],
        *,
        until: int,
    ) -> None:
        """Ask members for a step, and take in what they answer, in whatever order. Who does not answer, or not what was
        asked, is asked again while there is time, wherever its node is then; who fails at last is told of in the log.

        until: Unix seconds of chain time.
        """
        deadline = time.monotonic() + until - self.federation.ledger.now()
        missing = dict.fromkeys(requests, "it is not connected")
        for times in range(ASK_TIMES, 0, -1):
            left = deadline - time.monotonic()
            if not missing or left <= 0:
                break
            nodes = {member: node for node, member in self.roster.present(grid, seconds=left / 4).items()}
            messages = [
                Message(step_content(requests[member]), nodes[member], MessageType.TRAIN)
                for member in missing
                if member in nodes
            ]
            missing |= {member: "no answer in time" for member in missing if member in nodes}
            timeout = (deadline - time.monotonic()) / times
            for reply in grid.send_and_receive(messages, timeout=timeout) if messages else ():
                member = self.roster.member_of(reply.metadata.src_node_id)
                if member not in missing:  # the SuperLink answers for a node that is gone
                    continue
                try:
                    if reply.has_error():
                        raise CommitmentError(str(reply.error.reason))
                    take(member, step_reply(reply.content))
                    del missing[member]
                except (CommitmentError, EncodingError, SignatureError) as error:
                    missing[member] = str(error)
        for member, reason in missing.items():
            log(WARNING, "%s: %s", member, reason)
