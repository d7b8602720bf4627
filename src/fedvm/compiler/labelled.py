"""Words whose bits are labels, as proofs of moves compare them (`provenance.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.provenance import FIRST_LABEL, ONE, UNKNOWN, ZERO, Bits, fields
from fedvm.compiler.tiling import WORD_BITS
from fedvm.compiler.view import View


def require(holds: bool, message: str) -> None:
    """Raise AssemblyError with the message unless it holds."""
    if not holds:
        raise AssemblyError(message)


def labels(element: int, width: int) -> range:
    """Labels of the `width` bits of a value."""
    return range(FIRST_LABEL + element * width, FIRST_LABEL + (element + 1) * width)


def held_columns(view: View, word: int, *, native: bool = False) -> list[int]:
    """Columns of the image that word J of a row holds. native: as it came out of the lanes of its layer, where the
    columns that the next word computes are missing."""
    columns = view.columns(word)
    if native:
        columns = range(columns.start, min(columns.stop, columns.start + view.step))
    return [c for c in columns if 0 <= c < view.width]


def expected_word(view: View, word: int, value: Mapping[int, Sequence[int]], *, native: bool = False) -> Bits:
    """Word J of a row: the labels `value[column]` in their lanes, the padding value beside the image, else zeros."""
    lanes: dict[int, Sequence[int]] = {
        view.bit(word, column): value[column] for column in held_columns(view, word, native=native)
    }
    if view.pad_value:
        pad = [view.pad_value >> i & 1 for i in range(view.pad_value.bit_length())]
        codes = [ONE if bit else ZERO for bit in pad]
        lanes |= {view.bit(word, c): codes for c in view.columns(word) if not 0 <= c < view.width}
    return fields(lanes)


def compare_row(view: View, found: Bits | None, expected: Bits, what: str) -> None:
    """Check a word of a view. The bits above the lanes may hold anything where a row has several words, since no
    product moves them down; where it has one, rows may be moved into one word."""
    if found is None:
        raise AssemblyError(f"{what} is not written")
    used = WORD_BITS if view.words == 1 else view.lanes * view.lane_bits
    compare(found[:used], expected[:used], what)


def compare(found: Bits | None, expected: Bits, what: str) -> None:
    """Check that all bits are the same."""
    if found is None:
        raise AssemblyError(f"{what} is not written")
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        bit = int(wrong[0])
        raise AssemblyError(f"{what}: bit {bit} holds {_name(found[bit])} instead of {_name(expected[bit])}")


def _name(code: int) -> str:
    return {ZERO: "zero", ONE: "one", UNKNOWN: "something unknown"}.get(
        int(code), f"bit {code - FIRST_LABEL}"
    )
