"""The sums of two rows at a time by minimal filtering (`filtering.py`).

Products that go into both sums are made first, into s = both + difference and d = both − difference, then those of
either sum. Words of x, or the sum or difference of two of them, wait on the stack for all outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.filtering import ROWS, Product, is_shared, products_of, scale_of
from fedvm.compiler.kernels.accumulate import Place, add_product, times
from fedvm.compiler.kernels.rescale import requantize
from fedvm.compiler.layout import ConvPlan, ConvTerm
from fedvm.compiler.view import WORD_BYTES, View

STAGED = 14
"""Words on the stack below two accumulators: DUP16 reaches the deepest."""
BOTH, APART, FIRST, SECOND = (1, 1), (1, -1), (1, 0), (0, 1)


@dataclass(frozen=True)
class Factor:
    """A word that is multiplied: a sum of rows of one channel of a term's source."""

    term: int
    channel: int
    product: Product


@dataclass(frozen=True)
class Sums:
    """Memory of a pair of rows: three words an output for sums on the way, and where the finished rows go."""

    scratch: int
    rows: tuple[int, int]


def factors_of(plan: ConvPlan, into: tuple[int, int], *, shared: bool) -> list[Factor]:
    """The words whose products go into the two sums by these factors. shared: those that all outputs read."""
    return [
        Factor(index, channel, product)
        for index, term in enumerate(plan.terms)
        if is_shared(term.conv) == shared
        for product in products_of(plan, term.conv)
        if product.into == into
        for channel in range(term.view.channels)
    ]


def word_of(plan: ConvPlan, factor: Factor, output: int) -> int:
    """The taps of a factor for an output as one signed integer, 0 if the output does not use it."""
    term = plan.terms[factor.term]
    per_group = term.conv.weight.shape[1]
    local = factor.channel - output * term.conv.groups // plan.layer.bias.shape[0] * per_group
    if not 0 <= local < per_group:
        return 0
    rows = term.conv.weight[output, local]
    taps = [sum(k * int(rows[j][s]) for j, k in enumerate(factor.product.taps)) for s in term.taps]
    return sum(tap << (plan.lane_bits * (i + term.skip)) for i, tap in enumerate(taps))


