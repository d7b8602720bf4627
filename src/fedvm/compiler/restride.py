"""Moving the lanes of a word to another stride: the cheapest of two families of opcode sequences.

By halves: as in bit interleaving, step by step all lanes with one bit of their distance set go left, by a
multiplication with 1 + 2^k where copies cannot collide, by a shift and OR where only unwanted bits do, and by two
masks where nothing else helps. By scattering: every m-th lane is picked, one multiplication makes a copy of them
all for each distance, and a mask keeps of each copy the lane that has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Literal

from fedvm.compiler.assembler import Assembler, AssemblyError
from fedvm.compiler.lanes import FULL, and_constant, at, shift
from fedvm.compiler.tiling import WORD_BITS

MOST_SCATTERS = 6


@dataclass(frozen=True)
class Halve:
    """Lanes in `moved` go left by `amount`, those in `keep` stay; `clean`: mask everything else."""

    kind: Literal["mul", "or", "split"]
    amount: int
    keep: int
    moved: int
    clean: bool

    @property
    def gas(self) -> int:
        return {"mul": 8, "or": 12, "split": 27}[self.kind] + 6 * self.clean


@dataclass(frozen=True)
class Scatter:
    """The lanes in `pick`, multiplied by `factor`, are in place in `keep`."""

    pick: int
    factor: int
    keep: int


@dataclass(frozen=True)
class Restride:
    """A shift, then steps of one family, then a mask (0: none) and a shift."""

    first: int
    halves: tuple[Halve, ...]
    scatters: tuple[Scatter, ...]
    mask: int
    last: int

    @property
    def gas(self) -> int:
        scatter = 26 * len(self.scatters) - 3 if self.scatters else 0
        shifts = 6 * (bool(self.first) + bool(self.last) + bool(self.mask))
        return scatter + sum(step.gas for step in self.halves) + shifts


def restride(a: Assembler, sources: list[int], targets: list[int], width: int, dirty: int = 0) -> None:
    """Move fields between strides, clearing everything else. Stack: w → w."""
    plan = plan_restride(tuple(sources), tuple(targets), width, dirty)
    name = a.stack[-1]
    shift(a, plan.first)
    for step in plan.halves:
        _emit_halve(a, step, name)
    for number, scatter in enumerate(plan.scatters):
        if number < len(plan.scatters) - 1:
            a.dup(name)
        elif number:
            a.swap(1)
        and_constant(a, scatter.pick)
        a.push(scatter.factor)
        a.op("MUL", result="moved")
        and_constant(a, scatter.keep)
        if number == 0 and len(plan.scatters) > 1:
            a.rename("sum")
        elif number:
            a.op("OR", result="sum")
    a.rename(name)
    if plan.mask:
        and_constant(a, plan.mask)
    shift(a, plan.last)


def _emit_halve(a: Assembler, step: Halve, name: str) -> None:
    if step.kind == "mul":
        a.push(1 + (1 << step.amount))
        a.op("MUL", result=name)
    elif step.kind == "or":
        a.dup(name)
        shift(a, step.amount)
        a.op("OR", result=name)
    else:
        a.dup(name)
        and_constant(a, step.moved)
        shift(a, step.amount)
        a.swap(1)
        and_constant(a, step.keep)
        a.op("OR", result=name)
    if step.clean:
        and_constant(a, step.keep | (step.moved << step.amount))


@lru_cache(maxsize=4096)
def plan_restride(sources: tuple[int, ...], targets: tuple[int, ...], width: int, dirty: int) -> Restride:
    """Cheapest way to move `width`-bit fields from bits `sources` to bits `targets`.

    dirty: bits that may be set outside the fields; they are cleared. Raises AssemblyError if there is no way, or if
    a field would not lie whole inside the word, before or after.
    """
    for places in (sources, targets):
        if min(places) < 0 or max(places) + width > WORD_BITS:
            raise AssemblyError(
                f"restride: a field of {width} bits at one of {places} does not lie in the word"
            )
    deltas = [t - s for s, t in zip(sources, targets, strict=True)]
    whole = min(deltas)
    # what would push a field off the low end waits until the fields have moved up
    first = max(whole, -min(sources)) if whole < 0 else 0
    fields = [s + first for s in sources]
    distances = [d - whole for d in deltas]
    if any(f + width + d > 256 for f, d in zip(fields, distances, strict=True)):
        raise AssemblyError(f"restride: moving {sources} to {targets} pushes a field off the word")
    dirt = (dirty >> -first) & FULL
    plans = [
        Restride(first, (), scatters, 0, whole - first) for scatters in _scatters(fields, distances, width)
    ]
    halves = _halves(fields, distances, width, dirt)
    if halves is not None:
        plans.append(Restride(first, halves[0], (), halves[1], whole - first))
    if not plans:
        raise AssemblyError(f"restride: no way to move {sources} to {targets}")
    return min(plans, key=lambda plan: plan.gas)


# -- by scattering ----------------------------------------------------------------------------------------------------


def _scatters(fields: list[int], distances: list[int], width: int) -> list[tuple[Scatter, ...]]:
    """The sets of scatters, fewest first, that are safe; at most one is returned."""
    mask = (1 << width) - 1
    for count in range(1, min(MOST_SCATTERS, len(fields)) + 1):
        groups = [range(r, len(fields), count) for r in range(count)]
        if all(_safe([fields[i] for i in g], [distances[i] for i in g], width) for g in groups):
            return [
                tuple(
                    Scatter(
                        at(mask, [fields[i] for i in g]),
                        sum({1 << distances[i] for i in g}),
                        at(mask, [fields[i] + distances[i] for i in g]),
                    )
                    for g in groups
                )
            ]
    return []


def _safe(fields: list[int], distances: list[int], width: int) -> bool:
    """Whether no other copy of a field overlaps one that has arrived, nor can carry into it."""
    copies = [(f + d, d == own) for f, own in zip(fields, distances, strict=True) for d in set(distances)]
    full = (1 << width) - 1
    for place, arrived in copies:
        if not arrived:
            continue
        others = [p for p, wanted in copies if not wanted]
        if any(place - width < p < place + width for p in others):
            return False
        if sum(full << p for p, _ in copies if p < place) >= 1 << place:
            return False
    return True


# -- by halves --------------------------------------------------------------------------------------------------------


def _halves(
    fields: list[int], distances: list[int], width: int, dirt: int
) -> tuple[tuple[Halve, ...], int] | None:
    """Cheapest steps by halves and the mask that must follow (0: none); None if lanes always collide."""
    unit = gcd(*distances) if len(distances) > 1 else 0
    units = [d // unit if unit else 0 for d in distances]
    bits = [b for b in range(max(units).bit_length()) if any(u >> b & 1 for u in units)]
    mask = (1 << width) - 1
    best: tuple[int, tuple[Halve, ...], int] | None = None

    def search(order: list[int], places: list[int], dirt: int, gas: int, steps: tuple[Halve, ...]) -> None:
        nonlocal best
        if best is not None and gas >= best[0]:
            return
        if not order:
            final = at(mask, places) if dirt else 0
            total = gas + (6 if dirt else 0)
            if best is None or total < best[0]:
                best = (total, steps, final)
            return
        bit, rest = order[0], order[1:]
        amount = unit << bit
        keep = at(mask, [p for p, u in zip(places, units, strict=True) if not u >> bit & 1])
        moved = at(mask, [p for p, u in zip(places, units, strict=True) if u >> bit & 1])
        goal = keep | (moved << amount)
        if goal > FULL or keep & (moved << amount):
            return
        after = [p + amount * (u >> bit & 1) for p, u in zip(places, units, strict=True)]
        content = keep | moved | dirt
        copy = (content << amount) & FULL
        left = (content | copy) & ~goal
        kinds: list[Literal["mul", "or", "split"]] = []
        if not (copy & keep or content & (moved << amount)):
            kinds = ["or"] if copy & content else ["mul"]
        for kind in kinds:
            for clean in (False, True) if left else (False,):
                step = Halve(kind, amount, keep, moved, clean)
                search(rest, after, 0 if clean else left, gas + step.gas, (*steps, step))
        step = Halve("split", amount, keep, moved, False)
        search(rest, after, 0, gas + step.gas, (*steps, step))

    for order in (bits, bits[::-1]):
        search(order, fields, dirt, 0, ())
    return None if best is None else (best[1], best[2])
