"""Finds pointwise nodes that together compute one function of one value: an activation, or `x · f(x)`, however an
exporter has written it down. Each becomes one table, whatever its length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from fedvm.compiler.errors import CompileError
from fedvm.compiler.frontend.choice import inputs_of
from fedvm.compiler.frontend.fold import FOLDABLE, fold
from fedvm.compiler.frontend.load import constant_array
from fedvm.compiler.frontend.pointwise import (
    NATIVE,
    ROUNDING,
    apply,
    is_affine,
    is_pointwise,
    is_truth,
    rises,
)
from fedvm.compiler.graph import FloatArray, Pointwise

SMALL = 4096
"""Elements of a constant that may turn out to be one number (a slope for every channel)."""
MOST_NODES = 64
"""Nodes of a chain at most: far more than an exporter needs for one function."""


@dataclass(frozen=True)
class Chain:
    """Nodes that compute one function of the value `root`. nodes: their positions in the graph, ascending, the last of
    which writes the function's value; rank: axes that the value has at least."""

    root: str
    nodes: tuple[int, ...]
    function: Pointwise
    rank: int


def find_chains(graph: onnx.GraphProto, opset: int, ends: Sequence[int] = ()) -> list[Chain]:
    """The chains that need a table; what sums and bounds can express is left alone.

    ends: positions of nodes that end the network, which are in no chain.
    """
    return _Finder(graph, opset, ends).chains()


class _Finder:
    """What is known of a graph before anything is lowered: which values depend on the input, and numbers."""

    def __init__(self, graph: onnx.GraphProto, opset: int, ends: Sequence[int]) -> None:
        self._nodes = list(graph.node)
        self._constants: dict[str, Any] = {
            t.name: constant_array(t) for t in graph.initializer if 0 < np.prod(t.dims) <= SMALL
        }
        self._varying = {value.name for value in inputs_of(graph)}
        self._readers: dict[str, set[int]] = defaultdict(set)
        self._writer: dict[str, int] = {}
        for position, node in enumerate(self._nodes):
            self._see(position, node, opset)
        for value in graph.output:
            self._readers[value.name].add(-1)
        self._free = {
            position
            for position, node in enumerate(self._nodes)
            if position not in ends and is_pointwise(node) and self._has_numbers(node)
        }

    def _see(self, position: int, node: onnx.NodeProto, opset: int) -> None:
        for name in node.input:
            self._readers[name].add(position)
        if node.op_type not in ("Shape", "Size") and any(name in self._varying for name in node.input):
            self._varying.update(node.output)
            self._writer.update(dict.fromkeys(node.output, position))
        elif node.op_type in FOLDABLE and all(not name or name in self._constants for name in node.input):
            try:
                results = fold(node, [self._constants.get(name) for name in node.input], opset)
            except CompileError:
                return  # lowering will come to it, and say so
            self._constants.update(zip(node.output, results, strict=False))

    def _number(self, name: str) -> Any:
        """The one number that a constant consists of, in its own type; None if it has several."""
        value = self._constants.get(name)
        if value is None or not value.size or (value != value.flat[0]).any():
            return None
        return value.flat[0]

    def _varies(self, node: onnx.NodeProto) -> list[str]:
        """The node's inputs that depend on the network's, each once."""
        return list(dict.fromkeys(name for name in node.input if name in self._varying))

    def _has_numbers(self, node: onnx.NodeProto) -> bool:
        """Whether everything the node reads beside varying values is a number, which does not change its shape."""
        fixed = [name for name in node.input if name and name not in self._varying]
        if len(fixed) == len(node.input) or any(self._number(name) is None for name in fixed):
            return False
        return node.op_type == "PRelu" or all(self._constants[name].size == 1 for name in fixed)

    # -- chains ---------------------------------------------------------------------------------------------------

    def chains(self) -> list[Chain]:
        """All chains, the last first: each as long as it can be."""
        found = []
        for position in reversed(range(len(self._nodes))):
            started = position in self._free and self._nodes[position].op_type not in ROUNDING
            if started and (grown := self._grow(position)) is not None:
                chain = self._chain(*grown)
                if chain is not None:
                    self._free -= set(chain.nodes)
                    found.append(chain)
        return found

    def _grow(self, last: int) -> tuple[set[int], str] | None:
        """The most nodes up to `last` that read one value in all and whose other results nobody else reads, and that
        value; None if they read several."""
        members, best = {last}, None
        while True:
            written = {name for position in members for name in self._nodes[position].output}
            read = {name for position in members for name in self._varies(self._nodes[position])} - written
            if len(read) == 1:
                best = set(members), next(iter(read))
                if self._op_of(best[1]) == "DequantizeLinear":
                    return best  # whose integers are known
            # what several of them have in common was computed before any of them
            latest = max(read, key=lambda name: self._writer.get(name, -1))
            before = self._writer.get(latest)
            if (
                before is None
                or len(members) == MOST_NODES
                or before not in self._free
                or self._readers[latest] - members
            ):
                return best
            members.add(before)

    def _op_of(self, name: str) -> str:
        """The operator that writes a value that depends on the input, "" if none does."""
        return self._nodes[self._writer[name]].op_type if name in self._writer else ""

    def _chain(self, members: set[int], root: str) -> Chain | None:
        """The chain without what may follow it at no cost; None if no table is needed."""
        nodes = sorted(members)
        while nodes and self._is_affine(self._nodes[nodes[-1]]):
            if self._writer.get(self._varies(self._nodes[nodes[-1]])[0]) not in nodes:
                return None
            nodes.pop()
        if not nodes or is_truth(self._nodes[nodes[-1]]):
            return None
        if all(self._is_native(self._nodes[position]) for position in nodes):
            return None
        name = ", ".join(self._nodes[position].op_type for position in nodes)
        of = self._function(root, nodes)
        function = Pointwise(name, of, rises(of))
        return Chain(
            root, tuple(nodes), function, max(self._rank(self._nodes[position]) for position in nodes)
        )

    def _rank(self, node: onnx.NodeProto) -> int:
        """Axes that the node's numbers give its result."""
        names = [] if node.op_type == "PRelu" else [name for name in node.input if name in self._constants]
        return max((self._constants[name].ndim for name in names), default=0)

    def _operand(self, node: onnx.NodeProto) -> int | None:
        """Which input varies, if only one does."""
        varying = [i for i, name in enumerate(node.input) if name in self._varying]
        return varying[0] if len(varying) == 1 else None

    def _is_affine(self, node: onnx.NodeProto) -> bool:
        operand = self._operand(node)
        return operand is not None and is_affine(node, operand)

    def _is_native(self, node: onnx.NodeProto) -> bool:
        operand = self._operand(node)
        return (
            node.op_type in NATIVE | ROUNDING
            and operand is not None
            and (node.op_type != "Div" or operand == 0)
        )

    def _function(self, root: str, positions: Sequence[int]) -> Any:
        nodes = [self._nodes[position] for position in positions]
        numbers = {
            name: self._number(name) for node in nodes for name in node.input if name in self._constants
        }

        def of(x: FloatArray) -> FloatArray:
            values: dict[str, Any] = {**numbers, root: x, "": None}
            for node in nodes:
                values[node.output[0]] = apply(node, [values[name] for name in node.input])
            return np.asarray(values[nodes[-1].output[0]], np.float64)

        return of
