"""Dense layers: scalar activation × word of weights, n multiply-accumulates a MUL.

Blocks of 15 activations wait on the stack while every output word takes their products, so an output word is loaded
and stored once a block. A layer may be cut anywhere between two activations; the partial sums then travel on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.kernels.accumulate import Place, load_at
from fedvm.compiler.kernels.table import aligned, emit_lookup, emit_table
from fedvm.compiler.layout import DensePlan
from fedvm.compiler.scalars import Scalar
from fedvm.compiler.view import WORD_BYTES, View


def emit_dense(
    a: Assembler, plan: DensePlan, places: Mapping[View | str, Place], partial: Place | None, target: int,
    span: range, finishes: bool, scratch: int,
) -> None:  # fmt: skip
    """Append the products of the numbers `span` of `plan.scalars`.

    places: where the sources lie ("input": raw bytes); partial: where earlier partial sums lie (None: begin with
    the bias); target: memory address of the sums, and of the output view if the step `finishes` it; scratch: memory for
    the table.
    """
    chosen = plan.scalars[span.start : span.stop]
    table = place_table(a, plan, scratch) if finishes else 0
    blocks = [chosen[i : i + plan.block] for i in range(0, len(chosen), plan.block)] or [[]]
    for number, block in enumerate(blocks):
        for i, scalar in enumerate(block):
            load_scalar(a, plan, places, scalar, block[i - 1] if i else None, f"x{i}")
        for word in range(plan.words):
            if number:
                load_at(a, Place("MLOAD", target), WORD_BYTES * word, "acc")
            elif partial is not None:
                load_at(a, partial, WORD_BYTES * word, "acc")
            else:
                a.push(initial(plan, word), name="acc")
            weights = [scalar.weights[word] for scalar in block]
            drops = word == plan.words - 1 and _drops(weights)
            _products(a, weights, drops=drops)
            if finishes and number == len(blocks) - 1:
                finish(a, plan, word, table)
            a.push(target + WORD_BYTES * word)
            a.op("MSTORE")
            if word == plan.words - 1 and not drops:
                for _ in block:
                    a.op("POP")


def _drops(weights: Sequence[int]) -> bool:
    """Whether products that take their numbers off the stack are cheaper than to clear it afterwards: 5 gas for each
    number without a product instead of 2 for each."""
    return 5 * sum(not weight for weight in weights) <= 2 * len(weights)


def _products(a: Assembler, weights: Sequence[int], *, drops: bool) -> None:
    """Add the products of the numbers x0 … that lie below the sum. drops: take the numbers off the stack. Stack:
    x0 … acc → x0 … acc', or acc' alone"""
    if not drops:
        for i, weight in enumerate(weights):
            if weight:
                a.dup(f"x{i}")
                a.push(weight)
                a.op("MUL", "ADD", result="acc")
        return
    for weight in reversed(weights):
        a.swap(1)
        if weight:
            a.push(weight)
            a.op("MUL", "ADD", result="acc")
        else:
            a.op("POP")


def initial(plan: DensePlan, word: int) -> int:
    """The initial value of an output word: bias and offset of every lane."""
    view = plan.native
    return sum(plan.requant.initial[o] << view.bit(word, o) for o in view.columns(word) if o < view.width)


def load_scalar(
    a: Assembler, plan: DensePlan, places: Mapping[View | str, Place], scalar: Scalar, before: Scalar | None, name: str
) -> None:  # fmt: skip
    """Load a number; `before` is the one on top of the stack. Stack: → x"""
    if before is not None and scalar.follows(before):
        a.dup(a.stack[-1])
        lanes.shift(a, before.shift - scalar.shift)
    else:
        view = plan.terms[scalar.term][1]
        load_at(a, places["input" if view is None else view], scalar.offset, name)
        if scalar.only:
            lanes.and_constant(a, scalar.only)
        lanes.shift(a, -scalar.shift)
        if scalar.keep:
            lanes.and_constant(a, scalar.keep)
    a.rename(name)


def seats(plan: DensePlan, word: int) -> list[int]:
    """The bits at which the outputs of a word lie."""
    view = plan.native
    return [view.bit(word, o) for o in view.columns(word) if o < view.width]


def place_table(a: Assembler, plan: DensePlan, scratch: int) -> int:
    """Append the code that writes the layer's table, if it has one, to `scratch`; its address."""
    table = plan.requant.table
    if table is None:
        return 0
    at = aligned(scratch, len(table))
    emit_table(a, table, at)
    return at


def finish(a: Assembler, plan: DensePlan, word: int, table: int) -> None:
    """Requantize and clip one output word, and look its lanes up in the table at `table`. Stack: acc → v."""
    requant, view = plan.requant, plan.native
    if requant.clip is None:
        return
    shape = lanes.Shape(plan.lane_bits, plan.lanes, requant.bits)
    columns, bits = [o for o in view.columns(word) if o < view.width], seats(plan, word)
    by_shift: dict[int, list[int]] = {}
    for output in columns:
        by_shift.setdefault(requant.shift[output], []).append(output)
    for number, (k, outputs) in enumerate(by_shift.items()):
        final = number == len(by_shift) - 1
        if not final:
            a.dup("acc")
        elif number:
            a.swap(1)
        lanes.shift(a, -k)
        width = max(0, min(requant.bits, plan.lane_bits - k))
        lanes.and_constant(a, lanes.at((1 << width) - 1, [view.bit(word, o) for o in outputs]))
        if number:
            a.op("OR")
        a.rename("u")
    lift = sum(requant.lift[o] << view.bit(word, o) for o in columns)
    if lift:
        a.push(lift)
        a.op("ADD", result="u")
    lanes.clamp(a, shape, (requant.zero,), requant.clip, lanes.at(requant.clip, bits))
    if requant.table is not None:
        emit_lookup(a, len(requant.table), table, bits, plan.lane_bits)


def macs(plan: DensePlan) -> int:
    """Multiply-accumulates of the layer."""
    return sum(int(dense.weight.size) for dense, _, _ in plan.terms)
