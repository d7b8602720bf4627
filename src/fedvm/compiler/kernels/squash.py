"""From clipped words to the next layers' words: moving lanes to the readers' strides, storing.

A word of a pooled or strided layer uses only some of its lanes. Such words are interleaved before they are pooled
and clipped (`pooling.py`), so that one comparison serves several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler, AssemblyError
from fedvm.compiler.layout import ConvPlan
from fedvm.compiler.restride import plan_restride, restride
from fedvm.compiler.view import WORD_BYTES, View

STACKED_WORDS = 12
"""Words of a row, and pointers to views, kept on the stack: DUP16 must reach below them and some temporaries."""


@dataclass(frozen=True)
class Packed:
    """A clipped word on the stack: its name, the bit at which each output column lies, and the chunks of the row that
    were interleaved in it (none for a word that was moved since). Of rows that were computed together, column c of row
    r counts as column r · width + c until they are stored; beside: bits at which the columns of the other rows lie."""

    name: str
    bits: Mapping[int, int]
    chunks: tuple[int, ...] = ()
    beside: tuple[int, ...] = ()


@dataclass(frozen=True)
class Spill:
    """Memory for the clipped words of a row that is too wide for the stack: each replaces the sums it was made from."""

    plan: ConvPlan
    pointer: str | None
    base: int
    outputs: int

    def store(self, a: Assembler, chunk: int) -> None:
        """Stack: v →"""
        self._address(a, chunk)
        a.op("MSTORE")

    def load(self, a: Assembler, chunk: int) -> None:
        """Stack: → v"""
        self._address(a, chunk)
        a.op("MLOAD", result=f"v{chunk}")

    def _address(self, a: Assembler, chunk: int) -> None:
        a.push(self.base + WORD_BYTES * self.outputs * chunk)
        if self.pointer is not None:
            a.dup(self.pointer)
            a.op("ADD")


def fit_the_stack(packed: Sequence[Packed], views: Sequence[View]) -> bool:
    """Whether the stack has room for the clipped words of a row, beside a pointer for each view."""
    return len(packed) + len(views) <= STACKED_WORDS


def packed_words(plan: ConvPlan, views: Sequence[View]) -> list[Packed]:
    """The clipped words of a row. Chunks are interleaved in one word, but for those that are stored as they are."""
    if plan.tiling.rows > 1:
        return [Packed("v0", _bits_together(plan), (0,))]
    stride = plan.native.stride
    width = min(stride, plan.lanes - stride * (plan.columns - 1))
    if plan.requant.high is None or any(plan.is_native(view) for view in views):
        width = 1
    words = []
    for first in range(0, plan.chunks, width):
        chunks = tuple(range(first, min(first + width, plan.chunks)))
        bits = {
            column: plan.native.bit(chunk, column) - slot * plan.lane_bits
            for slot, chunk in enumerate(chunks)
            for column in valid_columns(plan, chunk)
        }
        words.append(Packed(f"v{first}", bits, chunks))
    return words


def _bits_together(plan: ConvPlan) -> dict[int, int]:
    """Where the outputs of rows that were computed together lie."""
    width, tiling = plan.layer.shape[2], plan.tiling
    return {
        row * width + column: plan.native.bit(0, column) - row * tiling.pitch * plan.lane_bits
        for row in range(tiling.rows)
        for column in range(width)
    }


def row_of(plan: ConvPlan, packed: list[Packed], row: int) -> list[Packed]:
    """The clipped words as they hold one of the rows that were computed together."""
    if plan.tiling.rows == 1:
        return packed
    (word,), width = packed, plan.layer.shape[2]
    own = {column: word.bits[row * width + column] for column in range(width)}
    beside = [bit for column, bit in word.bits.items() if column // width != row]
    return [replace(word, bits=own, beside=tuple(beside))]


def valid_columns(plan: ConvPlan, chunk: int) -> range:
    """Output columns of a chunk."""
    first = chunk * plan.columns
    return range(first, min(first + plan.columns, plan.layer.shape[2]))


# -- storing ----------------------------------------------------------------------------------------------------------


def store_views(
    a: Assembler, plan: ConvPlan, views: Sequence[View], packed: list[Packed], pointers: Sequence[str], channel: int,
    spill: Spill | None,
) -> None:  # fmt: skip
    """Write the packed words of one channel into all views. Stack: unchanged.

    pointers: names of the stack items that hold where the row of channel 0 lies in each view.
    """
    room = STACKED_WORDS - len(views)
    for view, pointer in zip(views, pointers, strict=True):
        for row in range(plan.tiling.rows):
            offset = channel * view.channel_bytes + row * view.row_bytes
            _store(a, plan, view, row_of(plan, packed, row), pointer, offset, spill, room)


def _store(
    a: Assembler,
    plan: ConvPlan,
    view: View,
    packed: list[Packed],
    pointer: str,
    offset: int,
    spill: Spill | None,
    room: int,
) -> None:
    """Write the packed words of a row into one view, at pointer + offset. Stack: unchanged.

    room: words that may lie on the stack.
    """
    if plan.is_native(view):
        for chunk, word in enumerate(packed):
            _fetch(a, word, spill)
            if word.beside:
                _isolate(a, plan, view, chunk, word)
            store_word(a, pointer, offset + WORD_BYTES * chunk)
        return
    high = plan.requant.high
    assert high is not None
    moves = sum(len(_moves(plan, view, word, high.bit_length())) for word in packed)
    if spill or len(packed) + moves > room:
        _store_apart(a, view, packed, high.bit_length(), pointer, offset, spill)
        return
    moved: list[Packed] = []
    for number, word in enumerate(packed):
        for columns in _moves(plan, view, word, high.bit_length()):
            targets = _targets(view, columns)
            a.dup(word.name)
            _move(a, word, columns, targets, high.bit_length())
            a.rename(f"m{number}.{columns[0]}")
            moved.append(Packed(a.stack[-1], targets))
    for number in range(view.words):
        _gather(a, view, number, moved)
        store_word(a, pointer, offset + WORD_BYTES * number)
    for _ in moved:
        a.op("POP")


def _isolate(a: Assembler, plan: ConvPlan, view: View, chunk: int, word: Packed) -> None:
    """Leave one channel of a word that two share, in the lanes of the view. Stack: v → v"""
    assert plan.requant.high is not None
    wanted = {column: view.bit(chunk, column) for column in word.bits}
    up = next(bit - wanted[column] for column, bit in word.bits.items())
    lanes.shift(a, -up)
    lanes.and_constant(a, lanes.at(plan.requant.high, wanted.values()))


def _store_apart(
    a: Assembler, view: View, packed: list[Packed], width: int, pointer: str, offset: int, spill: Spill | None
) -> None:
    """The same for rows too wide for the stack: every word of the view is assembled from moves of its own."""
    for number in range(view.words):
        inside = [c for c in view.columns(number) if 0 <= c < view.width]
        pieces = 0
        for word in packed:
            rest = [c for c in inside if c in word.bits]
            while rest:
                targets = {c: view.bit(number, c) for c in rest}
                columns = _longest(word, rest, lambda _, there=targets: there, width)  # type: ignore[misc]
                _fetch(a, word, spill)
                _move(a, word, columns, targets, width)
                if pieces:
                    a.op("OR")
                a.rename("w")
                pieces += 1
                rest = rest[len(columns) :]
        _add_padding(a, view, number, pieces)
        store_word(a, pointer, offset + WORD_BYTES * number)


def _fetch(a: Assembler, word: Packed, spill: Spill | None) -> None:
    """Stack: → v"""
    if spill:
        spill.load(a, int(word.name[1:]))
    else:
        a.dup(word.name)


def _move(a: Assembler, word: Packed, columns: Sequence[int], targets: Mapping[int, int], width: int) -> None:
    """Move the columns to the bits `targets`, clearing all others. Stack: v → m"""
    sources = [word.bits[c] for c in columns]
    restride(a, sources, [targets[c] for c in columns], width, _others(word, columns, width))


def _moves(plan: ConvPlan, view: View, word: Packed, width: int) -> list[list[int]]:
    """Columns that are moved to the view's stride together: those of the whole word, or chunk by chunk if that is
    cheaper. Columns that the view does not hold stay behind."""
    held = range(view.start, view.width, view.every)
    whole = [c for c in sorted(word.bits) if c in held]
    apart: list[list[int]] = []
    for chunk in range(plan.chunks):
        rest = [c for c in valid_columns(plan, chunk) if c in whole]
        while rest:
            apart.append(_longest(word, rest, partial(_targets, view), width))
            rest = rest[len(apart[-1]) :]
    if len(apart) <= 1:
        return apart
    try:
        if view.words == 1 and _move_gas(word, whole, _targets(view, whole), width) <= sum(
            _move_gas(word, columns, _targets(view, columns), width) for columns in apart
        ):
            return [whole]
    except AssemblyError:  # the whole word cannot be moved at once
        pass
    return apart


def _longest(
    word: Packed, columns: list[int], place: Callable[[list[int]], Mapping[int, int]], width: int
) -> list[int]:
    """As many of the first columns as can be moved at once; wider lanes can spread a word's columns over several
    words."""
    for count in range(len(columns), 1, -1):
        try:
            _move_gas(word, columns[:count], place(columns[:count]), width)
        except AssemblyError:
            continue
        return columns[:count]
    return columns[:1]


def _move_gas(word: Packed, columns: Sequence[int], targets: Mapping[int, int], width: int) -> int:
    """Gas of moving the columns to the bits `targets`; AssemblyError if that cannot be done at once."""
    bits = tuple(word.bits[c] for c in columns)
    goals = tuple(targets[c] for c in columns)
    return 15 + plan_restride(bits, goals, width, _others(word, columns, width)).gas


def _others(word: Packed, columns: Sequence[int], width: int) -> int:
    """The bits of a word's other columns."""
    others = [bit for c, bit in word.bits.items() if c not in columns]
    return lanes.at((1 << width) - 1, [*others, *word.beside])


