"""From sums to clipped words: rescaling, the maxima of a pool, bounds, looking up; then `squash.py` stores them.

Where the code of a row is repeated for every channel, each keeps a zero of its own, and two may share their words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.kernels.accumulate import Place, load_at, load_from
from fedvm.compiler.kernels.rescale import Channels, channels_of, load_values, may_stay
from fedvm.compiler.kernels.squash import (
    Packed,
    Spill,
    fit_the_stack,
    packed_words,
    store_views,
    valid_columns,
)
from fedvm.compiler.kernels.table import emit_lookup
from fedvm.compiler.layout import ConvPlan
from fedvm.compiler.view import WORD_BYTES, View


def squash_row(
    a: Assembler,
    plan: ConvPlan,
    views: Sequence[View],
    stage: int,
    table: int,
    outputs: range,
    *,
    unrolled: bool,
    sums: bool,
) -> None:
    """Pool, clip and store one output row of the channels `outputs`. In a loop, all must have one zero.

    stage: memory address of the staged words, `[position][channel]`; table: of the layer's table, if it has one;
    sums: whether the words are still to be rescaled, not in a loop. The stack holds a pointer "to_row<i>" to the row of
    the first channel in each of the `views`.
    """
    if unrolled:
        for channels in channels_of(plan, outputs, paired=sums and may_pair(plan, views)):
            _squash_channels(a, plan, views, channels, stage, table, outputs, sums)
        return
    for i in range(len(views)):
        a.dup(f"to_row{i}")
        a.rename(f"to{i}")
    with a.loop("from", stage, WORD_BYTES, len(outputs)):
        _squash_channel(a, plan, views, table, len(outputs))
        advance(a, [view.channel_bytes for view in views])
    for _ in views:
        a.op("POP")


def advance(a: Assembler, steps: Sequence[int]) -> None:
    """Add to the pointers that lie below the top, the deepest first."""
    for i, step in enumerate(steps):
        below = len(steps) - i
        name = a.stack[-1 - below]
        a.swap(below)
        a.push(step)
        a.op("ADD", result=name)
        a.swap(below)


def may_pair(plan: ConvPlan, views: Sequence[View]) -> bool:
    """Whether two channels may share the words of a row: no other words share theirs, and the stack has room."""
    packed = packed_words(plan, views)
    return fit_the_stack(packed, views) and all(len(word.chunks) == 1 for word in packed)


def _squash_channel(a: Assembler, plan: ConvPlan, views: Sequence[View], table: int, count: int) -> None:
    """The channel of a loop, whose values lie at "from"; its views are at "to<i>". count: channels of the layer."""
    packed, shape = packed_words(plan, views), _shape(plan)
    spill = None if fit_the_stack(packed, views) else Spill(plan, "from", 0, count)
    for word in packed:
        for chunk in word.chunks:

            def load(row: int, chunk: int = chunk) -> None:
                offset = WORD_BYTES * count * (row * plan.chunks + chunk)
                load_from(a, "from", Place("MLOAD", 0), offset, "u")

            load(0)
            for row in range(1, plan.pool.kernel[0]):
                lanes.maximum(a, shape, partial(load, row))
            a.rename(f"u{chunk}")
        _pool_and_clip(a, plan, word, table, shape, (plan.requant.zero,))
        if spill:
            spill.store(a, word.chunks[0])
    store_views(a, plan, views, packed, [f"to{i}" for i in range(len(views))], 0, spill)
    _drop(a, packed, spill)


def _squash_channels(
    a: Assembler, plan: ConvPlan, views: Sequence[View], channels: Channels, stage: int, table: int, outputs: range,
    sums: bool,
) -> None:  # fmt: skip
    """Channels that share words, from their sums or values on. stage: of the first of `outputs`; the rows of the views
    are at "to_row<i>"."""
    packed, shape = packed_words(plan, views), channels.shape
    places = [stage + WORD_BYTES * (output - outputs.start) for output in channels.outputs]
    spill = None if fit_the_stack(packed, views) else Spill(plan, None, places[0], len(outputs))
    for word in packed:
        for chunk in word.chunks:

            def load(row: int, number: int, chunk: int = chunk) -> None:
                offset = WORD_BYTES * len(outputs) * (row * plan.chunks + chunk)
                load_at(a, Place("MLOAD", places[number] + offset), 0, "u")

            def values(row: int, *, cut: bool, load: Callable[[int, int], None] = load) -> None:
                if sums:
                    load_values(a, plan, channels, partial(load, row), cut=cut)
                else:
                    load(row, 0)

            values(0, cut=True)
            stays = sums and may_stay(plan, channels)
            for row in range(1, plan.pool.kernel[0]):
                other = partial(values, row, cut=not stays)
                lanes.maximum(a, shape, other, clean=not stays)
            a.rename(f"u{chunk}")
        _pool_and_clip(a, plan, word, table, shape, channels.zeros)
        if spill:
            spill.store(a, word.chunks[0])
    pointers = [f"to_row{i}" for i in range(len(views))]
    for number, output in enumerate(channels.outputs):
        own = own_words(packed, shape, number)
        store_views(a, plan, views, own, pointers, output - outputs.start, spill)
    _drop(a, packed, spill)


def own_words(packed: list[Packed], shape: lanes.Shape, number: int) -> list[Packed]:
    """The words as they hold one of the channels that share them."""
    up, *others = shape.beside[number], *shape.beside[:number], *shape.beside[number + 1 :]
    return [
        replace(
            word,
            bits={column: bit + up for column, bit in word.bits.items()},
            beside=(*word.beside, *(bit + other for other in others for bit in word.bits.values())),
        )
        for word in packed
    ]


def _drop(a: Assembler, packed: list[Packed], spill: Spill | None) -> None:
    if not spill:
        for _ in packed:
            a.op("POP")


def _pool_and_clip(
    a: Assembler, plan: ConvPlan, word: Packed, table: int, shape: lanes.Shape, zeros: Sequence[int]
) -> None:
    """Interleave the chunks' words, take the maximum along the row, clip what `zeros` mean 0 in, look up in the table
    at `table`. Stack: u<first> … u<last> → v."""
    if len(word.chunks) == 1:
        _column_maximum(a, plan, shape)
    else:
        interleave(a, plan, word, 0)
        for column in range(1, plan.pool.kernel[1]):
            lanes.maximum(a, shape, partial(interleave, a, plan, word, column))
        a.swap(len(word.chunks))
        for _ in word.chunks:
            a.op("POP")
    requant = plan.requant
    if requant.clip is not None:
        keep = lanes.at(requant.clip, [bit + up for up in shape.beside for bit in word.bits.values()])
        lanes.clamp(a, shape, zeros, requant.clip, keep)
    if requant.table is not None:
        emit_lookup(a, len(requant.table), table, word.bits.values(), plan.lane_bits)
    a.rename(word.name)


def interleave(a: Assembler, plan: ConvPlan, word: Packed, column: int) -> None:
    """The sums under one column of the pool, of all chunks in one word. Stack: u<first> … → u<first> … u."""
    full = (1 << plan.requant.bits) - 1
    for slot, chunk in enumerate(word.chunks):
        a.dup(f"u{chunk}")
        lanes.shift(a, (column * plan.stride[1] - slot) * plan.lane_bits)
        lanes.and_constant(a, lanes.at(full, [word.bits[c] for c in valid_columns(plan, chunk)]))
        if slot:
            a.op("OR", result="u")


def _column_maximum(a: Assembler, plan: ConvPlan, shape: lanes.Shape) -> None:
    """Maximum over the columns under the pool, left in the lane of the first. Stack: u → u.

    A word of maxima over h columns and the same word h columns on give those over 2·h.
    """
    lane, reached = plan.stride[1] * plan.lane_bits, 1
    a.rename("u")
    while reached < plan.pool.kernel[1]:
        further = min(reached, plan.pool.kernel[1] - reached)

        def beside(further: int = further) -> None:
            a.dup("u")
            lanes.shift(a, lane * further)

        lanes.maximum(a, shape, beside)
        a.rename("u")
        reached += further


def _shape(plan: ConvPlan) -> lanes.Shape:
    return lanes.Shape(plan.lane_bits, plan.lanes, plan.requant.bits)
