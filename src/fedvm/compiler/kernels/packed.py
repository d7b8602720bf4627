"""Dense layers whose weights lie in data contracts: hardly more bits than they have, and one short loop for all.

A data word holds, in every lane, weights of several output words and activations side by side, each raised by
`raise_by` so that it is never negative: a shift and a mask give those of one output word. This adds raise_by · Σx to
every sum, which is subtracted at the end. Sums may overflow their lanes on the way: arithmetic modulo 2²⁵⁶ is linear,
and in the end every lane is in range again.

Activations are first spread to a word each. Blocks of them then wait on the stack while all output words take their
products with one block of data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.graph import Input
from fedvm.compiler.kernels.accumulate import Place, load_at, load_from
from fedvm.compiler.kernels.dense import finish, initial, place_table
from fedvm.compiler.layout import DensePlan
from fedvm.compiler.packing import DATA_BYTES, packing
from fedvm.compiler.scalars import input_offset
from fedvm.compiler.tiling import WORD_BITS
from fedvm.compiler.view import WORD_BYTES, View
from fedvm.evm.gas import DATA_BYTE_FILECOIN


@dataclass(frozen=True)
class Scan:
    """The words of one source as they are spread: for each lane read from a word its element, or None.

    words: address offset of every word in the source; bits: lowest bit of the lanes read; elements[word][lane].
    """

    term: int
    source: View | None
    high: int
    words: int
    bits: tuple[int, ...]
    elements: tuple[tuple[int | None, ...], ...]


@dataclass(frozen=True)
class Layout:
    """How a layer's weights are packed. field: bits of a weight; slots: weights in a lane; words: data words of a
    block; block: activations at a time; blocks: of each data contract."""

    field: int
    raise_by: int
    slots: int
    words: int
    block: int
    blocks: tuple[int, ...]
    scans: tuple[Scan, ...]

    @property
    def block_bytes(self) -> int:
        return self.words * WORD_BYTES

    def place(self, word: int, activation: int) -> tuple[int, int]:
        """(data word, lowest bit within a lane) of the weights of an output word for an activation of a block."""
        number, slot = divmod(word * self.block + activation, self.slots)
        return number, slot * self.field

    @property
    def scalars(self) -> int:
        """Words of the spread activations, whole blocks."""
        return sum(self.blocks) * self.block

    @property
    def scratch_bytes(self) -> int:
        """Sum of the activations, the activations, the data of one contract."""
        spread = sum(scan.words * len(scan.bits) for scan in self.scans)
        scalars = max(spread, self.scalars)
        return WORD_BYTES * (1 + scalars) + max(self.blocks) * self.block_bytes


def layout_of(plan: DensePlan, raw: Input) -> Layout:
    """The packing of a layer."""
    low = min(0, *(int(dense.weight.min()) for dense, _, _ in plan.terms))
    high = max(0, *(int(dense.weight.max()) for dense, _, _ in plan.terms))
    field = max(1, (high - low).bit_length())
    scans = tuple(_scan(plan, raw, term) for term in range(len(plan.terms)))
    count = sum(scan.words * len(scan.bits) for scan in scans)
    found = packing(count, plan.words, plan.lane_bits // field)
    most = DATA_BYTES // (found.words * WORD_BYTES)
    blocks = [most] * (found.blocks // most) + ([found.blocks % most] if found.blocks % most else [])
    return Layout(field, -low, found.slots, found.words, found.block, tuple(blocks), scans)


def _scan(plan: DensePlan, raw: Input, term: int) -> Scan:
    dense, view, high = plan.terms[term]
    if view is None:
        count = dense.weight.shape[1]
        inverse = {input_offset(raw, element): element for element in range(count)}
        words = -(-count // WORD_BYTES)
        bits = tuple(256 - high.bit_length() - 8 * i for i in range(WORD_BYTES))
        rows = tuple(tuple(inverse.get(WORD_BYTES * w + i) for i in range(WORD_BYTES)) for w in range(words))
        return Scan(term, None, high, words, bits, rows)
    where = {view.locate(element): element for element in range(dense.weight.shape[1])}
    used = sorted({bit for _, bit in where}, reverse=True)
    words = view.bytes // WORD_BYTES
    rows = tuple(tuple(where.get((WORD_BYTES * w, bit)) for bit in used) for w in range(words))
    return Scan(term, view, high, words, tuple(used), rows)


def data_of(plan: DensePlan, layout: Layout) -> list[bytes]:
    """The contents of the data contracts, one byte string for each."""
    order = [(scan.term, element) for scan in layout.scans for row in scan.elements for element in row]
    order += [(0, None)] * (layout.scalars - len(order))
    view = plan.native
    lane_bits = [plan.lane_bits * (plan.lanes - 1 - i) for i in range(plan.lanes)]
    empty = lanes.at(layout.raise_by, lane_bits)
    words = [0] * (layout.words * sum(layout.blocks))
    for position, (term, element) in enumerate(order):
        column = None if element is None else plan.terms[term][0].weight[:, element]
        block, activation = divmod(position, layout.block)
        for word in range(plan.words):
            packed = empty
            if column is not None:
                outputs = [o for o in view.columns(word) if o < view.width]
                packed += sum(int(column[o]) << view.bit(word, o) for o in outputs)
            number, bit = layout.place(word, activation)
            words[block * layout.words + number] |= packed << bit
    data = b"".join(word.to_bytes(WORD_BYTES, "big") for word in words)
    cuts, position = [], 0
    for blocks in layout.blocks:
        cuts.append(data[position : position + blocks * layout.block_bytes])
        position += blocks * layout.block_bytes
    return cuts


def emit_packed(
    a: Assembler, plan: DensePlan, layout: Layout, places: Mapping[View | str, Place], names: Sequence[str],
    target: int, scratch: int,
) -> None:  # fmt: skip
    """Append the whole layer. names: link symbols of the data contracts; target: memory of the output view."""
    total = scratch
    scalars = total + WORD_BYTES
    spread = sum(scan.words * len(scan.bits) for scan in layout.scans)
    data = scalars + WORD_BYTES * max(spread, layout.scalars)
    _spread(a, layout, places, scalars)
    for i in range(spread, layout.scalars):
        a.push(0)
        a.push(scalars + WORD_BYTES * i)
        a.op("MSTORE")
    a.push(0)
    a.push(total)
    a.op("MSTORE")
    for word in range(plan.words):
        a.push(initial(plan, word))
        a.push(target + WORD_BYTES * word)
        a.op("MSTORE")
    stack = [*a.stack, "back", "end", "x"]
    with a.subroutine(f"{plan.layer.name}_products", stack, len(names)) as products:
        with a.repeat("data", data, layout.block_bytes, "end", sum(layout.blocks), len(names)):
            _block(a, plan, layout, total, target)
            a.swap(1)
            a.push(WORD_BYTES * layout.block)
            a.op("ADD", result="x")
            a.swap(1)
        a.swap(2)
        a.swap(1)
        a.op("POP", "JUMP")
    a.push(scalars, name="x")
    for name, blocks in zip(names, layout.blocks, strict=True):
        size = blocks * layout.block_bytes
        a.push(size)
        a.push(1)
        a.push(data)
        a.push_symbol(name, 20)
        a.op("EXTCODECOPY")
        a.copied(size // WORD_BYTES, DATA_BYTE_FILECOIN)
        back = a.new_label("back")
        a.push(data + size, name="end")
        a.push_label(back, "back")
        a.swap(2)
        a.jump(products)
        a.place(back, reached=False)
    a.op("POP")
    a.push(total)
    a.op("MLOAD")
    a.push(lanes.replicate(layout.raise_by, plan.lane_bits, plan.lanes))
    a.op("MUL", result="raised")
    # one loop serves all words whose lanes are finished in the same way
    alike = len(set(plan.requant.shift)) == 1 and not any(plan.requant.lift)
    full = plan.layer.shape[0] // plan.lanes if alike else 0
    table = place_table(a, plan, scratch + layout.scratch_bytes)
    if full:
        with a.loop("word", target, WORD_BYTES, full):
            a.dup("raised")
            load_from(a, "word", Place("MLOAD", 0), 0, "acc")
            a.op("SUB", result="acc")
            finish(a, plan, 0, table)
            a.dup("word")
            a.op("MSTORE")
    for word in range(full, plan.words):
        a.dup("raised")
        load_at(a, Place("MLOAD", target), WORD_BYTES * word, "acc")
        a.op("SUB", result="acc")
        finish(a, plan, word, table)
        a.push(target + WORD_BYTES * word)
        a.op("MSTORE")
    a.op("POP")


def _spread(a: Assembler, layout: Layout, places: Mapping[View | str, Place], scalars: int) -> None:
    """Write every activation to a word of its own."""
    a.push(scalars, name="to")
    for scan in layout.scans:
        place = places["input" if scan.source is None else scan.source]
        with a.loop("from", place.base, WORD_BYTES, scan.words):
            load_from(a, "from", Place(place.load, 0), 0, "w")
            for i, bit in enumerate(scan.bits):
                a.dup("w")
                lanes.shift(a, -bit)
                if bit + scan.high.bit_length() < WORD_BITS:
                    a.push(scan.high)
                    a.op("AND")
                a.dup("to")
                if i:
                    a.push(WORD_BYTES * i)
                    a.op("ADD")
                a.op("MSTORE")
            a.op("POP")
            a.swap(1)
            a.push(WORD_BYTES * len(scan.bits))
            a.op("ADD", result="to")
            a.swap(1)
    a.op("POP")


def _block(a: Assembler, plan: DensePlan, layout: Layout, total: int, target: int) -> None:
    """All products of one block of activations. Stack: x data → x data."""
    a.push(lanes.replicate((1 << layout.field) - 1, plan.lane_bits, plan.lanes), name="mask")
    for i in range(layout.block):
        load_from(a, "x", Place("MLOAD", 0), WORD_BYTES * i, f"x{i}")
    load_at(a, Place("MLOAD", total), 0, "sum")
    for i in range(layout.block):
        a.dup(f"x{i}")
        a.op("ADD", result="sum")
    a.push(total)
    a.op("MSTORE")
    for word in range(plan.words):
        load_at(a, Place("MLOAD", target), WORD_BYTES * word, "acc")
        for i in range(layout.block):
            number, bit = layout.place(word, i)
            load_from(a, "data", Place("MLOAD", 0), WORD_BYTES * number, "weights")
            lanes.shift(a, -bit)
            a.dup("mask")
            a.op("AND")
            a.dup(f"x{i}")
            a.op("MUL", "ADD", result="acc")
        a.push(target + WORD_BYTES * word)
        a.op("MSTORE")
    for _ in range(layout.block + 1):
        a.op("POP")
