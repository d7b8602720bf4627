"""The contracts of an ensemble: the entry spreads the input into words and evaluates trees, and so do parts.

The numbers that trees compare most often lie on the stack, the others as words in memory, and in the calldata of parts.
Every part returns a word of sums, which the entry adds up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.contract import Contract, Linked, assembled
from fedvm.compiler.dispatch import PART_FAILED, begin_program, require, return_scores
from fedvm.compiler.errors import CompileError
from fedvm.compiler.forest.integer import BYTE, Branch, IntegerForest, Tree
from fedvm.compiler.forest.split import fitting, grouped
from fedvm.compiler.kernels.trees import ACC, Source, emit_tree, tree_bytes
from fedvm.compiler.link import Program
from fedvm.compiler.view import WORD_BYTES
from fedvm.evm.calls import INPUT_AT
from fedvm.evm.limits import CODE_LIMIT

ON_STACK = 13
"""Numbers on the stack: with the sums, a unit and a threshold above them DUP16 reaches the deepest."""
CALL_BYTES = 100
"""Code of the entry for a part, at most."""
PART_BYTES = 160
"""Code of a part beside its trees, at most."""
MOST_SLOTS = 1_500
"""Numbers that the entry's code can spread."""


@dataclass(frozen=True)
class _Layout:
    """rank: the place of each slot in the order of use, most used first; lane_bits: width of a sum."""

    forest: IntegerForest
    rank: tuple[int, ...]
    lane_bits: int

    @classmethod
    def of(cls, forest: IntegerForest) -> _Layout:
        uses = Counter(n.slot for tree in forest.trees for n in tree if isinstance(n, Branch))
        order = sorted(range(len(forest.slots)), key=lambda slot: (-uses[slot], slot))
        rank = [0] * len(order)
        for place, slot in enumerate(order):
            rank[slot] = place
        return cls(forest, tuple(rank), max(1, *(high.bit_length() for high in forest.highs()), 1))

    @property
    def hot(self) -> list[int]:
        """The slots on the stack, the most used one first."""
        return sorted((s for s, place in enumerate(self.rank) if place < ON_STACK), key=self.rank.__getitem__)

    @property
    def memory(self) -> int:
        """Bytes of all numbers as words."""
        return WORD_BYTES * len(self.rank)

    def sources(self, load: str) -> list[Source]:
        return [
            Source(name=f"x{slot}") if place < ON_STACK else Source(load=load, offset=WORD_BYTES * place)
            for slot, place in enumerate(self.rank)
        ]

    def emit_trees(self, a: Assembler, trees: Sequence[Tree], load: str) -> None:
        """Load the hot numbers and add up the trees. Stack: → hot numbers acc."""
        sources = self.sources(load)
        with a.section("input"):
            for slot in self.hot:
                a.push(WORD_BYTES * self.rank[slot])
                a.op(load, result=f"x{slot}")
        with a.section("trees"):
            a.push(0, name=ACC)
            for tree in trees:
                emit_tree(a, tree, sources, self.lane_bits)


def link_forest(forest: IntegerForest) -> Program:
    """Place and assemble the ensemble. Raises CompileError if something does not fit."""
    if len(forest.slots) > MOST_SLOTS:
        raise CompileError(
            f"the trees compare {len(forest.slots):,} features; at most {MOST_SLOTS:,} fit: use fewer features"
        )
    layout = _Layout.of(forest)
    sources = layout.sources("CALLDATALOAD")

    def size_of(tree: Tree) -> int:
        return tree_bytes(tree, sources, layout.lane_bits)

    sized = fitting(forest.trees, size_of, (CODE_LIMIT - PART_BYTES) // 2)
    overhead, parts = _overhead(layout), 0
    while True:
        room = CODE_LIMIT - overhead - CALL_BYTES * parts
        groups = grouped(sized, room, CODE_LIMIT - PART_BYTES)
        if len(groups) - 1 <= parts:
            break
        parts = len(groups) - 1
    names = [f"part{number}" for number in range(1, len(groups))]
    contracts = [_part(layout, name, trees) for name, trees in zip(names, groups[1:], strict=True)]
    entry, endings = _entry(layout, groups[0], names)
    linked = Linked(tuple(contracts), entry)
    linked.require_sizes()
    return Program(linked, linked.gas - endings["classify"], linked.gas - endings["predict"])


def _overhead(layout: _Layout) -> int:
    """Code bytes of an entry without trees and calls."""
    return len(_entry(layout, [], [])[0].code) + 16


def _part(layout: _Layout, name: str, trees: Sequence[Tree]) -> Contract:
    a = Assembler()
    layout.emit_trees(a, trees, "CALLDATALOAD")
    with a.section("calls"):
        a.push(0)
        a.op("MSTORE")
        a.push(WORD_BYTES)
        a.push(0)
        a.op("RETURN")
    return assembled(name, a, WORD_BYTES)


def _entry(layout: _Layout, trees: Sequence[Tree], parts: Sequence[str]) -> tuple[Contract, dict[str, int]]:
    forest = layout.forest
    result = layout.memory
    output = result + WORD_BYTES
    count = len(forest.scores)
    top = output + 64 + WORD_BYTES * count
    a = Assembler()
    begin_program(a, forest.size)
    with a.section("input"):
        a.push(top - WORD_BYTES)
        a.op("MLOAD", "POP")
        for slot, place in zip(forest.slots, layout.rank, strict=True):
            # the word that ends with the number's last byte
            a.push(INPUT_AT + slot.at + slot.bytes - WORD_BYTES)
            a.op("CALLDATALOAD")
            a.push(BYTE**slot.bytes - 1)
            a.op("AND")
            a.push(WORD_BYTES * place)
            a.op("MSTORE")
    layout.emit_trees(a, trees, "MLOAD")
    with a.section("calls"):
        for name in parts:
            _call(a, name, layout.memory, result)
    with a.section("scores"):
        _emit_scores(a, layout, output + 64)
        for _ in range(1 + len(layout.hot)):
            a.op("POP")
    endings = return_scores(a, count, output)
    return assembled("entry", a, top), endings


def _call(a: Assembler, name: str, size: int, result: int) -> None:
    """Add a part's sums. Stack: acc → acc."""
    a.push(WORD_BYTES)
    a.push(result)
    a.push(size)
    a.push(0)
    a.push_symbol(name, 20)
    a.op("GAS", "STATICCALL", result="success")
    a.passed(size, WORD_BYTES)
    a.op("RETURNDATASIZE")
    a.push(WORD_BYTES)
    a.op("EQ", "AND", result="success")
    require(a, PART_FAILED)
    a.push(result)
    a.op("MLOAD", "ADD", result=ACC)


def _emit_scores(a: Assembler, layout: _Layout, target: int) -> None:
    """Write the scores as words from `target` on. Stack: acc → acc."""
    for number, score in enumerate(layout.forest.scores):
        a.dup(ACC)
        if score.accumulator:
            a.push(layout.lane_bits * score.accumulator)
            a.op("SHR")
        a.push((1 << layout.lane_bits) - 1)
        a.op("AND", result="sum")
        a.push(score.bias)
        a.op("ADD" if score.sign > 0 else "SUB", result="score")
        a.push(target + WORD_BYTES * number)
        a.op("MSTORE")
