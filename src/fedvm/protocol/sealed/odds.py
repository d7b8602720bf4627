"""How likely it is that the draw puts so many corrupt members into one group that they can open it."""

from __future__ import annotations

from math import comb

from fedvm.protocol.errors import RangeError
from fedvm.protocol.sealed.grouping import Grouping, least_included, threshold


def chance_of_an_open_group(members: int, corrupt: int, group_size: int, *, absent: int = 0) -> float:
    """A bound on the chance that in some group corrupt members have the shares that open it.

    members: in the roster; corrupt: how many of them act together, wherever they sit. absent: honest members of each
    group that are kept from being ready, at most a tenth of it. The draw is taken as uniform, and the chances of all
    groups are added up.

    Raises:
        RangeError: there are more corrupt members than members, or fewer than one group takes.
    """
    if not 0 <= corrupt <= members:
        raise RangeError(f"{corrupt} of {members} members cannot be corrupt")
    grouping = Grouping(members, group_size)
    sizes = [len(grouping.places(group)) for group in range(grouping.groups)]
    tails = {
        size: _tail(members, corrupt, size, openers(size - min(absent, size // 10))) for size in set(sizes)
    }
    return min(1.0, sum(tails[size] for size in sizes))


def openers(ready: int) -> int:
    """How many of the ready members of a group read the update of another one, if they act together with the
    coordinator: as many as have enough shares, or all but one of those whom a close must include."""
    return min(threshold(ready), least_included(ready) - 1)


def _tail(members: int, corrupt: int, drawn: int, least: int) -> float:
    """Chance of `least` or more corrupt ones among those drawn without putting back."""
    hits = sum(
        comb(corrupt, found) * comb(members - corrupt, drawn - found) for found in range(least, drawn + 1)
    )
    return hits / comb(members, drawn)
