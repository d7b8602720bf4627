"""Decision trees as code: a node is a comparison and a jump, a leaf pushes what it adds to the sums.

The paths through a tree differ in length, but the gas of a program must not depend on its input. So every leaf jumps
into a ladder behind its tree, at the rung from which on the path costs as much as the tree's dearest one. What a node
costs is known to the unit, and so is the ladder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from fedvm.compiler.assembler import Assembler, Label
from fedvm.compiler.errors import CompilerDefect
from fedvm.compiler.forest.integer import Branch, Leaf, Tree
from fedvm.evm.opcodes import OPCODES

ACC, UNIT, LANES = "acc", "unit", "lanes"
NOTHING = 256
"""A shift that leaves nothing of a vote."""
WIDE = 24
"""Bits of packed sums from which on a vote is pushed as a shift."""

JUMP_BYTES = 4
"""PUSH2 of an address, and JUMP or JUMPI."""

Operation: TypeAlias = tuple[str, int | None]
"""An opcode, or ("PUSH", number)."""


@dataclass(frozen=True)
class Source:
    """Where a number of the input lies: a named stack item, or a word at an offset that an opcode loads."""

    name: str = ""
    load: str = ""
    offset: int = 0

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What loads it; a stack item is duplicated, which costs the same wherever it lies."""
        return (("DUP", None),) if self.name else (("PUSH", self.offset), (self.load, None))


@dataclass(frozen=True)
class _Shape:
    """How a tree is laid out. lane: the shift of the only sum that it adds to, −1 if it adds to several; unit: the one
    value that its leaves add to one sum or another, 0 if they add others."""

    tree: Tree
    sources: Sequence[Source]
    lane_bits: int
    lane: int
    unit: int

    def pushed(self, leaf: Leaf) -> int:
        """The number that a leaf pushes."""
        if self.unit:
            used = [k for k, value in enumerate(leaf.values) if value]
            return self.lane_bits * used[0] if used else NOTHING
        if self.lane >= 0:
            return leaf.values[self.lane]
        return sum(value << self.lane_bits * k for k, value in enumerate(leaf.values))

    @property
    def before(self) -> tuple[Operation, ...]:
        return (("PUSH", self.unit),) if self.unit else ()

    @property
    def after(self) -> tuple[Operation, ...]:
        """What adds a leaf's number to the sums."""
        if self.unit:
            return ("SHL", None), ("ADD", None)
        if self.lane > 0:
            return ("PUSH", self.lane_bits * self.lane), ("SHL", None), ("ADD", None)
        return (("ADD", None),)


def _shape(tree: Tree, sources: Sequence[Source], lane_bits: int) -> _Shape:
    leaves = [node.values for node in tree if isinstance(node, Leaf)]
    used = [{k for k, value in enumerate(values) if value} for values in leaves]
    together = set().union(*used)
    if len(together) < 2:
        return _Shape(tree, sources, lane_bits, min(together, default=0), 0)
    units = {value for values in leaves for value in values if value}
    if len(units) == 1 and all(len(one) < 2 for one in used) and lane_bits * len(leaves[0]) > WIDE:
        return _Shape(tree, sources, lane_bits, -1, units.pop())
    return _Shape(tree, sources, lane_bits, -1, 0)


def emit_tree(a: Assembler, tree: Tree, sources: Sequence[Source], lane_bits: int) -> None:
    """Append the code that adds what a tree gives to the sums. Stack: acc → acc.

    sources: where the input's numbers lie; lane_bits: width of a sum in the accumulator.
    """
    shape = _shape(tree, sources, lane_bits)
    costs = _Costs(shape, "gas")
    dearest = max(costs.leaves.values())
    for operation in shape.before:
        _append(a, operation, UNIT)
    stack = list(a.stack)
    with a.failure():  # what runs differs; the ladder makes its cost the same
        rungs = {
            dearest - cost: a.new_label("rung", [*stack, LANES]) for cost in sorted(costs.leaves.values())
        }
        _emit_node(a, shape, costs, {p: rungs[dearest - c] for p, c in costs.leaves.items()}, 0)
        _emit_ladder(a, rungs)
    filecoin = _Costs(shape, "filecoin")
    a.account(dearest, max(filecoin.leaves.values()) + OPCODES["JUMPDEST"].filecoin)
    for operation in shape.after:
        _append(a, operation, ACC)


def tree_bytes(tree: Tree, sources: Sequence[Source], lane_bits: int) -> int:
    """Bytes of code that `emit_tree` appends, without appending it."""
    shape = _shape(tree, sources, lane_bits)
    costs = _Costs(shape, "gas")
    total = sum(_bytes(o) for o in (*shape.before, *shape.after))
    for node in tree:
        if isinstance(node, Leaf):
            total += _bytes(("PUSH", shape.pushed(node))) + JUMP_BYTES
        elif decided(node) is None:
            on_yes = costs.follows(node)[1] == node.yes
            total += sum(_bytes(o) for o in _comparison(node, shape, jump_on_yes=on_yes)) + JUMP_BYTES + 1
    rungs = sorted(set(costs.leaves.values()))
    total += len(rungs)
    for low, high in pairwise(rungs):
        pairs, rest = divmod(high - low - 1, 4)
        total += 2 * pairs + rest
    return total


