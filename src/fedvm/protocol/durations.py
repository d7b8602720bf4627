"""Time spans as people say them."""

from __future__ import annotations


def spoken(seconds: int) -> str:
    """A time span in the largest unit that divides it: `90 seconds`, `2 hours`."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit:,} {name}{'s' if seconds != unit else ''}"
    return f"{seconds:,} second{'s' if seconds != 1 else ''}"
