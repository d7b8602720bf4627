"""A node of a tabular model's file with the values that it reads, and what has been made so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fedvm.compiler.columns import Row
from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Text
from fedvm.compiler.frontend.tabular.deferred import (
    Below,
    Deferred,
    Largest,
    Logistic,
    Powers,
    Product,
    Total,
)
from fedvm.compiler.frontend.tabular.ensemble import Votes

Array: TypeAlias = NDArray[Any]
Model: TypeAlias = Affine | Votes
Value: TypeAlias = "Affine | Text | Votes | Deferred | Stacked | Array"


@dataclass
class Follower:
    """What has been followed so far: row: the encoded columns; nodes, constants: the standard operators made."""

    row: Row
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    approximate: bool = False
    """Whether the scores are others than the file's, of the same order."""

    def constant(self, value: Any) -> str:
        """Name of a new float32 constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def add(self, op: str, inputs: list[str], **given: Any) -> str:
        """Name of the output of a new node."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{len(self.nodes)}", **given))
        return output

    def realised(self, value: Affine) -> str:
        """Name of the value as a tensor of the new network."""
        if len(value.terms) == 1 and not value.bias.any():
            ((root, weight),) = value.terms
            if np.array_equal(self._full(root, weight), np.eye(value.size)):
                return root
        return self.scores(value)

    def scores(self, value: Affine) -> str:
        """Name of the value as a tensor of its own."""
        terms = value.terms or ((ROW, np.zeros((value.size, 0))),)
        # the weights' columns are completed once all columns are known (`read.py`)
        bias, total = value.bias, ""
        for root, weight in terms:
            product = self.add(
                "Gemm", [root, self.constant(self._full(root, weight)), self.constant(bias)], transB=1
            )
            total = self.add("Add", [total, product]) if total else product
            bias = np.zeros(value.size)
        return total

    def _full(self, root: str, weight: NDArray[Any]) -> NDArray[Any]:
        more = max(0, len(self.row.columns) - weight.shape[1]) if root == ROW else 0
        return np.pad(weight, ((0, 0), (0, more)))

    def computed(self, value: Deferred) -> Affine:
        """A value that is used in another way than expected, as a tensor of the new network."""
        if isinstance(value, Logistic):
            inner = value.of.scaled(-1.0, 0.0) if value.complement else value.of
            return Affine.of_root(self.add("Sigmoid", [self.realised(inner)]), inner.size)
        if isinstance(value, Powers) and isinstance(value.of, Affine):
            powers = Affine.of_root(self.add("Exp", [self.realised(value.of)]), value.size)
            return powers.scaled(1.0, float(value.beside))
        if isinstance(value, Total) and not value.seen:
            return self.computed(value.of).times(np.ones((1, value.of.size)))
        if isinstance(value, Largest):
            return Affine.of_root(self.largest(self.realised(value.of), value.of.size), 1)
        if isinstance(value, Below):
            largest = self.computed(Largest(value.of))
            return value.of.plus(largest.chosen(np.zeros(value.size, int)).scaled(-1.0, 0.0))
        if isinstance(value, Product):
            return self.products([value])
        raise UnsupportedOperator(f"what {type(value).__name__} stands for has no kernel for this operator")

    def largest(self, row: str, size: int) -> str:
        """Name of the largest of the columns, in rounds of halves, which may overlap."""
        while size > 1:
            half = -(-size // 2)
            parts = [np.eye(size)[:, :half], np.eye(size)[:, size - half :]]
            row = self.add("Max", [self.add("MatMul", [row, self.constant(part)]) for part in parts])
            size = half
        return row

    def products(self, wanted: list[Product]) -> Affine:
        """All products, one after the other, by one node."""
        sides = [[p.left for p in wanted], [p.right for p in wanted]]
        names = [self.realised(first.joined(rest)) for first, *rest in sides]
        return Affine.of_root(self.add("Mul", names), len(wanted))

    def plain(self, value: Affine) -> Affine:
        """The value without a head: a softmax that does not end the model is computed, and so are shares."""
        if not value.head:
            return value
        scores = replace(value, head="", shares=False)
        if value.head == "softmax" and value.size == 2:
            above = scores.times(
                np.array([[1.0, -1.0]])
            )  # the logistic function of how far one is above the other
            share = Affine.of_root(self.add("Sigmoid", [self.realised(above)]), 1)
            return share.times(np.array([[1.0], [-1.0]]), np.array([0.0, 1.0]))
        if value.head == "softmax":
            return Affine.of_root(self.add("Softmax", [self.realised(scores)], axis=1), value.size)
        if value.head == "sigmoid":
            shares = self.computed(Logistic(scores))
            if not value.shares:
                return shares
            total = self.realised(shares.times(np.ones((1, shares.size))))
            return Affine.of_root(self.add("Div", [self.realised(shares), total]), value.size)
        raise UnsupportedOperator(f"it follows the {value.head}, which ends the model")


@dataclass(frozen=True, eq=False)
class Stacked:
    """What several models give, one above the other, before the mean is taken. turned: after a reshape that puts one
    number of each beside the others, once it is transposed."""

    models: tuple[Model, ...]
    turned: bool = False

    @property
    def size(self) -> int:
        return self.models[0].size

    def mean(self) -> Model:
        """Raises UnsupportedOperator if they cannot be added."""
        first, *others = self.models
        total: Model = first
        for other in others:
            total = sum_of(total, other)
        return total.scaled(1.0 / len(self.models), 0.0)

    def beside(self) -> Affine:
        """The models one beside the other."""
        first, *others = (one for one in self.models if isinstance(one, Affine))
        return first.joined(others)


@dataclass(frozen=True)
class Node:
    """A node with its values."""

    proto: onnx.NodeProto
    values: list[Value | None]
    given: dict[str, Any]
    follower: Follower

    def value(self, position: int = 0) -> Value:
        """An input. Raises UnsupportedOperator if the node has none there."""
        found = self.values[position] if position < len(self.values) else None
        if found is None:
            raise UnsupportedOperator(f"input {position} is missing")
        return found

    def affine(self, position: int = 0) -> Affine:
        """An input that depends on the row, as an affine function without a head."""
        value = self.values[position] if position < len(self.values) else None
        if isinstance(value, Deferred):
            value = self.follower.computed(value)
        if not isinstance(value, Affine):
            kind = "an ensemble of trees" if isinstance(value, Votes) else "text"
            raise UnsupportedOperator(f"input {position} is {kind}, on which there is no kernel for it")
        return self.follower.plain(value)

    def array(self, position: int) -> Array:
        value = self.values[position] if position < len(self.values) else None
        if not isinstance(value, np.ndarray):
            raise UnsupportedOperator(f"input {position} must be a constant")
        return value

    def axes(self) -> list[int] | None:
        """The axes that the node names, None if it names none."""
        axes = self.given.get("axes")
        if axes is None and len(self.values) > 1 and self.values[1] is not None:
            axes = self.array(1).ravel().tolist()
        return None if axes is None else [int(a) for a in axes]


Rule: TypeAlias = Callable[[Node], "Value | list[Value]"]
"""What makes of a node's values its outputs."""


def sum_of(first: Model, second: Model) -> Model:
    """Raises UnsupportedOperator for values of different layers."""
    if isinstance(first, Votes) and isinstance(second, Votes):
        return first.plus(second)
    if isinstance(first, Affine) and isinstance(second, Affine) and not (first.head or second.head):
        return first.plus(second)
    raise UnsupportedOperator("adds values of different layers")
