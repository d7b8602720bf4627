"""A node of a tabular model's file with the values that it reads, and what has been made so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fedvm.compiler.columns import Row
from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Logistic, Text, Total
from fedvm.compiler.frontend.tabular.ensemble import Votes

Array: TypeAlias = NDArray[Any]
Model: TypeAlias = Affine | Votes
Value: TypeAlias = "Affine | Text | Logistic | Total | Votes | Stacked | Array"


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
        weight = value.weight
        if value.root == ROW:
            weight = np.pad(weight, ((0, 0), (0, len(self.row.columns) - weight.shape[1])))
        if np.array_equal(weight, np.eye(len(weight))) and not value.bias.any():
            return value.root
        # the weights' columns are completed once all columns are known (`read.py`)
        return self.add("Gemm", [value.root, self.constant(weight), self.constant(value.bias)], transB=1)

    def sigmoid(self, value: Logistic) -> Affine:
        """The logistic function, or one less it, as a tensor of the new network."""
        inner = value.of.scaled(-1.0, 0.0) if value.complement else value.of
        return Affine.of_root(self.add("Sigmoid", [self.realised(inner)]), inner.size)


@dataclass(frozen=True, eq=False)
class Stacked:
    """What several models give, one above the other, before the mean is taken."""

    models: tuple[Model, ...]

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


@dataclass(frozen=True)
class Node:
    """A node with its values."""

    proto: onnx.NodeProto
    values: list[Value | None]
    given: dict[str, Any]
    follower: Follower

    def affine(self, position: int = 0) -> Affine:
        """An input that depends on the row, as an affine function."""
        value = self.values[position] if position < len(self.values) else None
        if isinstance(value, Logistic):
            value = self.follower.sigmoid(value)
        if not isinstance(value, Affine):
            kind = "an ensemble of trees" if isinstance(value, Votes) else "text"
            raise UnsupportedOperator(f"input {position} is {kind}, on which there is no kernel for it")
        return value

    def array(self, position: int) -> Array:
        value = self.values[position] if position < len(self.values) else None
        if not isinstance(value, np.ndarray):
            raise UnsupportedOperator(f"input {position} must be a constant")
        return value


def sum_of(first: Model, second: Model) -> Model:
    """Raises UnsupportedOperator for values of different layers."""
    if isinstance(first, Votes) and isinstance(second, Votes):
        return first.plus(second)
    total = None
    if isinstance(first, Affine) and isinstance(second, Affine) and not (first.head or second.head):
        total = first.plus(second)
    if total is None:
        raise UnsupportedOperator("adds values of different layers")
    return total
