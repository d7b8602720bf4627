"""From raw input bytes to words of lanes: a few shifts and masks spread a whole run of bytes at once."""

from __future__ import annotations

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler, AssemblyError
from fedvm.compiler.graph import Input
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.squash import fill_padding, padding_word, store_word
from fedvm.compiler.restride import plan_restride, restride
from fedvm.compiler.view import WORD_BYTES, View


def emit_pack(
    a: Assembler, raw: Input, bits: int, view: View, source: Place, target: int, part: range
) -> None:
    """Append the code that writes some channels of one view of the input: the top `bits` of each byte.

    source: the raw bytes; target: memory of the view at channel part.start.
    """
    height = raw.shape[1]
    plane, row, column = raw.steps
    fill_padding(a, view, target, len(part))
    a.push(target + view.top * view.row_bytes, name="to")
    if raw.layout == "HWC":
        with a.loop("from", source.base, row, height):
            for number, channel in enumerate(part):
                pack_row(a, bits, view, source, channel, column, number * view.channel_bytes)
            _step(a, 1, view.row_bytes)
        a.op("POP")
        return
    base = source.base + part.start * plane
    if height == 1:
        with a.loop("from", base, plane, len(part)):
            pack_row(a, bits, view, source, 0, column, 0)
            _step(a, 1, view.channel_bytes)
    elif view.rows == height and plane == height * row:
        with a.loop("from", base, row, len(part) * height):
            pack_row(a, bits, view, source, 0, column, 0)
            _step(a, 1, view.row_bytes)
    else:
        with a.loop("plane", base, plane, len(part)):
            with a.loop("row", 0, row, height):
                a.dup("plane")
                a.dup("row")
                a.op("ADD", result="from")
                pack_row(a, bits, view, source, 0, column, 0)
                a.op("POP")
                _step(a, 2, view.row_bytes)
            _step(a, 1, view.channel_bytes - height * view.row_bytes)
    a.op("POP")


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
