"""How places make groups, and how many of a group it takes."""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.protocol.errors import RangeError


@dataclass(frozen=True)
class Grouping:
    """``count`` places in groups of ``group_size`` or a few more: sizes differ by one at most, and stay below twice it.

    Raises:
        RangeError: fewer places than one group takes.
    """

    count: int
    group_size: int

    def __post_init__(self) -> None:
        if not 1 <= self.group_size <= self.count:
            raise RangeError(f"{self.count} members make no group of {self.group_size}")

    @property
    def groups(self) -> int:
        """G: the number of groups."""
        return self.count // self.group_size

    @property
    def height(self) -> int:
        """H: levels above the leaves of every group's trees."""
        largest = -(-self.count // self.groups)
        return (largest - 1).bit_length()

    def group_of(self, place: int) -> int:
        """The group that holds a place. Raises RangeError if there is no such place."""
        if not 0 <= place < self.count:
            raise RangeError(f"there is no place {place}; there are {self.count}")
        return place * self.groups // self.count

    def places(self, group: int) -> range:
        """The places of a group. Raises RangeError if there is no such group."""
        if not 0 <= group < self.groups:
            raise RangeError(f"there is no group {group}; there are {self.groups}")
        return range(self._first(group), self._first(group + 1))

    def rank_of(self, place: int) -> int:
        """The position of a place in its group. Raises RangeError if there is no such place."""
        return place - self._first(self.group_of(place))

    def _first(self, group: int) -> int:
        return -(-group * self.count // self.groups)


def threshold(ready: int) -> int:
    """t: shares that give a seed, where ``ready`` members of the group are ready."""
    return 2 * ready // 3 + 1


def least_included(ready: int) -> int:
    """With fewer included than this a group of ``ready`` members is void."""
    return max(threshold(ready), -(-3 * ready // 4))


def is_fit(ready: int, size: int) -> bool:
    """Whether enough of a group's members are ready for it to take part in rounds: nine tenths."""
    return 10 * ready >= 9 * size


def least_ready(size: int) -> int:
    """The fewest ready members with which a group of ``size`` is fit."""
    return -(-9 * size // 10)
