"""The proof that no value is lost when values move from input bytes to lanes, and from one layer's lanes to those that
the next reads.

Sums are proved by their bounds (`layout.py`). Moves are proved here, in every build and before any code is emitted
for good: the emitted code of each move is interpreted on words whose bits are labels (`provenance.py`), and every
column must arrive whole in each lane that a reader expects it in, and nothing else beside it. That each product meets
the columns of its taps, and no lane leaves a word at either end, follows from the layout and is enumerated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise, product

import numpy as np

from fedvm.compiler.assembler import Assembler, AssemblyError
from fedvm.compiler.graph import Input
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.dense import load_scalar, seats
from fedvm.compiler.kernels.fold import Folded, emit_fold, emit_unfold
from fedvm.compiler.kernels.pack import pack_row
from fedvm.compiler.kernels.pooling import interleave, may_pair, own_words
from fedvm.compiler.kernels.rescale import together
from fedvm.compiler.kernels.scores import place_of, steps_of
from fedvm.compiler.kernels.squash import (
    Spill,
    fit_the_stack,
    packed_words,
    padding_row,
    store_views,
    valid_columns,
)
from fedvm.compiler.kernels.table import aligned, emit_lookup, emit_table
from fedvm.compiler.labelled import compare, compare_row, expected_word, labels, require
from fedvm.compiler.lanes import Shape
from fedvm.compiler.layout import ConvPlan, DensePlan, LayerPlan, Plan
from fedvm.compiler.products import prove_products
from fedvm.compiler.provenance import FIRST_LABEL, MASK, ONE, UNKNOWN, Bits, Machine, bits_of, fields
from fedvm.compiler.scalars import BYTE, input_offset
from fedvm.compiler.tiling import WORD_BITS
from fedvm.compiler.view import WORD_BYTES, View

APART = 1 << 32
"""Distance of the addresses that stand for different regions."""


def prove_moves(plan: Plan) -> None:
    """Prove every move of a program. Raises AssemblyError, naming the layer, if a move loses or misplaces a value."""
    width = plan.graph.input_high.bit_length()
    for view in plan.input_views:
        with _blame("input"):
            prove_pack(plan.graph.input, width, view)
    held = dict.fromkeys(plan.input_views, width)
    for layer in plan.layers:
        with _blame(layer.layer.name):
            if isinstance(layer, ConvPlan):
                prove_products(layer, held)
                prove_interleaving(layer)
                prove_stores(layer)
            else:
                prove_elements(layer, held)
            prove_table(layer)
        if layer.requant.high is None:
            with _blame(layer.layer.name):
                prove_scores(layer, plan.graph.scores.order)
        else:
            held |= {view: layer.requant.high.bit_length() for view in layer.outputs}


@contextmanager
def _blame(layer: str) -> Iterator[None]:
    """Names the layer in the errors raised inside."""
    try:
        yield
    except AssemblyError as error:
        raise AssemblyError(f"layer {layer!r}: {error}") from error


def _no_load(opcode: str, address: int) -> Bits:
    raise AssemblyError(f"{opcode} at {address} among moves on the stack")


# -- sums -------------------------------------------------------------------------------------------------------------


def prove_interleaving(plan: ConvPlan) -> None:
    """Sums that share a word before they are pooled lie where the pool expects them, and none is lost."""
    width = plan.requant.bits
    for word in packed_words(plan, plan.outputs):
        if len(word.chunks) == 1:
            (chunk,) = word.chunks
            apart = plan.tiling.pitch * plan.lane_bits
            own = {
                row * plan.layer.shape[2] + column: plan.native.bit(chunk, column) - row * apart
                for row in range(plan.tiling.rows)
                for column in valid_columns(plan, chunk)
            }
            require(
                word.bits == own, f"the sums of word {chunk} are looked for in other lanes than their own"
            )
            continue
        lane_of = {chunk: slot * plan.lanes for slot, chunk in enumerate(word.chunks)}
        sums = [
            fields(
                {
                    plan.lane_bits * (plan.lanes - 1 - i): labels(lane_of[chunk] + i, width)
                    for i in range(plan.lanes)
                }
            )
            for chunk in word.chunks
        ]
        for under in range(plan.pool.kernel[1]):
            a = Assembler()
            for chunk in word.chunks:
                a.push(0, name=f"u{chunk}")
            start = len(a.instructions)
            interleave(a, plan, word, under)
            machine = Machine(sums, _no_load)
            machine.run(a.instructions[start:])
            expected = {}
            for chunk in word.chunks:
                for column in valid_columns(plan, chunk):
                    lane = ((column - chunk * plan.columns) * plan.pool.stride[1] + under) * plan.stride[1]
                    expected[word.bits[column]] = labels(lane_of[chunk] + lane, width)
            top = machine.stack[-1]
            assert isinstance(top, np.ndarray)
            compare(top, fields(expected), f"the sums under column {under} of the pool")


# -- storing ----------------------------------------------------------------------------------------------------------


def prove_stores(plan: ConvPlan) -> None:
    """Every view of the layer's output holds every column of a row in each lane that is meant for it, whether channels
    have words of their own or two share them."""
    if plan.requant.high is None:  # the scores: stored as they are
        require(plan.outputs == (plan.native,), "scores that are moved")
        return
    alone = Shape(plan.lane_bits, plan.lanes, plan.requant.bits)
    shapes = {alone}
    if may_pair(plan, plan.outputs):
        outputs = range(plan.layer.shape[0])
        pairs = [together(plan, first, second) for first, second in pairwise(outputs)]
        shapes |= {replace(alone, beside=pair.shape.beside) for pair in pairs if pair is not None}
    for shape in sorted(shapes, key=lambda shape: shape.beside):
        _prove_stores(plan, shape)


def _prove_stores(plan: ConvPlan, shape: Shape) -> None:
    """The same for channels of one shape: where in a lane the value of each begins."""
    assert plan.requant.high is not None
    views, width = plan.outputs, plan.requant.high.bit_length()
    packed = packed_words(plan, views)
    spill = None if fit_the_stack(packed, views) else Spill(plan, None, 0, 1)
    columns = plan.layer.shape[2]
    count = plan.tiling.rows * columns
    require(max(shape.beside) + width <= plan.lane_bits, "channels that do not fit their lanes")
    words = {
        word.chunks[0]: fields(
            {
                bit + up: labels(number * count + column, width)
                for number, up in enumerate(shape.beside)
                for column, bit in word.bits.items()
            }
        )
        for word in packed
    }
    a = Assembler()
    pointers = [f"to_row{i}" for i in range(len(views))]
    for pointer in pointers:
        a.push(0, name=pointer)
    for word in [] if spill else packed:
        a.push(0, name=word.name)
    start = len(a.instructions)
    for number in range(len(shape.beside)):
        store_views(a, plan, views, own_words(packed, shape, number), pointers, number, spill)

    def load(opcode: str, address: int) -> Bits:
        chunk = address // WORD_BYTES
        require(opcode == "MLOAD" and chunk in words and spill is not None, f"{opcode} of no word of the row")
        return words[chunk]

    targets = [APART * (i + 1) for i in range(len(views))]
    machine = Machine([*targets, *([] if spill else words.values())], load)
    machine.run(a.instructions[start:])
    require(machine.stack[: len(views)] == targets, "storing changes the pointers")
    written = dict(machine.stored)
    for view, target in zip(views, targets, strict=True):
        require(width <= view.lane_bits, f"values of {width} bits in lanes of {view.lane_bits}")
        native = plan.is_native(view)
        places = product(range(len(shape.beside)), range(plan.tiling.rows), range(view.words))
        for channel, row, number in places:
            address = target + channel * view.channel_bytes + row * view.row_bytes + WORD_BYTES * number
            found = written.pop(address, None)
            first = channel * count + row * columns
            own = {column: labels(first + column, width) for column in range(columns)}
            compare_row(
                view, found, expected_word(view, number, own, native=native), f"word {number} of a row"
            )
    require(not written, "something is written outside the views")


# -- tables -----------------------------------------------------------------------------------------------------------


def prove_table(plan: LayerPlan) -> None:
    """Every lane of every clipped word becomes the table's entry at its value, whatever that is, and all others zero.

    Tables lie where memory is free, so both forms of the code are proved: with addresses that lanes can hold, and
    beyond.
    """
    table, high, clip = plan.requant.table, plan.requant.high, plan.requant.clip
    if table is None:
        return
    assert high is not None
    require(clip == len(table) - 1 and len(table) & clip == 0, f"a table of {len(table)} entries")
    require(all(0 <= entry <= high for entry in table), f"a table whose entries leave 0..{high}")
    if isinstance(plan, ConvPlan):
        words = {tuple(word.bits.values()) for word in packed_words(plan, plan.outputs)}
    else:
        words = {tuple(seats(plan, word)) for word in range(plan.words)}
    for at in (len(table), aligned(1 << plan.lane_bits, len(table))):
        _prove_entries(table, at)
        for bits in words:
            _prove_lookup(len(table), high.bit_length(), at, bits, plan.lane_bits)


def _prove_entries(table: Sequence[int], at: int) -> None:
    a = Assembler()
    emit_table(a, table, at)
    machine = Machine([], _no_load)
    machine.run(a.instructions)
    for i, entry in enumerate(table):
        word = machine.stored.get(at + i // WORD_BYTES * WORD_BYTES)
        first = 8 * (WORD_BYTES - 1 - i % WORD_BYTES)
        found = None if word is None else word[first : first + 8]
        compare(found, bits_of(entry)[:8], f"entry {i} of the table")


def _prove_lookup(entries: int, width: int, at: int, bits: Sequence[int], lane_bits: int) -> None:
    index = (entries - 1).bit_length()
    value = {bit: labels(lane, index) for lane, bit in enumerate(bits)}
    beyond = len(bits) * index  # labels of their own, beside those of the values
    entry = {bit: [beyond + code for code in labels(lane, width)] for lane, bit in enumerate(bits)}
    addresses = {bit: np.where(bits_of(at) == ONE, ONE, fields({0: value[bit]})) for bit in bits}

    def look_up(address: Bits) -> Bits:
        """A word whose first byte is the entry; the entries after it are unknown."""
        for bit, expected in addresses.items():
            if np.array_equal(address, expected):
                word = np.full(WORD_BITS, UNKNOWN, np.int64)
                word[WORD_BITS - 8 :] = fields({0: entry[bit]})[:8]
                return word
        raise AssemblyError("the table is read at an address that is no lane's")

    a = Assembler()
    a.push(0, name="v")
    emit_lookup(a, entries, at, bits, lane_bits)
    machine = Machine([fields(value)], _no_load, look_up)
    machine.run(a.instructions[1:])
    require(len(machine.stack) == 1, "a look-up leaves the stack uneven")
    compare(bits_of(machine.pop()), fields(entry), "a word of entries")


# -- the input --------------------------------------------------------------------------------------------------------


def prove_pack(raw: Input, width: int, view: View) -> None:
    """The words of a view of the input hold the top `width` bits of every byte of a row, each in its lane."""
    channels, _, columns = raw.shape
    require(view.channels == channels and view.width == columns, "a view of another input")
    stride = raw.steps[2]
    for first in range(channels) if raw.layout == "HWC" else (0,):
        a = Assembler()
        a.push(0, name="to")
        a.push(0, name="from")
        start = len(a.instructions)
        pack_row(a, width, view, Place("CALLDATALOAD", 0), first, stride, 0)
        machine = Machine([APART, 0], _load_bytes)
        machine.run(a.instructions[start:])
        value = {c: _byte(first + c * stride)[8 - width :] for c in range(columns)}
        for word in range(view.words):
            found = machine.stored.pop(APART + WORD_BYTES * word, None)
            compare_row(view, found, expected_word(view, word, value), f"word {word} of a row")
        require(not machine.stored, "something is written outside the view")


def _byte(address: int) -> Sequence[int]:
    """Labels of the bits of an input byte, the lowest first."""
    return labels(address, 8)


def _load_bytes(opcode: str, address: int) -> Bits:
    """The 32 input bytes from an address on; bytes before the input cannot be loaded."""
    require(address >= 0, "reads before the input")
    return fields({8 * (WORD_BYTES - 1 - i): _byte(address + i) for i in range(WORD_BYTES)})


# -- dense layers -----------------------------------------------------------------------------------------------------


def prove_elements(plan: DensePlan, held: Mapping[View, int]) -> None:
    """Every activation of a dense layer is read from a lane that holds it, and every output has a lane of its own."""
    outputs = plan.layer.shape[0]
    seats = [(w, o) for w in range(plan.words) for o in plan.native.columns(w) if o < outputs]
    require(
        [o for _, o in seats] == list(range(outputs)),
        f"{plan.words} words do not hold {outputs} outputs once",
    )
    require(
        plan.requant.need <= plan.lane_bits, f"sums of {plan.requant.need} bits in lanes of {plan.lane_bits}"
    )
    for dense, view, high in plan.terms:
        if view is None:
            continue
        require(view in held, f"reads a view of {view.tensor!r} that nothing writes")
        require(
            high.bit_length() <= held[view] <= view.lane_bits,
            f"values of {view.tensor!r} do not fit their lanes",
        )
        count = dense.weight.shape[1]
        require(count == view.channels * view.height * view.width, f"{count} weights for another tensor")
        seen = {view.locate(element) for element in range(count)}
        require(len(seen) == count, f"two elements of {view.tensor!r} are read from one lane")
    for term in range(len(plan.terms)):
        prove_scalars(plan, term)


def prove_scalars(plan: DensePlan, term: int) -> None:
    """The numbers that are multiplied add up to every activation times its own weights, and to nothing else.

    The code that loads them is interpreted. A number may hold several values, each some bits up; what a value is
    multiplied with in all is the sum of the words of weights of the numbers that hold it, as many bits up.
    """
    dense, view, high = plan.terms[term]
    width = BYTE if view is None else high.bit_length()
    shift = BYTE - high.bit_length() if view is None else 0  # of a byte only the top bits count

    def load(opcode: str, address: int) -> Bits:
        return _load_bytes(opcode, address) if view is None else _view_word(view, address, width)

    total: dict[int, list[int]] = {}
    places: dict[View | str, Place] = {"input" if view is None else view: Place("MLOAD", 0)}
    for number, scalar in enumerate(s for s in plan.scalars if s.term == term):
        if number % plan.block == 0:  # the stack was cleared
            a, machine, before = Assembler(), Machine([], load), None
        start = len(a.instructions)
        load_scalar(a, plan, places, scalar, before, "x")
        machine.run(a.instructions[start:])
        before = scalar
        found = bits_of(machine.pop())
        machine.stack.append(found)
        for value, at in _values(found, width, shift):
            sums = total.setdefault(value, [0] * plan.words)
            for word, weight in enumerate(scalar.weights):
                sums[word] += weight << at
    element_at = {
        input_offset(plan.raw, element) if view is None else element: element
        for element in range(dense.weight.shape[1])
    }
    weights, none = plan.weight_words[term], [0] * plan.words
    for value, element in element_at.items():
        sums = total.pop(value, none)
        wrong = [word for word in range(plan.words) if (sums[word] - weights[element][word]) & MASK]
        require(not wrong, f"activation {element} is multiplied with other weights")
    require(
        not any(total_word & MASK for sums in total.values() for total_word in sums), "a foreign value counts"
    )


def _view_word(view: View, address: int, width: int) -> Bits:
    """The word of a view at an address, its values labelled by element; above the lanes of a row of several words there
    may be anything."""
    channel, rest = divmod(address, view.channel_bytes)
    row, rest = divmod(rest, view.row_bytes)
    require(0 <= channel < view.channels and 0 <= row - view.top < view.height, "reads beside a tensor")
    first = (channel * view.height + row - view.top) * view.width
    value = {c: labels(first + c, width) for c in range(view.width)}
    word = expected_word(view, rest // WORD_BYTES, value)
    if view.words > 1:
        word[view.lanes * view.lane_bits :] = UNKNOWN
    return word


def _values(word: Bits, width: int, shift: int) -> list[tuple[int, int]]:
    """(value, lowest bit) of all values in a word, of which the lowest `shift` bits must be missing; AssemblyError if
    there is anything else in it. A value may leave the word at the top."""
    lowest = np.flatnonzero((word >= FIRST_LABEL) & ((word - FIRST_LABEL) % width == shift))
    found = [(int(word[at] - FIRST_LABEL) // width, int(at)) for at in lowest]
    expected = np.zeros_like(word)
    for value, at in found:
        codes = labels(value, width)[shift:][: WORD_BITS - at]
        expected[at : at + len(codes)] = codes
    compare(word, expected, "a number that is multiplied")
    return found


def prove_scores(plan: LayerPlan, order: tuple[int, int, int]) -> None:
    """Every score is read from the lane that its layer leaves it in, no two from one, and written to its place."""
    view = plan.native
    channels, height, width = plan.layer.shape
    require(
        (view.channels, view.height, view.width) in ((channels, height, width), (1, 1, channels)),
        "other scores",
    )
    for element in range(channels * height * width):
        channel, rest = divmod(element, view.height * view.width)
        row, column = divmod(rest, view.width)
        word, place = divmod(column, view.step)
        lane = view.lanes - 1 - place * view.stride
        expected = (channel * view.rows + row) * view.row_bytes + WORD_BYTES * word, lane * view.lane_bits
        require(lane >= 0 and view.locate(element) == expected, f"score {element} is read from another lane")
    shape = plan.layer.shape
    written = np.arange(channels * height * width).reshape([shape[axis] for axis in order])
    places = written.transpose(np.argsort(order)).ravel()
    for element, place in enumerate(places.tolist()):
        found = place_of(element, shape, steps_of(shape, order))
        require(found == WORD_BYTES * place, f"score {element} is written to another place")


# -- states -----------------------------------------------------------------------------------------------------------


def prove_fold(folded: Folded) -> None:
    """A tensor that is folded and unfolded again holds every value in its lane, and the padding beside them.

    The code is interpreted for two rows and for as many planes as show every loop: two whole folds and a part of one.
    """
    small = folded
    if not folded.is_vector:
        channels = min(folded.channels, 2 * len(folded.shifts) + 1)
        shape = replace(folded.view, channels=channels, height=min(2, folded.view.height))
        small = replace(folded, view=shape, channels=channels)
    view = small.view
    folding, unfolding = Assembler(), Assembler()
    emit_fold(folding, small, APART, 2 * APART)
    emit_unfold(unfolding, small, 0, 3 * APART)
    memory, padding = _tensor_words(small, APART), {}
    for channel, row in product(
        range(small.channels), [*range(view.top), *range(view.top + view.height, view.rows)]
    ):
        for word in range(view.words):
            address = channel * view.channel_bytes + row * view.row_bytes + WORD_BYTES * word
            padding[APART + address] = bits_of(padding_row(view))
    first = Machine([], lambda opcode, address: memory[address])
    first.run(folding.instructions)
    kept = {address - 2 * APART: word for address, word in first.stored.items()}
    require(sorted(kept) == list(range(0, small.bytes, WORD_BYTES)), "a fold does not fill its bytes")
    second = Machine([], lambda opcode, address: kept[address])
    second.run(unfolding.instructions)
    for address, expected in (memory | padding).items():
        found = second.stored.pop(address + 2 * APART, None)
        compare_row(view, found, expected, "an unfolded word")
    require(not second.stored, "unfolding writes outside the tensor")


def _tensor_words(folded: Folded, base: int) -> dict[int, Bits]:
    """Words of a tensor at `base` in memory, by address: every value with labels of its own."""
    view, words = folded.view, {}
    for channel, row in product(range(folded.channels), range(view.height)):
        first = (channel * view.height + row) * view.width
        value = {c: labels(first + c, folded.bits) for c in range(view.width)}
        for word in range(view.words):
            address = channel * view.channel_bytes + (view.top + row) * view.row_bytes + WORD_BYTES * word
            words[base + address] = expected_word(view, word, value)
    return words
