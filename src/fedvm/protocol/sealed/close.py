"""The close of a round: whose updates are included, and which seeds that leaves to be revealed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import check_uint
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.sealed.bitmaps import Flags, bits
from fedvm.protocol.sealed.epoch import Epoch, Group
from fedvm.protocol.sealed.hashes import closed_hash

SeedName = tuple[int, int]
"""(i, j): ranks of an included member and of another whose common seed it is; (i, i) is i's own seed."""


@dataclass(frozen=True)
class GroupClose:
    """A group at the close of a round. included: ranks, ascending."""

    group: Group
    included: tuple[int, ...]

    @property
    def is_open(self) -> bool:
        """Whether the group's sum may become known: it is fit, and not void."""
        return self.group.is_fit and len(self.included) >= self.group.least_included

    @cached_property
    def absent(self) -> tuple[int, ...]:
        """Ranks of ready members that are not included."""
        return tuple(rank for rank in self.group.ready if rank not in self.included)

    @cached_property
    def wanted(self) -> tuple[SeedName, ...]:
        """The seeds that open the group's sum, in the order of every answer: for each included member by rank, its own
        seed, then those it shares with absent ones by rank."""
        return tuple((i, j) for i in self.included for j in (i, *self.absent))


@dataclass(frozen=True)
class Close:
    """A round's close. included: the bitmap of included places.

    Raises:
        EncodingError: the bitmap does not fit the roster, or includes a place that is not ready.
    """

    epoch: Epoch
    round: int
    included: bytes

    def __post_init__(self) -> None:
        check_uint("round", self.round, 64)
        self.epoch.turns(self.round)
        strays = (self.flags & ~self.epoch.flags).nonzero()[0]
        if strays.size:
            raise EncodingError(f"place {int(strays[0])} is included, but its member is not ready")

    @cached_property
    def flags(self) -> Flags:
        """Which places are included, bool (places,)."""
        return bits("included", self.included, len(self.epoch.draw.roster))

    @property
    def included_hash(self) -> bytes:
        """keccak of the bitmap, 32 bytes."""
        return keccak(self.included)

    @cached_property
    def hash(self) -> bytes:
        """``closedHash``, 32 bytes."""
        return closed_hash(self.round, self.epoch.root, self.included)

    @cached_property
    def groups(self) -> tuple[GroupClose, ...]:
        """All groups of the epoch."""
        return tuple(self.group(number) for number in range(len(self.epoch.groups)))

    def group(self, number: int) -> GroupClose:
        """One group: a member needs no other."""
        group = self.epoch.groups[number]
        return GroupClose(group, tuple(rank for rank in group.ready if self.flags[group.first + rank]))