def _targets(view: View, columns: Sequence[int]) -> dict[int, int]:
    """Bits for the columns at the view's stride, where possible in place for the word that takes most of them.

    Raises AssemblyError if they do not fit a word together: their source may hold more columns than the view has
    lanes.
    """
    best = max(range(view.words), key=lambda w: len(set(columns) & set(view.columns(w))))
    bits = [view.bit(best, c) for c in columns]
    top = view.lane_bits * (view.lanes - 1)
    if min(bits) < 0:
        bits = [b - min(bits) for b in bits]
    elif max(bits) > top:
        bits = [b - (max(bits) - top) for b in bits]
    if min(bits) < 0 or max(bits) > top:
        raise AssemblyError(f"{len(columns)} columns do not fit a word of {view.lanes} lanes")
    return dict(zip(columns, bits, strict=True))


def _gather(a: Assembler, view: View, word: int, moved: list[Packed]) -> None:
    """Assemble one word of a view from the moved words. Stack: → w."""
    inside = [c for c in view.columns(word) if 0 <= c < view.width]
    pieces = 0
    for piece in moved:
        mine = [c for c in inside if c in piece.bits]
        if not mine:
            continue
        a.dup(piece.name)
        lanes.shift(a, view.bit(word, mine[0]) - piece.bits[mine[0]])
        if pieces:
            a.op("OR")
        a.rename("w")
        pieces += 1
    _add_padding(a, view, word, pieces)


