"""The inner step shared by all linear kernels: acc ± x · |w|, 14 gas for a whole word of lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedvm.compiler.assembler import Assembler

STAGED_WORDS = 15
"""Words of x kept on the stack: with the accumulator on top, DUP16 reaches the deepest."""


@dataclass(frozen=True)
class Place:
    """Where a region begins in this contract: in its memory or in its calldata."""

    load: Literal["MLOAD", "CALLDATALOAD"]
    base: int


def load_at(a: Assembler, place: Place, offset: int, name: str = "w") -> None:
    """Load a word at a fixed address. Stack: → w."""
    a.push(place.base + offset)
    a.op(place.load, result=name)


def load_from(a: Assembler, pointer: str, place: Place, offset: int, name: str = "w") -> None:
    """Load a word at pointer + fixed offset. Stack: → w."""
    a.dup(pointer)
    if place.base + offset:
        a.push(place.base + offset)
        a.op("ADD")
    a.op(place.load, result=name)


def times(a: Assembler, weight: int) -> None:
    """Multiply the top by a constant. Stack: x → x·w."""
    if weight == 1:
        return
    if weight > 0 and weight & (weight - 1) == 0:
        a.push(weight.bit_length() - 1)
        a.op("SHL", result="p")
    else:
        a.push(weight)
        a.op("MUL", result="p")


def add_product(a: Assembler, weight: int, sign: int, *, last: bool) -> int:
    """Add x·weight to an accumulator that stands as sign·acc. Stack: acc x → acc'. Returns the new sign.

    A negative word of weights would be pushed as 32 bytes; its absolute value is as short as its taps. SUB gives
    x·|w| − acc, the accumulator with the other sign, so after each product its sign is that of the weights. The last
    product leaves it positive, if need be by pushing the negative word.
    """
    negative = weight < 0 and not last
    times(a, -weight if negative else weight)
    wanted = -1 if negative else 1
    a.op("ADD" if wanted == sign else "SUB", result="acc")
    return wanted