def _bytes(operation: Operation) -> int:
    name, number = operation
    return 1 + ((number or 0).bit_length() + 7) // 8 if name == "PUSH" else 1


class _Costs:
    """Gas, or Filecoin gas, of the way from the root of a tree to every leaf and on to its rung."""

    def __init__(self, shape: _Shape, unit: str) -> None:
        self.shape = shape
        self._table: dict[str, int] = {name: getattr(op, unit) for name, op in OPCODES.items()}
        self._table["DUP"] = self._table["DUP1"]
        self._height = [0] * len(shape.tree)
        for position in range(len(shape.tree) - 1, -1, -1):
            node = shape.tree[position]
            if isinstance(node, Branch):
                self._height[position] = 1 + max(self._height[node.yes], self._height[node.no])
        self.leaves: dict[int, int] = {}
        """By position in the tree."""
        self._walk()

    def follows(self, branch: Branch) -> tuple[int, int]:
        """(the node right behind the branch, the one jumped to): a jump costs a JUMPDEST more, so the deeper side
        follows."""
        always = decided(branch)
        if always is not None:
            return (branch.yes, branch.no) if always else (branch.no, branch.yes)
        if self._height[branch.yes] >= self._height[branch.no]:
            return branch.yes, branch.no
        return branch.no, branch.yes

    def _walk(self) -> None:
        stack = [(0, 0)]
        while stack:
            position, cost = stack.pop()
            node = self.shape.tree[position]
            if isinstance(node, Leaf):
                jump = (
                    self.of(("PUSH", self.shape.pushed(node)))
                    + self.of(("PUSH2", None))
                    + self.of(("JUMP", None))
                )
                self.leaves[position] = cost + jump + self.of(("JUMPDEST", None))
                continue
            behind, jumped = self.follows(node)
            if decided(node) is not None:
                stack.append((behind, cost))
                continue
            cost += sum(self.of(o) for o in _comparison(node, self.shape, jump_on_yes=jumped == node.yes))
            cost += self.of(("PUSH2", None)) + self.of(("JUMPI", None))
            stack += [(behind, cost), (jumped, cost + self.of(("JUMPDEST", None)))]

    def of(self, operation: Operation) -> int:
        name, number = operation
        if name == "PUSH":
            name = _push(number or 0)
        return self._table[name]


def decided(branch: Branch) -> bool | None:
    """The answer of a comparison that is the same for every input, else None."""
    if branch.code < 0:
        return False
    return None


def _comparison(branch: Branch, shape: _Shape, *, jump_on_yes: bool) -> tuple[Operation, ...]:
    """What leaves a number that is not 0 where the jump is to be taken."""
    load = shape.sources[branch.slot].operations
    if branch.test == "==":
        return *load, ("PUSH", branch.code), ("EQ" if jump_on_yes else "XOR", None)
    if branch.code == 0:
        return (*load, ("ISZERO", None)) if jump_on_yes else load
    if jump_on_yes:
        return *load, ("PUSH", branch.code + 1), ("GT", None)
    return *load, ("PUSH", branch.code), ("LT", None)


def _emit_node(a: Assembler, shape: _Shape, costs: _Costs, rungs: Mapping[int, Label], position: int) -> None:
    node = shape.tree[position]
    if isinstance(node, Leaf):
        a.push(shape.pushed(node), name=LANES)
        a.jump(rungs[position])
        return
    behind, jumped = costs.follows(node)
    if decided(node) is not None:
        _emit_node(a, shape, costs, rungs, behind)
        return
    stack = list(a.stack)
    source = shape.sources[node.slot]
    for operation in _comparison(node, shape, jump_on_yes=jumped == node.yes):
        if operation[0] == "DUP":
            a.dup(source.name)
        else:
            _append(a, operation, "x")
    label = a.new_label("node", stack)
    a.jump_if(label)
    _emit_node(a, shape, costs, rungs, behind)
    a.place(label, reached=False)
    _emit_node(a, shape, costs, rungs, jumped)


def _emit_ladder(a: Assembler, rungs: Mapping[int, Label]) -> None:
    """Rungs in descending order of what they must still burn; the last burns nothing but its JUMPDEST."""
    ordered = sorted(rungs, reverse=True)
    for number, gas in enumerate(ordered):
        a.place(rungs[gas], reached=number > 0)
        following = ordered[number + 1] if number + 1 < len(ordered) else gas
        # the next rung's JUMPDEST is part of the way there
        _burn(a, gas - following - (OPCODES["JUMPDEST"].gas if number + 1 < len(ordered) else 0))


def _burn(a: Assembler, gas: int) -> None:
    """Spend gas in few bytes, and few opcodes."""
    if gas < 0:
        raise CompilerDefect(f"a ladder cannot give {-gas} gas back")
    pair = OPCODES["PUSH0"].gas + OPCODES["POP"].gas
    for _ in range(gas // pair):
        a.push(0)
        a.op("POP")
    for _ in range(gas % pair // OPCODES["JUMPDEST"].gas):
        a.op("JUMPDEST")


def _append(a: Assembler, operation: Operation, name: str) -> None:
    opcode, number = operation
    if opcode == "PUSH":
        a.push(number or 0, name=name)
    else:
        a.op(opcode, result=name)


def _push(number: int) -> str:
    return f"PUSH{(number.bit_length() + 7) // 8}"
