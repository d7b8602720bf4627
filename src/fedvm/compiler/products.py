"""The proof that every lane that is kept is a complete sum: that each product meets the columns of its taps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.filtering import can_filter, is_exact, products_of, scale_of
from fedvm.compiler.graph import Conv
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.conv import Tap, load_rows, weight_word
from fedvm.compiler.kernels.filtered import Factor, word_of
from fedvm.compiler.kernels.squash import valid_columns
from fedvm.compiler.labelled import compare, expected_word, labels, require
from fedvm.compiler.layout import ConvPlan, ConvTerm
from fedvm.compiler.provenance import ZERO, Bits, Machine, bits_of
from fedvm.compiler.tiling import NO_POOL, WORD_BITS
from fedvm.compiler.view import View


def prove_products(plan: ConvPlan, held: Mapping[View, int]) -> None:
    """Every lane that is kept is a complete sum: for each output column and each column under the pool, every tap of
    every term meets the source column it belongs to, at a degree that lies inside the word.

    held: bits of the values in each view that has been proved so far.
    """
    stride, along, pool = plan.stride, plan.terms[0].conv.stride[1], plan.pool
    height, width = plan.layer.shape[1:]
    covered = [c for chunk in range(plan.chunks) for c in valid_columns(plan, chunk)]
    require(
        covered == list(range(width))
        and all(len(valid_columns(plan, chunk)) for chunk in range(plan.chunks)),
        f"{plan.chunks} words of a row do not make its {width} columns once each",
    )
    require(
        max(term.word for term in plan.terms) == plan.tiling.segments - 1, "a word of x that no tap meets"
    )
    require(
        plan.requant.need <= plan.lane_bits, f"sums of {plan.requant.need} bits in lanes of {plan.lane_bits}"
    )
    rows, apart = (height - 1) * pool.stride[0] + pool.kernel[0], plan.tiling.pitch * plan.lane_bits
    for term in plan.terms:
        view, conv = term.view, term.conv
        require(view in held, f"reads a view of {view.tensor!r} that nothing writes")
        require(
            held[view] <= view.lane_bits == plan.lane_bits,
            f"values of {view.tensor!r} do not fit their lanes",
        )
        require(
            not any(conv.pads) or view.pad_value == conv.pad_value,
            f"padding of {view.pad_value} instead of {conv.pad_value} around {view.tensor!r}",
        )
        first = view.top - conv.pads[0]
        last = first + (rows - 1) * stride[0] + conv.weight.shape[2] - 1
        require(
            first >= 0 and last < view.rows, f"reads rows {first}..{last} of {view.rows} of {view.tensor!r}"
        )
    if plan.filtered:
        _prove_pairs(plan)
    if plan.tiling.rows > 1:
        for view in dict.fromkeys(term.view for term in plan.terms):
            _prove_rows(plan, view, held[view])
    for conv in (c for c in plan.layer.terms if isinstance(c, Conv)):
        taps = sorted(s for term in plan.terms if term.conv is conv for s in term.taps)
        require(
            taps == list(range(conv.weight.shape[3])), f"taps {taps} of a kernel of {conv.weight.shape[3]}"
        )
    for chunk in range(plan.chunks):
        for column, under in product(valid_columns(plan, chunk), range(pool.kernel[1])):
            position = (column * pool.stride[1] + under) * along
            for row in range(plan.tiling.rows):
                bit = plan.native.bit(chunk, column) - under * stride[1] * plan.lane_bits - row * apart
                require(
                    0 <= bit <= WORD_BITS - plan.lane_bits,
                    f"the sum of column {column} does not lie in a word",
                )
                for term in plan.terms:
                    _prove_taps(plan, term, chunk, position - term.conv.pads[1], bit, row * apart)


def _prove_pairs(plan: ConvPlan) -> None:
    """Sums of two rows that are made together are the sums of either row, up to a factor that the highest lane has room
    for: an identity between polynomials in taps and rows, whatever the lanes hold on the way."""
    require(can_filter(plan), "rows that cannot be made in pairs")
    scale, top = scale_of(plan), plan.lane_bits * (plan.lanes - 1)
    require(top + plan.requant.need + scale.bit_length() - 1 <= WORD_BITS, "the highest sum leaves its word")
    for index, term in enumerate(plan.terms):
        kernel = term.conv.weight.shape[2]
        found = products_of(plan, term.conv)
        require(is_exact(found, kernel, scale, plan.stride[0]), f"other sums of {kernel} rows of taps")
        ends = product({0, plan.layer.shape[0] - 1}, {0, term.view.channels - 1}, found)
        for (
            output,
            channel,
            made,
        ) in ends:  # words of other outputs and channels are made by the same expression
            taps = [weight_word(plan, Tap(index, channel, row), output) for row in range(kernel)]
            wanted = sum(k * tap for k, tap in zip(made.taps, taps, strict=True))
            require(word_of(plan, Factor(index, channel, made), output) == wanted, "a word of other taps")


def _prove_taps(plan: ConvPlan, term: ConvTerm, chunk: int, first: int, bit: int, down: int) -> None:
    """The word of x times that of the taps has, at `bit`, the sum of each tap s times source column first + s. down:
    bits by which the row's word of x was moved down."""
    view, word = term.view, chunk * plan.tiling.advance + term.word
    require(word < view.words, f"reads word {word} of {view.words} of a row of {view.tensor!r}")
    for i, tap in enumerate(term.taps):
        column, degree = first + tap, bit - (i + term.skip) * plan.lane_bits
        inside = column in view.columns(word) and view.bit(word, column) - down == degree
        require(inside and degree >= 0, f"tap {tap} misses column {column} of {view.tensor!r} in word {word}")


def _prove_rows(plan: ConvPlan, view: View, held: int) -> None:
    """Rows of x that are computed together lie beside each other in one word: under each row of outputs its own columns
    and padding, and no lane holds more than a value of `held` bits."""
    tiling, width = plan.tiling, view.width
    require(
        plan.pool == NO_POOL and plan.layer.shape[1] % tiling.rows == 0 and view.words == 1,
        f"{tiling.rows} rows together of a layer that has none",
    )
    words = [
        expected_word(view, 0, {c: labels(row * width + c, held) for c in range(width)})
        for row in range(tiling.rows)
    ]

    def load(opcode: str, address: int) -> Bits:
        row, rest = divmod(address, plan.stride[0] * view.row_bytes)
        require(opcode == "MLOAD" and rest == 0 and row < tiling.rows, f"{opcode} of no row")
        return words[row]

    a = Assembler()
    a.push(0, name="p")
    load_rows(a, plan, view, Place("MLOAD", 0), "p", 0, "x")
    machine = Machine([0], load)
    machine.run(a.instructions[1:])
    found = bits_of(machine.pop())
    lane = view.lane_bits
    reach = (plan.layer.shape[2] - 1) * plan.stride[1] + max(
        term.skip + len(term.taps) for term in plan.terms
    )
    columns = range(view.start, view.start + reach * view.every, view.every)
    for row, column in product(range(tiling.rows), columns):
        own = view.bit(0, column)
        at = own - row * tiling.pitch * lane
        require(at >= 0, f"column {column} of row {row} lies outside its word")
        compare(found[at : at + lane], words[row][own : own + lane], f"column {column} of row {row}")
    empty = found[: view.lanes * lane].reshape(view.lanes, lane)[:, held:]
    require(bool((empty == ZERO).all()), "a lane that holds more than a value")
