"""Brings an epoch about: asks members to enrol, draws groups, passes keys on, and states who is ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


@dataclass
class EpochKeeper:
    """Keeps a sealed federation in an epoch in which rounds can be sealed.

    roster: which node is which member. ask_timeout: seconds to wait for the members' answers to one step. What members
    sent is kept while the process lives; after a restart they are asked again, and answer with the same keys.
    """

    federation: Federation
    ledger: SealedLedger
    roster: Roster
    ask_timeout: float = 120.0
    _mlkem: dict[Address, bytes] = field(default_factory=dict)
    _files: dict[Address, bytes] = field(default_factory=dict)
    _signatures: dict[Address, bytes] = field(default_factory=dict)
    _agreed: Epoch | None = None

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
                self._agree(grid, epoch)
                self._agreed = epoch
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
        ready = self._exchange(grid, draw)
        self.ledger.state_ready(standing.number, bitmap(len(draw.roster), ready))
        return self.ledger.standing()

    def _enrol(self, grid: Grid, standing: EpochStanding) -> None:
        signed = self._enrolments(grid, standing.number, standing.until)
        if signed:
            self.ledger.enrol(standing.number, list(signed.values()))

    def _enrolments(self, grid: Grid, number: int, deadline: int) -> dict[Address, SignedEnrolment]:
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

        self.ask(grid, dict.fromkeys(self.roster.present(grid).values(), request), take)
        return signed

    def _exchange(self, grid: Grid, draw: Draw) -> list[int]:
        """Ask all members of the roster for their ciphertexts; the places of those whose file is there."""
        if not self._mlkem:  # after a restart
            self._enrolments(grid, draw.number, 2**63 - 1)
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

        self.ask(grid, requests, take)
        self.federation.store.sync()
        return [draw.place_of(member) for member in self._files]

    def _agree(self, grid: Grid, epoch: Epoch) -> None:
        """Pass key files on to those above in the group, which then share a key with everyone in it."""
        ledger = self.federation.ledger
        if not self._files:  # after a restart
            self._exchange(grid, epoch.draw)
        requests: dict[Address, Request] = {}
        for group in epoch.groups:
            for rank in group.ready:
                below = [group.members[one] for one in group.ready if one < rank]
                files = {member: self._files[member] for member in below if member in self._files}
                signatures = {member: self._signatures[member] for member in files}
                requests[group.members[rank]] = EdgesRequest(
                    ledger.domain, epoch.draw.number, epoch.first_round, epoch.ready, files, signatures
                )
        self.ask(grid, requests, lambda _member, _record: None)

    def ask(
        self,
        grid: Grid,
        requests: Mapping[Address, Request],
        take: Callable[[Address, ConfigRecord], None],
    ) -> None:
        """Ask members for a step, and take in what they answer, in whatever order; those that fail are told of in the
        log."""
        nodes = {member: node for node, member in self.roster.present(grid).items()}
        messages = [
            Message(step_content(request), nodes[member], MessageType.TRAIN)
            for member, request in requests.items()
            if member in nodes
        ]
        for reply in grid.send_and_receive(messages, timeout=self.ask_timeout) if messages else ():
            member = self.roster.member_of(reply.metadata.src_node_id)
            if member is None or member not in requests:
                continue
            try:
                if reply.has_error():
                    raise CommitmentError(str(reply.error.reason))
                take(member, step_reply(reply.content))
            except (CommitmentError, EncodingError, SignatureError) as error:
                log(WARNING, "%s: %s", member, error)