def _add_padding(a: Assembler, view: View, word: int, pieces: int) -> None:
    """Stack: w → w, or if the word has no pieces → w"""
    padding = padding_word(view, word)
    if not pieces:
        a.push(padding, name="w")
    elif padding:
        a.push(padding)
        a.op("OR", result="w")


def padding_word(view: View, word: int) -> int:
    """`pad_value` in the lanes of a word that lie beside the image."""
    return lanes.at(
        view.pad_value, [view.bit(word, c) for c in view.columns(word) if not 0 <= c < view.width]
    )


def padding_row(view: View) -> int:
    """`pad_value` in all lanes of a word, as rows above and below the image have it."""
    return lanes.at(view.pad_value, [view.bit(0, c) for c in view.columns(0)])


def store_word(a: Assembler, pointer: str, offset: int) -> None:
    """Store the top of the stack at pointer + offset. Stack: w →"""
    a.dup(pointer)
    if offset:
        a.push(offset)
        a.op("ADD")
    a.op("MSTORE")


def fill_padding(a: Assembler, view: View, base: int, channels: int) -> None:
    """Write the rows of padding above and below the image (the memory may have been used before)."""
    rows = [*range(view.top), *range(view.top + view.height, view.rows)]
    if not rows:
        return
    full = padding_row(view)
    with a.loop("channel", base, view.channel_bytes, channels):
        a.push(full, name="pad")
        for row in rows:
            for word in range(view.words):
                a.dup("pad")
                a.dup("channel")
                a.push(row * view.row_bytes + word * WORD_BYTES)
                a.op("ADD", "MSTORE")
        a.op("POP")
