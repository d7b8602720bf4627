"""A node of the file with its inputs, as the operators take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx
from numpy.typing import NDArray
from onnx import helper

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend.builder import Builder
from fedvm.compiler.frontend.values import Tensor

Array: TypeAlias = NDArray[Any]
Value: TypeAlias = Tensor | Array


@dataclass(frozen=True)
class Node:
    """One node with its inputs: tensors, known arrays (float64 if floating-point), None where left out."""

    proto: onnx.NodeProto
    inputs: list[Value | None]
    builder: Builder
    opset: int
    relayout: bool  # whether the layout of the input may still be chosen

    def attribute(self, name: str, default: Any = None) -> Any:
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def given(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def tensor(self, position: int = 0) -> Tensor:
        value = self.inputs[position] if self.given(position) else None
        if not isinstance(value, Tensor):
            raise self.refuse(f"input {position} must come from the network's input")
        return value

    def array(self, position: int) -> Array:
        value = self.inputs[position] if self.given(position) else None
        if value is None or isinstance(value, Tensor):
            raise self.refuse(f"input {position} must be a constant")
        return value

    def ints(self, name: str, position: int) -> list[int] | None:
        """A list of integers that older opsets hold in an attribute and newer ones in an input."""
        if self.given(position):
            return [int(n) for n in self.array(position).ravel()]
        value = self.attribute(name)
        return None if value is None else [int(n) for n in value]

    def axis(self, default: int, rank: int, name: str = "axis") -> int:
        """An axis of a tensor of so many, counted from the first. ModelError if it has no such axis."""
        axis = int(self.attribute(name, default))
        if not -rank <= axis < rank:
            raise ModelError(f"{self.label} has a bad {name}: {axis}")
        return axis % rank

    @property
    def label(self) -> str:
        """The node in an error."""
        return f"node {self.proto.name or self.proto.output[0]} ({self.proto.op_type})"

    def refuse(self, reason: str) -> UnsupportedOperator:
        return UnsupportedOperator(f"{self.label}: {reason}")


Lowering: TypeAlias = Callable[[Node], list[Tensor]]
"""What makes of a node's inputs its outputs."""
