"""Where tensors lie in an entry's memory, and how long they live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from fedvm.compiler.layout import Plan
from fedvm.compiler.steps import Key, Step
from fedvm.compiler.view import WORD_BYTES, View


@dataclass(frozen=True)
class Region:
    """A stretch of the entry's memory."""

    base: int
    size: int

    @property
    def end(self) -> int:
        return self.base + self.size


@dataclass(frozen=True)
class Life:
    """Positions in the list of steps: the first that writes a region, and the last that writes or reads it."""

    born: int
    dies: int

    def meets(self, other: Life) -> bool:
        return self.born <= other.dies and other.born <= self.dies


def lives(steps: Sequence[Step], given: Iterable[Key] = (), kept: Iterable[Key] = ()) -> dict[Key, Life]:
    """Life of every region that the steps write, in order of birth.

    given: regions that are there from the start (born at −1); kept: regions that must outlive the last step.
    """
    born: dict[Key, int] = dict.fromkeys(given, -1)
    dies: dict[Key, int] = dict.fromkeys(born, -1)
    for i, step in enumerate(steps):
        for w in step.writes:
            born.setdefault(w.key, i)
            dies[w.key] = i
        for key in step.reads:
            if key in born:
                dies[key] = i
    for key in kept:
        dies[key] = len(steps)
    return {key: Life(born[key], dies[key]) for key in born}


def allocate(plan: Plan, life: Mapping[Key, Life]) -> tuple[dict[Key, Region], int]:
    """Addresses of all regions, and where the memory ends; regions whose lives do not overlap share space."""
    sizes = {key: region_bytes(plan, key) for key in life}
    placed: dict[Key, int] = {}
    # largest first keeps the memory small, which is expensive beyond some 20 KB
    for key in sorted(life, key=lambda k: (-sizes[k], life[k].born)):
        busy = sorted((placed[o], placed[o] + sizes[o]) for o in placed if life[o].meets(life[key]))
        at = 0
        for low, high in busy:
            if at + sizes[key] <= low:
                break
            at = max(at, high)
        placed[key] = at
    total = max((placed[k] + sizes[k] for k in placed), default=0)
    return {key: Region(base, sizes[key]) for key, base in placed.items()}, total


def region_bytes(plan: Plan, key: Key) -> int:
    """Bytes of a region: whole words."""
    if isinstance(key, View):
        return key.bytes
    return -(-prod(plan.graph.input.shape) // WORD_BYTES) * WORD_BYTES
