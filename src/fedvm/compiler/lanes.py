"""Arithmetic on all lanes of a word at once. Each function appends opcodes for words already on the stack.

Words hold B-bit values in L-bit lanes, B < L, so that bit B of every lane (`flag`) is free: adding or subtracting
within the bounds stated never carries into the next lane. A comparison leaves its result in the flags, and
(flag >> B) · (2^B − 1) turns a flag into a mask of its lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

from fedvm.compiler.assembler import Assembler, AssemblyError

FULL = 2**256 - 1


def replicate(value: int, lane_bits: int, lanes: int) -> int:
    """`value` in every lane."""
    return sum(value << (lane_bits * i) for i in range(lanes))


def at(value: int, bits: Iterable[int]) -> int:
    """`value` at each of the given bit positions."""
    return sum(value << b for b in bits)


@dataclass(frozen=True)
class Shape:
    """lane_bits L, lanes n, and the bits B a value may use."""

    lane_bits: int
    lanes: int
    bits: int

    def all(self, value: int) -> int:
        return replicate(value, self.lane_bits, self.lanes)

    @property
    def flags(self) -> int:
        return self.all(1 << self.bits)


def and_constant(a: Assembler, mask: int) -> None:
    """w → w & mask. Stack: w → w."""
    name = a.stack[-1]
    a.push(mask)
    a.op("AND", result=name)


def shift(a: Assembler, amount: int) -> None:
    """Move a word left by `amount` bits (right if negative, not at all if 0). Stack: w → w."""
    if amount:
        name = a.stack[-1]
        a.push(abs(amount))
        a.op("SHL" if amount > 0 else "SHR", result=name)


def flags_to_masks(a: Assembler, shape: Shape) -> None:
    """Lanes that hold 2^B or 0 → 2^B − 1 or 0. Stack: m → m."""
    shift(a, -shape.bits)
    a.push((1 << shape.bits) - 1)
    a.op("MUL", result="m")


def maximum(a: Assembler, shape: Shape) -> None:
    """Lane-wise max(x, y) for x, y in 0..2^B−1. Stack: x y → max.

    d = (y | flag) − x has its flag set where y ≥ x, its low bits being y − x there: max = x + (d masked).
    """
    a.rename("x", below=1)
    a.push(shape.flags)
    a.op("OR", result="y")
    a.dup("x")
    a.swap(1)
    a.op("SUB", result="d")
    a.dup("d")
    and_constant(a, shape.flags)
    flags_to_masks(a, shape)
    a.op("AND", "ADD", result="max")


def clamp(a: Assembler, shape: Shape, zero: int, high: int, keep: int) -> None:
    """Lane-wise clip(u − zero, 0, high) for u in 0..2^B−1; only the lanes at bits `keep` survive. Stack: u → v.

    high + 1 is a power of two. keep: word with `high` in the lanes to keep.
    """
    if zero:
        a.push(shape.all((1 << shape.bits) - zero))
        a.op("ADD", result="t")
        a.dup("t")
        and_constant(a, shape.flags)
        flags_to_masks(a, shape)
        a.op("AND", result="v")
    else:
        a.rename("v")
    if (1 << shape.bits) - 1 - zero > high:
        a.dup("v")
        a.push(shape.all((1 << shape.bits) - high - 1))
        a.op("ADD")
        and_constant(a, shape.flags)
        flags_to_masks(a, shape)
        a.op("OR", result="v")
    and_constant(a, keep)


# -- moving lanes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """One step of a restride: lanes in `moved` go left by `amount`. kind: how the copy is merged."""

    kind: str  # "mul" | "or" | "split"
    amount: int
    keep: int
    moved: int
    clean: bool


_MOVE_GAS = {"mul": 8, "or": 12, "split": 27}


@lru_cache(maxsize=4096)
def plan_restride(
    sources: tuple[int, ...], targets: tuple[int, ...], width: int, dirty: int
) -> tuple[int, tuple[Move, ...], int, int]:
    """Cheapest steps that move `width`-bit fields from bits `sources` to bits `targets`.

    dirty: bits that may be set outside the fields; they are cleared. Returns (shift first, steps, mask or 0, shift
    last). Distances must be base + D·u; every step moves the fields with one bit of u set by D·2^bit.
    """
    deltas = [t - s for s, t in zip(sources, targets, strict=True)]
    total_shift = min(deltas)
    base = (
        max(total_shift, -min(sources)) if total_shift < 0 else 0
    )  # the rest at the end, so that nothing falls off
    fields = [s + base for s in sources]
    field_mask = (1 << width) - 1
    if any(f < 0 or f + width > 256 for f in fields):
        raise AssemblyError(f"restride: the first shift of {base} bits loses a field of {sources}")
    moved_dirty = (dirty << base if base >= 0 else dirty >> -base) & FULL
    relative = [d - total_shift for d in deltas]
    unit = gcd(*relative) if len(relative) > 1 else 0
    units = [r // unit if unit else 0 for r in relative]
    steps_bits = [b for b in range(max(units).bit_length()) if any(u >> b & 1 for u in units)]

    best: tuple[int, list[Move], int] | None = None

    def search(order: list[int], position: list[int], dirt: int, gas: int, moves: list[Move]) -> None:
        nonlocal best
        if best is not None and gas >= best[0]:
            return
        if not order:
            final = at(field_mask, position) if dirt else 0
            total = gas + (6 if dirt else 0)
            if best is None or total < best[0]:
                best = (total, list(moves), final)
            return
        bit, rest = order[0], order[1:]
        amount = unit << bit
        keep = at(field_mask, [p for p, u in zip(position, units, strict=True) if not u >> bit & 1])
        moved = at(field_mask, [p for p, u in zip(position, units, strict=True) if u >> bit & 1])
        goal = keep | (moved << amount)
        after = [p + amount * (u >> bit & 1) for p, u in zip(position, units, strict=True)]
        if goal > FULL or keep & (moved << amount):
            return
        content = keep | moved | dirt
        copy = (content << amount) & FULL
        kinds = []
        if not (copy & keep or content & (moved << amount)):
            kinds.append("or")
            if not copy & content:
                kinds.append("mul")
        kinds.append("split")
        for kind in reversed(kinds):
            if kind == "split":
                search(rest, after, 0, gas + 27, [*moves, Move(kind, amount, keep, moved, False)])
                continue
            left = (content | copy) & ~goal
            if left:
                search(
                    rest, after, left, gas + _MOVE_GAS[kind], [*moves, Move(kind, amount, keep, moved, False)]
                )
            search(rest, after, 0, gas + _MOVE_GAS[kind] + (6 if left else 0),
                   [*moves, Move(kind, amount, keep, moved, bool(left))])  # fmt: skip

    for order in (steps_bits, steps_bits[::-1]):
        search(order, fields, moved_dirty, 0, [])
    if best is None:
        raise AssemblyError(f"restride: no order of steps moves {sources} to {targets}")
    return base, tuple(best[1]), best[2], total_shift - base


def restride_gas(sources: tuple[int, ...], targets: tuple[int, ...], width: int, dirty: int) -> int:
    """Gas of `restride` with the same arguments."""
    first, moves, final, last = plan_restride(sources, targets, width, dirty)
    steps = sum(_MOVE_GAS[m.kind] + 6 * m.clean for m in moves)
    return steps + 6 * (bool(first) + bool(final) + bool(last))


def restride(a: Assembler, sources: list[int], targets: list[int], width: int, dirty: int = 0) -> None:
    """Move fields between strides, clearing everything else. Stack: w → w."""
    first, moves, final, last = plan_restride(tuple(sources), tuple(targets), width, dirty)
    name = a.stack[-1]
    shift(a, first)
    for move in moves:
        if move.kind == "mul":
            a.push(1 + (1 << move.amount))
            a.op("MUL", result=name)
        elif move.kind == "or":
            a.dup(name)
            shift(a, move.amount)
            a.op("OR", result=name)
        else:
            a.dup(name)
            and_constant(a, move.moved)
            shift(a, move.amount)
            a.swap(1)
            and_constant(a, move.keep)
            a.op("OR", result=name)
        if move.clean:
            and_constant(a, move.keep | (move.moved << move.amount))
    if final:
        and_constant(a, final)
    shift(a, last)