class Filtered:
    """Emits the sums of a pair of rows of some outputs of one layer."""

    def __init__(
        self, a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], outputs: range, *, rescales: bool
    ) -> None:
        """rescales: whether the finished rows are rescaled before they are stored."""
        self._a, self._plan, self._sources, self._outputs = a, plan, sources, outputs
        self._rescales = rescales
        self._signs: dict[tuple[int, int], int] = {}
        """By (slot, output): the sign with which a sum on the way is kept; those without products are missing."""

    def emit(self, pointer: str, chunk: int, sums: Sums) -> None:
        """Append the code for one word of a pair of rows. pointer: name of the stack item with the offset of the first
        row of x; chunk: the word beside that. Stack: unchanged."""
        self._signs.clear()
        both, apart = (factors_of(self._plan, into, shared=True) for into in (BOTH, APART))
        joined = len(both) + len(apart) <= STAGED
        for part in [] if joined else _parts(both):
            self._stage(part, pointer, chunk)
            self._add(part, 2, sums)
        for part in _parts(apart)[:-1]:
            self._stage(part, pointer, chunk)
            self._add(part, 1, sums)
        last = [*(both if joined else []), *(_parts(apart)[-1] if apart else [])]
        self._stage(last, pointer, chunk)
        for output in self._outputs:
            self._combine(last, both if joined else [], output, sums)
        self._drop(last)
        for slot, into in enumerate((FIRST, SECOND)):
            own = factors_of(self._plan, into, shared=False)
            parts = _parts(factors_of(self._plan, into, shared=True)) or [[]]
            for number, part in enumerate(parts):
                self._stage(part, pointer, chunk)
                if number < len(parts) - 1:
                    self._add(part, slot, sums)
                    continue
                for output in self._outputs:
                    self._finish(part, own, slot, output, pointer, chunk, sums)
                self._drop(part)

    # -- words of x ---------------------------------------------------------------------------------------------------

    def _stage(self, factors: Sequence[Factor], pointer: str, chunk: int) -> None:
        for i, factor in enumerate(factors):
            self._load(factor, pointer, chunk, f"x{i}")

    def _drop(self, factors: Sequence[Factor]) -> None:
        for _ in factors:
            self._a.op("POP")

    def _load(self, factor: Factor, pointer: str, chunk: int, name: str) -> None:
        """Stack: → x"""
        a, term = self._a, self._plan.terms[factor.term]
        (first, _), *others = factor.product.rows
        for row, _ in others:
            self._load_row(term, factor.channel, row, pointer, chunk)
        self._load_row(term, factor.channel, first, pointer, chunk)
        for _, sign in others:
            a.op("ADD" if sign > 0 else "SUB")
        a.rename(name)

    def _load_row(self, term: ConvTerm, channel: int, row: int, pointer: str, chunk: int) -> None:
        a, view = self._a, term.view
        place = self._sources[view]
        offset = channel * view.channel_bytes + (view.top - term.conv.pads[0] + row) * view.row_bytes
        offset += place.base + WORD_BYTES * (chunk * self._plan.tiling.advance + term.word)
        a.dup(pointer)
        if offset:
            a.push(offset)
            a.op("ADD")
        a.op(place.load, result="w")

    # -- sums ---------------------------------------------------------------------------------------------------------

    def _slot(self, slot: int, output: int, sums: Sums) -> int:
        return sums.scratch + WORD_BYTES * (slot * len(self._outputs) + output - self._outputs.start)

    def _begin(self, slot: int, output: int, sums: Sums) -> int | None:
        """Load a sum on the way, if there is one; its sign. Stack: → acc, or nothing"""
        sign = self._signs.get((slot, output))
        if sign is not None:
            self._a.push(self._slot(slot, output, sums))
            self._a.op("MLOAD", result="acc")
        return sign

    def _products(
        self, factors: Sequence[Factor], output: int, sign: int | None, among: Sequence[Factor]
    ) -> int | None:
        """Add the products of `factors`, which lie on the stack `among` others; the sign. Stack: [acc] → [acc]"""
        for i, factor in enumerate(among):
            word = word_of(self._plan, factor, output) if factor in factors else 0
            if word:
                self._a.dup(f"x{i}")
                sign = self._product(word, sign)
        return sign

    def _product(self, word: int, sign: int | None) -> int:
        """Stack: [acc] x → acc"""
        if sign is not None:
            return add_product(self._a, word, sign, last=False)
        times(self._a, abs(word))
        self._a.rename("acc")
        return 1 if word > 0 else -1

    def _add(self, part: Sequence[Factor], slot: int, sums: Sums) -> None:
        """The products of all outputs with words on the stack, which are dropped."""
        for output in self._outputs:
            sign = self._products(part, output, self._begin(slot, output, sums), part)
            if sign is not None:
                self._signs[slot, output] = sign
                self._a.push(self._slot(slot, output, sums))
                self._a.op("MSTORE")
        self._drop(part)

    def _combine(self, last: Sequence[Factor], both: Sequence[Factor], output: int, sums: Sums) -> None:
        """Both ± difference, where each sum begins."""
        a = self._a
        sign = self._products(both, output, self._begin(2, output, sums), last)
        differs = self._products(
            [f for f in last if f not in both], output, self._begin(1, output, sums), last
        )
        self._signs.pop((1, output), None)
        if sign is not None and differs is not None:
            a.rename("b", below=1)
            a.dup("b")
            a.dup("acc")
            a.op("ADD", result="sum")
            a.swap(2)
            a.op("SUB", result="rest")  # both − difference, above the sum
            first, second = (1, 0) if sign == differs else (0, 1)
            self._keep(first, output, sign, sums)
            self._keep(second, output, sign, sums)
        elif sign is not None:
            a.dup("acc")
            self._keep(0, output, sign, sums)
            self._keep(1, output, sign, sums)
        elif differs is not None:
            a.dup("acc")
            self._keep(0, output, differs, sums)
            self._keep(1, output, -differs, sums)

    def _keep(self, slot: int, output: int, sign: int, sums: Sums) -> None:
        """Stack: acc →"""
        self._signs[slot, output] = sign
        self._a.push(self._slot(slot, output, sums))
        self._a.op("MSTORE")

    def _finish(
        self, part: Sequence[Factor], own: Sequence[Factor], slot: int, output: int, pointer: str, chunk: int,
        sums: Sums,
    ) -> None:  # fmt: skip
        """The last products, the initial value, requantization."""
        a, plan = self._a, self._plan
        sign = self._products(part, output, self._begin(slot, output, sums), part)
        for factor in own:
            word = word_of(plan, factor, output)
            if word:
                self._load(factor, pointer, chunk, "x")
                sign = self._product(word, sign)
        scale = scale_of(plan)
        a.push(scale * lanes.replicate(plan.requant.initial[output], plan.lane_bits, plan.lanes), name="acc")
        if sign is not None:
            a.op("ADD" if sign > 0 else "SUB", result="acc")
        if self._rescales:
            requantize(a, plan, output)
        a.push(sums.rows[slot] + WORD_BYTES * (output - self._outputs.start))
        a.op("MSTORE")


def _parts(factors: Sequence[Factor]) -> list[Sequence[Factor]]:
    """As few stretches of equal length as the stack allows."""
    count = -(-len(factors) // STAGED)
    size = -(-len(factors) // count) if count else 1
    return [factors[i : i + size] for i in range(0, len(factors), size)]


def scratch_words(plan: ConvPlan, outputs: int) -> int:
    """Words of memory that a pair of rows takes: sums on the way, the pair before it is copied, and the stage."""
    return outputs * (3 + ROWS + ROWS * plan.chunks)
