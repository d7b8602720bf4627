"""Arithmetic on all lanes of a word at once. Each function appends opcodes for words already on the stack.

Words hold B-bit values in L-bit lanes, B < L, so that bit B of every lane (`flag`) is free: adding or subtracting
within the stated bounds never carries into the next lane. A comparison leaves its result in the flags, and (flag >> B)
· (2^B − 1) turns a flag into a mask of its lane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from fedvm.compiler.assembler import Assembler

FULL = 2**256 - 1


def replicate(value: int, lane_bits: int, lanes: int) -> int:
    """`value` in every lane."""
    return sum(value << (lane_bits * i) for i in range(lanes))


def at(value: int, bits: Iterable[int]) -> int:
    """`value` at each of the given bit positions."""
    return sum(value << b for b in bits)


@dataclass(frozen=True)
class Shape:
    """lane_bits L, lanes n, and the bits B a value may use. beside: where in a lane values begin: at its lowest bit, or
    of two values at B + 1 bits above or more, too."""

    lane_bits: int
    lanes: int
    bits: int
    beside: tuple[int, ...] = (0,)

    def all(self, *values: int) -> int:
        """The value in the place of every value of every lane, or one for each place in a lane."""
        each = values if len(values) > 1 else values * len(self.beside)
        lane = sum(value << place for value, place in zip(each, self.beside, strict=True))
        return replicate(lane, self.lane_bits, self.lanes)

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


def maximum(a: Assembler, shape: Shape, other: Callable[[], None], *, clean: bool = True) -> None:
    """Lane-wise max(x, y) for x, y in 0..2^B−1; `other` appends the code that pushes y. Stack: x → max.

    d = (y | flag) − x has its flag set where y ≥ x, its low bits being y − x there: max = x + (d masked). x is copied
    before y comes, so both lie as SUB takes them. clean: whether y has no bits beside its values; if it may, all of
    them are set, so that nothing is borrowed from them.
    """
    a.dup(a.stack[-1])
    other()
    a.push(shape.flags if clean else FULL & ~shape.all((1 << shape.bits) - 1))
    a.op("OR", "SUB", result="d")
    a.dup("d")
    and_constant(a, shape.flags)
    flags_to_masks(a, shape)
    a.op("AND", "ADD", result="max")


def clamp(a: Assembler, shape: Shape, zeros: Sequence[int], high: int, keep: int) -> None:
    """Lane-wise clip(u − zero, 0, high) for u in 0..2^B−1; only the lanes at bits `keep` survive. Stack: u → v.

    zeros: one for each value of a lane; high + 1 is a power of two; keep: word with `high` in the lanes to keep.
    """
    top = 1 << shape.bits
    if set(zeros) == {top >> 1}:  # the highest bit says that a value is not negative
        a.dup(a.stack[-1])
        signs = replace(shape, bits=shape.bits - 1)
        and_constant(a, signs.flags)
        flags_to_masks(a, signs)
        a.op("AND", result="v")
    elif any(zeros):
        a.push(shape.all(*(top - zero for zero in zeros)))
        a.op("ADD", result="t")
        a.dup("t")
        and_constant(a, shape.flags)
        flags_to_masks(a, shape)
        a.op("AND", result="v")
    else:
        a.rename("v")
    if top - 1 - min(zeros) > high:
        a.dup("v")
        a.push(shape.all(top - high - 1))
        a.op("ADD")
        and_constant(a, shape.flags)
        flags_to_masks(a, shape)
        a.op("OR", result="v")
    and_constant(a, keep)
