"""Dense layers: scalar activation × word of weights, n multiply-accumulates a MUL.

Blocks of 15 activations wait on the stack while every output word takes their products, so an output word is loaded
and stored once a block. A layer may be cut anywhere between two activations; the partial sums then travel on.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.graph import Input
from fedvm.compiler.kernels.accumulate import Place, load_at
from fedvm.compiler.kernels.table import aligned, emit_lookup, emit_table
from fedvm.compiler.layout import DensePlan
from fedvm.compiler.view import WORD_BYTES, View


def elements(plan: DensePlan) -> list[tuple[int, int]]:
    """(term, element) of every activation that any output uses."""
    return [
        (t, i)
        for t, (dense, _, _) in enumerate(plan.terms)
        for i in range(dense.weight.shape[1])
        if dense.weight[:, i].any()
    ]


def input_offset(source: Input, element: int) -> int:
    """Byte of the raw input that holds an element in (C, H, W) order."""
    channel, rest = divmod(element, source.shape[1] * source.shape[2])
    row, column = divmod(rest, source.shape[2])
    return sum(at * step for at, step in zip((channel, row, column), source.steps, strict=True))


def emit_dense(
    a: Assembler, plan: DensePlan, raw: Input, places: Mapping[View | str, Place], partial: Place | None, target: int,
    span: range, finishes: bool, scratch: int,
) -> None:  # fmt: skip
    """Append the products of the activations `span` of `elements(plan)`.

    places: where the sources lie ("input": raw bytes); partial: where earlier partial sums lie (None: begin with
    the bias); target: memory address of the sums, and of the output view if the step `finishes` it; scratch: memory for
    the table.
    """
    everything, weights = elements(plan), plan.weight_words
    chosen = [everything[i] for i in span]
    table = place_table(a, plan, scratch) if finishes else 0
    blocks = [chosen[i : i + plan.block] for i in range(0, len(chosen), plan.block)] or [[]]
    for number, block in enumerate(blocks):
        for i, (term, element) in enumerate(block):
            _load_element(a, plan, raw, places, term, element, f"x{i}")
        columns = [weights[term][element] for term, element in block]
        for word in range(plan.words):
            if number:
                load_at(a, Place("MLOAD", target), WORD_BYTES * word, "acc")
            elif partial is not None:
                load_at(a, partial, WORD_BYTES * word, "acc")
            else:
                a.push(initial(plan, word), name="acc")
            for i, words in enumerate(columns):
                if words[word]:
                    a.dup(f"x{i}")
                    a.push(words[word])
                    a.op("MUL", "ADD", result="acc")
            if finishes and number == len(blocks) - 1:
                finish(a, plan, word, table)
            a.push(target + WORD_BYTES * word)
            a.op("MSTORE")
        for _ in block:
            a.op("POP")


def initial(plan: DensePlan, word: int) -> int:
    """The initial value of an output word: bias and offset of every lane."""
    view = plan.native
    return sum(plan.requant.initial[o] << view.bit(word, o) for o in view.columns(word) if o < view.width)


def _load_element(
    a: Assembler,
    plan: DensePlan,
    raw: Input,
    places: Mapping[View | str, Place],
    term: int,
    element: int,
    name: str,
) -> None:
    _, view, high = plan.terms[term]
    if view is None:
        load_at(a, places["input"], input_offset(raw, element), name)
        lanes.shift(a, high.bit_length() - 256)
        return
    offset, bit = view.locate(element)
    load_at(a, places[view], offset, name)
    lanes.shift(a, -bit)
    a.push(high)
    a.op("AND", result=name)


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
    lanes.clamp(a, shape, requant.zero, requant.clip, lanes.at(requant.clip, bits))
    if requant.table is not None:
        emit_lookup(a, len(requant.table), table, bits, plan.lane_bits)


def macs(plan: DensePlan) -> int:
    """Multiply-accumulates of the layer."""
    return sum(int(dense.weight.size) for dense, _, _ in plan.terms)
