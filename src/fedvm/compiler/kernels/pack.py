"""From raw input bytes to words of lanes: a few shifts and masks spread a whole run of bytes at once."""

from __future__ import annotations

from collections.abc import Sequence

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler, AssemblyError
from fedvm.compiler.graph import Input
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.squash import fill_padding, padding_word, store_word
from fedvm.compiler.restride import plan_restride, restride
from fedvm.compiler.view import WORD_BYTES, View

ROWS_A_TURN = 4
"""Rows of the input at most that a turn of a loop packs."""
TURN_BYTES = 2000
"""Code bytes that more than one row may take."""


def emit_pack(
    a: Assembler,
    raw: Input,
    bits: int,
    view: View,
    source: Place,
    target: int,
    part: range,
    *,
    unrolled: bool,
) -> None:
    """Append the code that writes some channels of one view of the input: the top `bits` of each byte.

    source: the raw bytes; target: memory of the view at channel part.start; unrolled: whether a turn of a loop may pack
    several rows.
    """
    height = raw.shape[1]
    plane, row, column = raw.steps
    fill_padding(a, view, target, len(part))
    a.push(target + view.top * view.row_bytes, name="to")
    channels = part if raw.layout == "HWC" else (0,)

    def pack(i: int, row_step: int, view_step: int) -> None:
        """Row i of a turn."""
        for number, channel in enumerate(channels):
            offset = i * view_step + number * view.channel_bytes
            pack_row(a, bits, view, source, i * row_step + channel, column, offset)

    def rows(
        name: str, start: int, count: int, row_step: int, view_step: int, base: str | None = None
    ) -> None:
        """A loop over rows. base: what is added to its counter."""
        turn = _rows_a_turn(count, _row_bytes(bits, view, source, channels, column)) if unrolled else 1
        with a.loop(name, start, row_step * turn, count // turn):
            if base is not None:
                a.dup(base)
                a.dup(name)
                a.op("ADD", result="from")
            for i in range(turn):
                pack(i, row_step, view_step)
            if base is not None:
                a.op("POP")
            _step(a, 1 if base is None else 2, turn * view_step)

    base = source.base + part.start * plane
    if raw.layout == "HWC":
        rows("from", source.base, height, row, view.row_bytes)
    elif height == 1:
        rows("from", base, len(part), plane, view.channel_bytes)
    elif view.rows == height and plane == height * row:
        rows("from", base, len(part) * height, row, view.row_bytes)
    else:
        with a.loop("plane", base, plane, len(part)):
            rows("row", 0, height, row, view.row_bytes, "plane")
            _step(a, 1, view.channel_bytes - height * view.row_bytes)
    a.op("POP")


def _rows_a_turn(count: int, size: int) -> int:
    """How many of `count` rows a turn packs, of which one takes `size` bytes of code."""
    most = max(1, min(ROWS_A_TURN, TURN_BYTES // size))
    return next(n for n in range(most, 0, -1) if count % n == 0)


def _row_bytes(bits: int, view: View, source: Place, channels: Sequence[int], column: int) -> int:
    """Code bytes of packing a row."""
    a = Assembler()
    a.push(0, name="to")
    a.push(0, name="from")
    for channel in channels:
        pack_row(a, bits, view, source, channel, column, 0)
    return a.size


def _step(a: Assembler, depth: int, amount: int) -> None:
    """Advance the "to" pointer that lies `depth` below the top."""
    a.swap(depth)
    a.push(amount)
    a.op("ADD", result="to")
    a.swap(depth)


def pack_row(
    a: Assembler, bits: int, view: View, source: Place, first: int, stride: int, offset: int
) -> None:
    """One row of one channel, whose columns lie `stride` bytes apart from from + first on, to to + offset."""
    for word in range(view.words):
        columns = [c for c in view.columns(word) if 0 <= c < view.width]
        padding = padding_word(view, word)
        pieces = 0
        while columns:
            taken, sources, targets = _longest(bits, view, word, columns, stride)
            a.dup("from")
            if first + taken[0] * stride:
                a.push(first + taken[0] * stride)
                a.op("ADD")
            a.op(source.load, result="w")
            restride(a, sources, targets, bits, _around(sources, bits))
            if pieces:
                a.op("OR", result="w")
            pieces += 1
            columns = columns[len(taken) :]
        if padding or not pieces:
            a.push(padding, name="w")
            if pieces:
                a.op("OR", result="w")
        store_word(a, "to", offset + WORD_BYTES * word)


def _longest(
    bits: int, view: View, word: int, columns: list[int], stride: int
) -> tuple[list[int], list[int], list[int]]:
    """As many of the columns as one loaded word can bring into place: (columns, bits now, bits wanted)."""
    apart = stride * view.every
    for count in range(min(len(columns), 31 // apart + 1), 0, -1):
        taken = columns[:count]
        sources = [256 - bits - 8 * apart * i for i in range(count)]
        targets = [view.bit(word, c) for c in taken]
        try:
            plan_restride(tuple(sources), tuple(targets), bits, _around(sources, bits))
        except AssemblyError:
            continue
        return taken, sources, targets
    raise AssemblyError(f"no column of {columns} can be brought into place")


def _around(fields: list[int], bits: int) -> int:
    """Every bit outside the fields: the neighbours' bytes, and the low bits that are dropped."""
    return lanes.FULL & ~lanes.at((1 << bits) - 1, fields)
