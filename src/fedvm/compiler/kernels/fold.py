"""Folds a tensor for storage on chain: without its padding, and with several words in one.

In the words that kernels read, a value of some 6 bits has a lane of some 20, and lanes beside the image are unused.
Storing a byte costs 200 gas, so several words are first shifted into each other's unused bits. Only bits that hold no
value of the tensor are lost. Unfolding restores the zeros or padding that readers expect there.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.kernels.squash import fill_padding, padding_word
from fedvm.compiler.tiling import WORD_BITS
from fedvm.compiler.view import WORD_BYTES, View


@dataclass(frozen=True)
class Folded:
    """The first `channels` channels of a view whose values have `bits` bits."""

    view: View
    channels: int
    bits: int

    @cached_property
    def mask(self) -> int:
        """Bits that hold values, in any of a row's words."""
        view, value, mask = self.view, (1 << self.bits) - 1, 0
        for word in range(view.words):
            mask |= lanes.at(value, [view.bit(word, c) for c in view.columns(word) if 0 <= c < view.width])
        return mask

    @cached_property
    def shifts(self) -> tuple[int, ...]:
        """By how many bits each word of a fold is moved (to the right if negative)."""
        low = (self.mask & -self.mask).bit_length() - 1
        narrow = self.mask >> low
        taken, found = 0, []
        for up in range(WORD_BITS - narrow.bit_length() + 1):
            if not taken & (narrow << up):
                taken |= narrow << up
                found.append(up - low)
        return tuple(found)

    @property
    def is_vector(self) -> bool:
        """Whether the words of the only row, rather than channels, are folded into each other."""
        view = self.view
        return view.channels == view.rows == 1 and not any(padding_word(view, j) for j in range(view.words))

    @property
    def planes(self) -> int:
        """The number of planes that are folded: channels, or the words of a vector."""
        return self.view.words if self.is_vector else self.channels

    @property
    def plane_bytes(self) -> int:
        return WORD_BYTES if self.is_vector else self.view.channel_bytes

    @property
    def row_words(self) -> int:
        return 1 if self.is_vector else self.view.words

    @property
    def bytes(self) -> int:
        """Bytes of the folded tensor."""
        folds = -(-self.planes // len(self.shifts))
        return folds * self.view.height * self.row_words * WORD_BYTES

    @property
    def runs(self) -> list[tuple[int, int, int]]:
        """(first plane, planes in a fold, number of folds): whole folds, then one with the planes that are left."""
        whole, left = divmod(self.planes, len(self.shifts))
        runs = [(0, len(self.shifts), whole), (whole * len(self.shifts), left, 1)]
        return [run for run in runs if run[1] and run[2]]


def emit_fold(a: Assembler, folded: Folded, source: int, target: int) -> None:
    """Append the code that folds a view at `source` in memory to `target` in memory."""
    a.push(folded.mask, name="mask")
    a.push(target, name="to")
    for first, count, folds in folded.runs:
        with _rows(a, folded, source, first, folds, "to"):
            for word in range(folded.row_words):
                for i in range(count):
                    _address(a, i * folded.plane_bytes + word * WORD_BYTES)
                    a.op("MLOAD", result="w")
                    a.dup("mask")
                    a.op("AND", result="w")
                    lanes.shift(a, folded.shifts[i])
                    if i:
                        a.op("OR", result="w")
                a.dup("to")
                _plus(a, word * WORD_BYTES)
                a.op("MSTORE")
    a.op("POP", "POP")


def emit_unfold(a: Assembler, folded: Folded, source: int, target: int) -> None:
    """Append the code that restores a view at `target` in memory, padding included, from `source` in the calldata."""
    view = folded.view
    fill_padding(a, view, target, folded.channels)
    a.push(folded.mask, name="mask")
    a.push(source, name="from")
    for first, count, folds in folded.runs:
        with _rows(a, folded, target, first, folds, "from"):
            for word in range(folded.row_words):
                a.dup("from")
                _plus(a, word * WORD_BYTES)
                a.op("CALLDATALOAD", result="w")
                for i in range(count):
                    a.dup("w")
                    lanes.shift(a, -folded.shifts[i])
                    a.dup("mask")
                    a.op("AND")
                    if padding := padding_word(view, word):
                        a.push(padding)
                        a.op("OR")
                    _address(a, i * folded.plane_bytes + word * WORD_BYTES)
                    a.op("MSTORE")
                a.op("POP")
    a.op("POP", "POP")


@contextmanager
def _rows(a: Assembler, folded: Folded, base: int, first: int, folds: int, pointer: str) -> Iterator[None]:
    """Visit every row of every fold; `pointer`, below the loops' items, moves on by a row of folded words."""
    view = folded.view
    start = base + first * folded.plane_bytes + view.top * view.row_bytes
    with (
        a.loop("plane", start, len(folded.shifts) * folded.plane_bytes, folds),
        a.loop("row", 0, view.row_bytes, view.height),
    ):
        yield
        a.swap(2)
        _plus(a, WORD_BYTES * folded.row_words)
        a.rename(pointer)
        a.swap(2)


def _address(a: Assembler, offset: int) -> None:
    """Stack: → plane + row + offset."""
    a.dup("plane")
    a.dup("row")
    a.op("ADD")
    _plus(a, offset)


def _plus(a: Assembler, offset: int) -> None:
    if offset:
        a.push(offset)
        a.op("ADD")
