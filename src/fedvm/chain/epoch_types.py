"""The Epochs contract's structs and events, as plain values, and the history of an epoch that its events make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from fedvm.chain.errors import ChainError
from fedvm.chain.events import Place, RawEvent, as_told
from fedvm.protocol import Domain, Refusal
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.sealed.bitmaps import bitmap, set_bits
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.roster import Enrolment
from fedvm.protocol.sealed.typed_data import Enrol


class EpochState(IntEnum):
    """Where an epoch stands; the contract's enum."""

    NONE = 0
    ENROLLING = 1
    CLOSED = 2
    DRAWN = 3
    FAILED = 4


@dataclass(frozen=True)
class EpochStanding:
    """The latest epoch as the contract stores it; hashes 32 bytes each.

    until: Unix seconds after which the present state can be ended. closed_in: block in which enrolment was closed.
    members: how many enrolled. closed_rounds: rounds of this epoch that were rolled up. first_round: the
    first that can be sealed in it, 0 until the coordinator has stated who is ready. ready_hash: keccak of the bitmap of
    ready places that stands.
    """

    state: EpochState
    number: int
    until: int
    closed_in: int
    members: int
    closed_rounds: int
    first_round: int
    roster_root: bytes
    group_seed: bytes
    ready_hash: bytes

    @classmethod
    def of(cls, value: Any) -> EpochStanding:
        """The contract's ``Epoch`` struct, as web3 decodes it."""
        return cls(EpochState(value[0]), *value[1:])

    @property
    def is_stated(self) -> bool:
        """Whether the coordinator has stated who is ready."""
        return self.first_round > 0

    def is_of(self, epoch: Epoch) -> bool:
        """Whether this is the standing of an epoch with these members, groups and ready places."""
        draw = epoch.draw
        mine = self.number, self.roster_root, self.group_seed, self.first_round, self.ready_hash
        return mine == (draw.number, draw.roster_root, draw.seed, epoch.first_round, epoch.ready_hash)


@dataclass(frozen=True)
class SignedEnrolment:
    """What a member signed to enrol. signature: r ‖ s ‖ v, 65 bytes, by the member or its appointed key."""

    member: Address
    enrol: Enrol
    signature: bytes

    def as_tuple(self) -> tuple[str, tuple[int | bytes, ...], bytes]:
        """The contract's ``Enrolment``."""
        return self.member, self.enrol.as_tuple(), self.signature


@dataclass(frozen=True)
class EpochOpened:
    """Enrolment began, until Unix seconds."""

    epoch: int
    until: int
    at: Place


@dataclass(frozen=True)
class Enrolled:
    """A member is in the roster, at an index, with its keys; see `Enrolment`."""

    epoch: int
    member: Address
    index: int
    x25519: bytes
    mlkem: bytes
    at: Place


@dataclass(frozen=True)
class EnrolmentRefused:
    """An enrolment was refused. ``member`` is who it was said to be."""

    epoch: int
    member: Address
    reason: Refusal
    at: Place


@dataclass(frozen=True)
class RosterClosed:
    """The roster is complete. closed_in: block number; the hash of the second one after it draws the groups."""

    epoch: int
    roster_root: bytes
    members: int
    closed_in: int
    at: Place


@dataclass(frozen=True)
class GroupsDrawn:
    """Groups are drawn; keys are exchanged until Unix seconds."""

    epoch: int
    group_seed: bytes
    until: int
    at: Place


@dataclass(frozen=True)
class ReadyStated:
    """The bitmap of ready places; who is missing in it can set its own bit until Unix seconds."""

    epoch: int
    ready: bytes
    first_round: int
    until: int
    at: Place


@dataclass(frozen=True)
class ReadyAdded:
    """A member set its own bit. cid: binary, of its key file."""

    epoch: int
    member: Address
    place: int
    cid: bytes
    at: Place


@dataclass(frozen=True)
class EpochFailed:
    """No round is sealed in this epoch."""

    epoch: int
    at: Place


EpochEvent = (
    EpochOpened
    | Enrolled
    | EnrolmentRefused
    | RosterClosed
    | GroupsDrawn
    | ReadyStated
    | ReadyAdded
    | EpochFailed
)
EPOCH_EVENTS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        EpochOpened,
        Enrolled,
        EnrolmentRefused,
        RosterClosed,
        GroupsDrawn,
        ReadyStated,
        ReadyAdded,
        EpochFailed,
    )
}


def epoch_event(event: RawEvent) -> EpochEvent:
    """The dataclass of a decoded event whose name is in ``EPOCH_EVENTS``."""
    values = event.fields
    with as_told(event.name, event.at.tx_hash):
        if "member" in values:
            values["member"] = to_address(values["member"])
        if "reason" in values:
            values["reason"] = Refusal(values["reason"])
        typed: EpochEvent = EPOCH_EVENTS[event.name](**values, at=event.at)
    return typed


@dataclass(frozen=True)
class EpochHistory:
    """What the contract told of one epoch. What did not happen yet is None."""

    number: int
    opened: EpochOpened | None = None
    roster: tuple[Enrolment, ...] = ()
    closed: RosterClosed | None = None
    drawn: GroupsDrawn | None = None
    stated: ReadyStated | None = None
    added: tuple[ReadyAdded, ...] = ()
    failed: EpochFailed | None = None

    @classmethod
    def of(cls, number: int, events: Iterable[EpochEvent]) -> EpochHistory:
        """Fold an epoch's events, in their order."""
        once: dict[str, Any] = {}
        roster: list[Enrolment] = []
        added: list[ReadyAdded] = []
        names = {
            EpochOpened: "opened",
            RosterClosed: "closed",
            GroupsDrawn: "drawn",
            ReadyStated: "stated",
            EpochFailed: "failed",
        }
        for event in events:
            if isinstance(event, Enrolled):
                roster.append(Enrolment(event.member, event.x25519, event.mlkem))
            elif isinstance(event, ReadyAdded):
                added.append(event)
            elif not isinstance(event, EnrolmentRefused):
                once[names[type(event)]] = event
        return cls(number, roster=tuple(roster), added=tuple(added), **once)

    @property
    def ready(self) -> bytes | None:
        """The bitmap of ready places that stands; None before it was stated."""
        if self.stated is None:
            return None
        size = len(self.roster)
        stated = set_bits("ready", self.stated.ready, size)
        return bitmap(size, [*stated, *(event.place for event in self.added)])

    def draw(self, domain: Domain, group_size: int) -> Draw:
        """The roster and its groups. group_size: of the federation's `SealedRules`.

        Raises:
            ChainError: groups are not drawn, or the events contradict the root that the contract stated.
        """
        if self.closed is None or self.drawn is None:
            raise ChainError(f"the groups of epoch {self.number} are not drawn yet; wait for the draw")
        draw = Draw(domain, self.number, group_size, self.roster, self.drawn.group_seed)
        if draw.roster_root != self.closed.roster_root:
            raise ChainError(
                f"the enrolments of epoch {self.number} are not those of the contract's roster: "
                "the node has left out or changed events; ask another one"
            )
        return draw

    def epoch(self, domain: Domain, group_size: int) -> Epoch:
        """The draw, and who is ready.

        Raises:
            ChainError: as :meth:`draw`, or nobody stated yet who is ready.
        """
        draw, ready = self.draw(domain, group_size), self.ready
        if self.stated is None or ready is None:
            raise ChainError(
                f"who is ready in epoch {self.number} is not stated yet; wait for the coordinator"
            )
        return Epoch(draw, self.stated.first_round, ready)
