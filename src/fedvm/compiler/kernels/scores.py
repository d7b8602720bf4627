"""The scores: from lanes to the ABI's int32[], and the index of the largest."""

from __future__ import annotations

from math import prod

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.graph import Shape
from fedvm.compiler.kernels.accumulate import Place, load_at, load_from
from fedvm.compiler.kernels.squash import store_word
from fedvm.compiler.layout import LayerPlan
from fedvm.compiler.view import WORD_BYTES, View

MANY = 64
"""More scores than this are written row by row in loops, if they form a map."""


def emit_scores(
    a: Assembler, plan: LayerPlan, order: tuple[int, int, int], source: Place, target: int
) -> None:
    """Append the code that writes every accumulator as a signed word from `target` on, (C, H, W) in the given order of
    these axes."""
    channels, height, width = plan.layer.shape
    steps = steps_of(plan.layer.shape, order)
    if height > 1 and channels * height * width > MANY:
        _emit_rows(a, plan, steps, source, target)
        return
    view = plan.native
    loaded = -1
    for element in range(channels * height * width):
        offset, bit = view.locate(element)
        if offset != loaded:
            if loaded >= 0:
                a.op("POP")
            load_at(a, source, offset, "lanes")
            loaded = offset
        _emit_score(a, view, plan.requant.offset[element // (height * width)], bit)
        a.push(target + place_of(element, plan.layer.shape, steps))
        a.op("MSTORE")
    a.op("POP")


def steps_of(shape: Shape, order: tuple[int, int, int]) -> Shape:
    """Bytes from one score to the next along C, H and W, where these axes are written in another order."""
    steps = {axis: WORD_BYTES * prod(shape[a] for a in order[i + 1 :]) for i, axis in enumerate(order)}
    return steps[0], steps[1], steps[2]


def place_of(element: int, shape: Shape, steps: Shape) -> int:
    """Byte at which the score of an element, counted in (C, H, W) order, is written."""
    channel, pixel = divmod(element, shape[1] * shape[2])
    row, column = divmod(pixel, shape[2])
    return channel * steps[0] + row * steps[1] + column * steps[2]


def _emit_rows(a: Assembler, plan: LayerPlan, steps: Shape, source: Place, target: int) -> None:
    """A loop over the rows of each channel. steps: bytes from one score to the next along C, H and W."""
    channels, height, width = plan.layer.shape
    view = plan.native
    for channel in range(channels):
        first = channel * height * width
        a.push(target + channel * steps[0], name="to")
        with a.loop("from", source.base + view.locate(first)[0], view.row_bytes, height):
            loaded = -1
            for column in range(width):
                offset, bit = view.locate(column)
                if offset != loaded:
                    if loaded >= 0:
                        a.op("POP")
                    load_from(a, "from", Place(source.load, 0), offset, "lanes")
                    loaded = offset
                _emit_score(a, view, plan.requant.offset[channel], bit)
                store_word(a, "to", steps[2] * column)
            a.op("POP")
            a.swap(1)
            a.push(steps[1])
            a.op("ADD", result="to")
            a.swap(1)
        a.op("POP")


def _emit_score(a: Assembler, view: View, offset: int, bit: int) -> None:
    """One lane minus the offset that kept it non-negative. Stack: lanes → lanes score."""
    a.push(offset)
    a.dup("lanes")
    lanes.shift(a, -bit)
    a.push((1 << view.lane_bits) - 1)
    a.op("AND", "SUB", result="score")


def emit_return_scores(a: Assembler, count: int, target: int) -> None:
    """Append RETURN of the int32[] whose elements lie from target + 64 on."""
    a.push(32)
    a.push(target)
    a.op("MSTORE")
    a.push(count)
    a.push(target + 32)
    a.op("MSTORE")
    a.push(64 + WORD_BYTES * count)
    a.push(target)
    a.op("RETURN")


def emit_return_class(a: Assembler, count: int, scores: int) -> None:
    """Append RETURN of the index of the largest score (the first of equals), without branches on data."""
    a.push(0, name="index")
    a.push(scores)
    a.op("MLOAD", result="best")
    with a.loop("at", scores, WORD_BYTES, count):
        # index += better · (i − index), best += better · (score − best)
        a.dup("at")
        a.op("MLOAD", result="score")
        a.dup("best")
        a.dup("score")
        a.op("SGT", result="better")  # score > best
        a.dup("index")
        a.push(scores)
        a.dup("at")
        a.op("SUB")
        a.push(5)
        a.op("SHR", "SUB")
        a.dup("better")
        a.op("MUL")
        a.dup("index")
        a.op("ADD", result="new")
        a.swap(5)
        a.op("POP")
        a.dup("best")
        a.dup("score")
        a.op("SUB", "MUL")
        a.dup("best")
        a.op("ADD", result="new")
        a.swap(3)
        a.op("POP", "POP")
        a.rename("index", below=2)
        a.rename("best", below=1)
    a.op("POP")
    a.push(0)
    a.op("MSTORE")
    a.push(WORD_BYTES)
    a.push(0)
    a.op("RETURN")
