"""The integer ensemble, which the contract computes, and its plain definition in numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.graph import FloatArray, IntArray

BYTE = 256


@dataclass(frozen=True)
class Slot:
    """A number of the program's input. column: of the encoded row; at: position of its first byte; bytes: 1 or 2, the
    first is worth more; cuts: the thresholds, ascending, among which it is the rank (how many are smaller), None if it
    is the byte itself; missing: the rank of a missing value, None if there is none."""

    column: int
    at: int
    bytes: int
    cuts: tuple[float, ...] | None = None
    missing: int | None = None

    @property
    def high(self) -> int:
        """The largest value that it can have."""
        return int(BYTE**self.bytes - 1)


@dataclass(frozen=True)
class Branch:
    """Goes on at `yes` if the number in the slot is at most `code` ("<="), or equal to it ("=="), else at `no`."""

    slot: int
    test: Literal["<=", "=="]
    code: int
    yes: int
    no: int


@dataclass(frozen=True)
class Leaf:
    """values: not negative, one an accumulator."""

    values: tuple[int, ...]


Tree: TypeAlias = tuple[Branch | Leaf, ...]
"""The root first; every branch stands before what follows it."""


@dataclass(frozen=True)
class Score:
    """bias + sign · the sum of an accumulator."""

    accumulator: int
    sign: int
    bias: int


@dataclass(frozen=True)
class IntegerForest:
    """size: bytes of the input; slots: its numbers; trees: their leaves add to `accumulators` sums, from which the
    scores follow; scale: the real number that a score of 1 stands for; head: what the file makes of the scores."""

    size: int
    slots: tuple[Slot, ...]
    trees: tuple[Tree, ...]
    scores: tuple[Score, ...]
    scale: float
    head: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def accumulators(self) -> int:
        return 1 + max(score.accumulator for score in self.scores)

    def highs(self) -> list[int]:
        """The largest sum of each accumulator."""
        return [
            sum(max(n.values[a] for n in tree if isinstance(n, Leaf)) for tree in self.trees)
            for a in range(self.accumulators)
        ]

    def slot_values(self, inputs: NDArray[np.uint8]) -> IntArray:
        """int64 `[N, slots]` of inputs, uint8 `[N, size]`."""
        columns = [
            inputs[:, s.at].astype(np.int64) * BYTE + inputs[:, s.at + 1] if s.bytes == 2 else inputs[:, s.at]
            for s in self.slots
        ]
        return np.stack([c.astype(np.int64) for c in columns], axis=1)

    def run(self, inputs: NDArray[np.uint8]) -> IntArray:
        """Scores int64 `[N, K]` of inputs, uint8 `[N, size]`: the definition of what the contract computes."""
        x = self.slot_values(inputs)
        sums = np.zeros((len(x), self.accumulators), np.int64)
        for tree in self.trees:
            at = np.zeros(len(x), np.int64)
            for position, node in enumerate(tree):
                here = np.flatnonzero(at == position)
                if isinstance(node, Leaf):
                    sums[here] += np.array(node.values, np.int64)
                else:
                    value = x[here, node.slot]
                    hit = value <= node.code if node.test == "<=" else value == node.code
                    at[here] = np.where(hit, node.yes, node.no)
        columns = [s.bias + s.sign * sums[:, s.accumulator] for s in self.scores]
        return np.stack(columns, axis=1)


def encode_slots(
    slots: tuple[Slot, ...], size: int, columns: FloatArray, precision: type[np.float32] | type[np.float64]
) -> NDArray[np.uint8]:
    """Ranks as bytes. Raises ValueError if a value is missing for which there is no rank."""
    result = np.zeros((len(columns), size), np.uint8)
    for slot in slots:
        assert slot.cuts is not None, "bytes are sent as they are"
        values = columns[:, slot.column].astype(precision).astype(np.float64)
        ranks = np.searchsorted(np.array(slot.cuts), values, side="left")
        absent = np.isnan(values)
        if absent.any():
            if slot.missing is None:
                raise ValueError(
                    "a value is missing, and trees disagree on what follows from that; fill it in"
                )
            ranks = np.where(absent, slot.missing, ranks)
        if slot.bytes == 2:
            result[:, slot.at], result[:, slot.at + 1] = ranks >> 8, ranks & 255
        else:
            result[:, slot.at] = ranks
    return result
