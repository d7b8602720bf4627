"""The scores: from lanes to the ABI's int32[], and the index of the largest."""

from __future__ import annotations

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.kernels.accumulate import Place, load_at
from fedvm.compiler.layout import WORD_BYTES, LayerPlan


def emit_scores(a: Assembler, plan: LayerPlan, source: Place, target: int) -> None:
    """Append the code that writes every accumulator, in (C, H, W) order, as a signed word from `target` on."""
    channels, height, width = plan.layer.shape
    view = plan.native
    mask = (1 << view.lane_bits) - 1
    loaded = -1
    for element in range(channels * height * width):
        offset, bit = view.locate(element)
        if offset != loaded:
            if loaded >= 0:
                a.op("POP")
            load_at(a, source, offset, "lanes")
            loaded = offset
        a.push(plan.requant.offset[element // (height * width)])
        a.dup("lanes")
        lanes.shift(a, -bit)
        a.push(mask)
        a.op("AND", "SUB", result="score")
        a.push(target + WORD_BYTES * element)
        a.op("MSTORE")
    a.op("POP")


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
