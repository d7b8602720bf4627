"""How a dense layer takes its activations out of words, with as few opcodes as possible.

To cut a lane out of a word takes a shift and a mask. The mask can go: a word that is only shifted holds the lane at its
low end and the lanes above it further up, that is x_j + Σ x_i · 2^(p_i − p_j) for lanes at bits p. Sums of products are
linear modulo 2²⁵⁶, so other words of weights make up for what lies above,

    V_i = W_i − 2^(p_i − p_(i−1)) · W_(i−1)      for the lanes in order, the lowest first,

and Σ y_j · V_j = Σ x_i · W_i exactly. Each word is loaded once and shifted on from lane to lane. Bytes of the input
need not even be shifted: the word that ends with a byte holds it at its low end. `moves.py` proves every sum of a
layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedvm.compiler.graph import Dense, Input
from fedvm.compiler.tiling import WORD_BITS
from fedvm.compiler.view import WORD_BYTES, View

MODULUS = 1 << WORD_BITS
BYTE = 8
LOAD, STEP, NEXT, PRODUCT = 6, 6, 9, 14
"""Gas of a load, of a shift or a mask, of a shift of the word before, and of a product."""

Term = tuple[Dense, View | None, int]
"""A product of a layer, where its activations lie (None: in the input's bytes), and the largest of them."""


@dataclass(frozen=True)
class Scalar:
    """A number on the stack and the words of weights it is multiplied with. It is the word at byte `offset` of the
    source of a term, of which only the bits `only` are kept (0: all), shifted right; then of its bits only `keep` (0:
    all)."""

    term: int
    offset: int
    shift: int
    weights: tuple[int, ...]
    only: int = 0
    keep: int = 0

    def follows(self, other: Scalar) -> bool:
        """Whether shifting the other one on gives this one."""
        same = (self.term, self.offset, self.only) == (other.term, other.offset, other.only)
        return same and not self.keep and not other.keep and other.shift < self.shift

    @property
    def products(self) -> int:
        return sum(1 for word in self.weights if word)


def input_offset(source: Input, element: int) -> int:
    """Byte of the raw input that holds an element in (C, H, W) order."""
    channel, rest = divmod(element, source.shape[1] * source.shape[2])
    row, column = divmod(rest, source.shape[2])
    return sum(at * step for at, step in zip((channel, row, column), source.steps, strict=True))


def scalars_of(
    terms: Sequence[Term], weight_words: Sequence[Sequence[Sequence[int]]], raw: Input
) -> list[Scalar]:
    """The numbers that a layer multiplies, in the order in which they are cheapest to load. weight_words:
    `[term][element][output word]`."""
    found: list[Scalar] = []
    for number, ((_, view, high), words) in enumerate(zip(terms, weight_words, strict=True)):
        used = {element: tuple(column) for element, column in enumerate(words) if any(column)}
        if view is None:
            at = {input_offset(raw, element): column for element, column in used.items()}
            found += _of_bytes(number, at, high.bit_length())
        else:
            found += _of_lanes(number, view, used, high)
    return [scalar for scalar in found if scalar.products]


def _of_lanes(term: int, view: View, used: dict[int, tuple[int, ...]], high: int) -> Iterator[Scalar]:
    """Activations in the lanes of a view, word by word."""
    words: dict[int, dict[int, tuple[int, ...]]] = {}
    for element, column in used.items():
        offset, bit = view.locate(element)
        words.setdefault(offset, {})[bit] = column
    for offset, lanes in sorted(words.items()):
        lanes = dict(sorted(lanes.items()))
        number = offset % view.row_bytes // WORD_BYTES
        held = view.columns(number)
        others = len([c for c in held if 0 <= c < view.width]) > len(lanes)
        beside = view.pad_value and any(not 0 <= c < view.width for c in held)
        only = sum(high << bit for bit in lanes) if others or beside or view.words > 1 else 0
        apart = [Scalar(term, offset, bit, column, keep=high) for bit, column in lanes.items()]
        chain, below = [], None
        for bit, column in lanes.items():
            weights = column if below is None else _without(column, bit - below[0], below[1])
            chain.append(Scalar(term, offset, bit, weights, only))
            below = bit, column
        yield from min(chain, apart, key=_gas)


def _of_bytes(term: int, used: dict[int, tuple[int, ...]], bits: int) -> Iterator[Scalar]:
    """Activations in the input's bytes, each its highest `bits`. used: the weights by byte."""
    for run in _runs(sorted(used)):
        apart = [Scalar(term, at, WORD_BITS - bits, used[at]) for at in run]
        if bits < BYTE:
            yield from apart
            continue
        none = (0,) * len(used[run[0]])
        # the byte before a run takes back what the run's words hold of the bytes before it
        ends = [*([run[0] - 1] if run[0] else []), *run]
        yield from min(
            [
                Scalar(
                    term, max(0, at - WORD_BYTES + 1), max(0, WORD_BITS - BYTE * (at + 1)),
                    _without(used.get(at, none), BYTE, used.get(at + 1, none)),
                )
                for at in ends
            ],
            apart,
            key=_gas,
        )  # fmt: skip


def _runs(places: Sequence[int]) -> list[list[int]]:
    """The places in stretches without a gap."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _without(column: Sequence[int], shift: int, other: Sequence[int]) -> tuple[int, ...]:
    """Words of weights less those of another activation, `shift` bits up."""
    return tuple((word - (beside << shift)) % MODULUS for word, beside in zip(column, other, strict=True))


def _gas(scalars: Sequence[Scalar]) -> int:
    """Gas of loading numbers and multiplying them."""
    total = 0
    for i, scalar in enumerate(scalars):
        if i and scalar.follows(scalars[i - 1]):
            total += NEXT
        else:
            total += LOAD + STEP * (bool(scalar.only) + bool(scalar.shift) + bool(scalar.keep))
        total += PRODUCT * scalar.products
    return total
