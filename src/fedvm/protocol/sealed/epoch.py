"""What is public of an epoch: first the draw, from which groups follow, then who is ready."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.checks import check_bytes, check_uint
from fedvm.protocol.errors import EncodingError, RangeError
from fedvm.protocol.sealed.bitmaps import Flags, bits
from fedvm.protocol.sealed.grouping import Grouping, is_fit, least_included, threshold
from fedvm.protocol.sealed.hashes import epoch_root
from fedvm.protocol.sealed.roster import Enrolment, enrolments, roster_range
from fedvm.protocol.sealed.shuffle import places
from fedvm.protocol.typed_data import Domain


@dataclass(frozen=True)
class Draw:
    """A roster and the seed that deals it out to groups. number: of the epoch, from 1. seed: ``groupSeed``, 32 bytes.

    Raises:
        EncodingError: a field is malformed, the roster is empty, or a member comes twice.
        RangeError: it has fewer members than one group.
    """

    domain: Domain
    number: int
    group_size: int
    roster: tuple[Enrolment, ...]
    seed: bytes

    def __post_init__(self) -> None:
        check_uint("epoch", self.number, 64)
        check_bytes("group seed", self.seed, 32)
        _ = self.roster_root, self.grouping  # raise for a malformed roster

    @cached_property
    def roster_root(self) -> bytes:
        """Digest of the range over the roster, 32 bytes."""
        return roster_range(self.roster).digest()

    @cached_property
    def roster_bytes(self) -> bytes:
        """The enrolments, each of 84 bytes, in their order: the preimages of their leaves without the kind."""
        return b"".join(one.preimage()[1:] for one in self.roster)

    @cached_property
    def grouping(self) -> Grouping:
        """How the places make groups."""
        return Grouping(len(self.roster), self.group_size)

    @cached_property
    def seats(self) -> tuple[Enrolment, ...]:
        """Who stands at which place."""
        seats: list[Enrolment | None] = [None] * len(self.roster)
        for enrolment, place in zip(self.roster, places(self.seed, len(self.roster)).tolist(), strict=True):
            seats[place] = enrolment
        return tuple(seat for seat in seats if seat is not None)

    @cached_property
    def _place_of(self) -> dict[Address, int]:
        return {seat.member: place for place, seat in enumerate(self.seats)}

    def place_of(self, member: str) -> int:
        """The place of a member (hex address). Raises EncodingError if it is not in the roster."""
        place = self._place_of.get(to_address(member, "member"))
        if place is None:
            raise EncodingError(
                f"{member} has not enrolled for epoch {self.number}; it can join the next one"
            )
        return place

    def mates(self, group: int) -> tuple[Enrolment, ...]:
        """The members of a group by rank."""
        inside = self.grouping.places(group)
        return self.seats[inside.start : inside.stop]


@dataclass(frozen=True)
class Group:
    """A group in an epoch whose keys are agreed. number: among all groups. first: its first place. members: by rank.
    ready: ranks of those that are ready, ascending. height: of its trees."""

    number: int
    first: int
    members: tuple[Address, ...]
    ready: tuple[int, ...]
    height: int

    @property
    def threshold(self) -> int:
        """t: shares that give a seed."""
        return threshold(len(self.ready))

    @property
    def least_included(self) -> int:
        """With fewer included than this the group is void."""
        return least_included(len(self.ready))

    @property
    def is_fit(self) -> bool:
        """Whether enough members are ready for the group to take part in rounds."""
        return is_fit(len(self.ready), len(self.members))

    def rank_of(self, member: str) -> int:
        """The rank of a ready member. Raises EncodingError if it is not one of this group."""
        address = to_address(member, "member")
        for rank in self.ready:
            if self.members[rank] == address:
                return rank
        raise EncodingError(f"{member} is not a ready member of group {self.number}")


@dataclass(frozen=True)
class Epoch:
    """A draw, the first round of the epoch, and the bitmap of ready places.

    Raises:
        EncodingError: the bitmap does not fit the roster.
    """

    draw: Draw
    first_round: int
    ready: bytes

    def __post_init__(self) -> None:
        check_uint("first_round", self.first_round, 64)
        _ = self.flags  # raises for a malformed bitmap

    @cached_property
    def flags(self) -> Flags:
        """Which places are ready, bool (places,)."""
        return bits("ready", self.ready, len(self.draw.roster))

    @property
    def ready_hash(self) -> bytes:
        """``readyHash``, 32 bytes."""
        return keccak(self.ready)

    @cached_property
    def root(self) -> bytes:
        """``epochRoot``, 32 bytes."""
        return epoch_root(self.draw.roster_root, self.draw.seed, self.ready)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """All groups, those that are not fit among them."""
        grouping = self.draw.grouping
        made = []
        for number in range(grouping.groups):
            inside = grouping.places(number)
            members = tuple(enrolment.member for enrolment in self.draw.mates(number))
            ready = tuple(rank for rank, place in enumerate(inside) if self.flags[place])
            made.append(Group(number, inside.start, members, ready, grouping.height))
        return tuple(made)

    def group_of(self, member: str) -> Group:
        """The group of a ready member (hex address). Raises EncodingError if it has not enrolled or is not ready."""
        place = self.draw.place_of(member)
        if not self.flags[place]:
            raise EncodingError(f"{member} is not ready in epoch {self.draw.number}; it sits this epoch out")
        return self.groups[self.draw.grouping.group_of(place)]

    def turns(self, round_: int) -> int:
        """t: how many times an edge has been replaced before a round. Raises RangeError if it is before the epoch."""
        if round_ < self.first_round:
            raise RangeError(f"round {round_} is before the epoch's first, {self.first_round}")
        return round_ - self.first_round


# A member reads its epoch again for every message, and a roster may have thousands of members.
@lru_cache(maxsize=2)
def read_draw(domain: Domain, number: int, group_size: int, packed: bytes, seed: bytes) -> Draw:
    """A draw from `Draw.roster_bytes` and its other fields; raises as `Draw` and `enrolments`."""
    return Draw(domain, number, group_size, enrolments(packed), seed)


@lru_cache(maxsize=2)
def read_epoch(
    domain: Domain, number: int, group_size: int, packed: bytes, seed: bytes, first_round: int, ready: bytes
) -> Epoch:
    """An epoch of such a draw; raises as `Epoch` and `read_draw`."""
    return Epoch(read_draw(domain, number, group_size, packed, seed), first_round, ready)
