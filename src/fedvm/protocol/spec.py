"""The canonical order in which a model's tensors become one vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.errors import EncodingError, ShapeError

FloatVector = NDArray[np.float64]


@dataclass(frozen=True)
class TensorSpec:
    """One federated tensor: its name in the model's state, its shape, and its NumPy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements; 1 for a scalar."""
        return prod(self.shape)


@dataclass(frozen=True)
class VectorSpec:
    """The federated tensors of a model in canonical order: the order in which its state lists them."""

    tensors: tuple[TensorSpec, ...]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> VectorSpec:
        """Describe the floating-point arrays of ``arrays``, in its order; integer counters are left out.

        Raises:
            EncodingError: nothing to federate.
        """
        tensors = tuple(
            TensorSpec(name, tuple(array.shape), array.dtype.name)
            for name, array in arrays.items()
            if np.issubdtype(array.dtype, np.floating)
        )
        spec = cls(tensors)
        if spec.elements == 0:
            raise EncodingError("the model has no floating-point elements to federate")
        return spec

    @property
    def elements(self) -> int:
        """Length of the vector."""
        return sum(tensor.size for tensor in self.tensors)

    def flatten(self, arrays: Mapping[str, NDArray[Any]]) -> FloatVector:
        """Concatenate the federated tensors, each in C order, as float64 of shape (elements,).

        Raises:
            ShapeError: a tensor is missing, is not declared, or differs in shape or dtype.
        """
        self._check_names(arrays)
        return np.concatenate([_checked(arrays[t.name], t).reshape(-1) for t in self.tensors]).astype(
            np.float64
        )

    def unflatten(
        self, vector: FloatVector, others: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, Any]:
        """Cut a vector of shape (elements,) into its tensors, cast to their dtypes.

        ``others`` is a whole state: its names give the order of the result, and what is not federated
        (BatchNorm's ``num_batches_tracked`` and the like) keeps its value from there.

        Raises:
            ShapeError: ``vector`` has another length, or ``others`` misses a federated tensor.
        """
        if vector.shape != (self.elements,):
            raise ShapeError(f"the vector has shape {vector.shape}, the model needs ({self.elements},)")
        cut: dict[str, NDArray[Any]] = {}
        start = 0
        for tensor in self.tensors:
            part = vector[start : start + tensor.size]
            cut[tensor.name] = part.reshape(tensor.shape).astype(tensor.dtype)
            start += tensor.size
        if others is None:
            return cut
        self._check_names(others)
        return {name: cut.get(name, array) for name, array in others.items()}

    def _check_names(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        declared = [tensor.name for tensor in self.tensors]
        given = [name for name, array in arrays.items() if np.issubdtype(array.dtype, np.floating)]
        if missing := sorted(set(declared) - set(given)):
            raise ShapeError(
                f"floating-point tensors {missing} are missing; the model was declared with them"
            )
        if unknown := sorted(set(given) - set(declared)):
            raise ShapeError(f"floating-point tensors {unknown} were not declared; rebuild the VectorSpec")


def _checked(array: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    if tuple(array.shape) != tensor.shape or array.dtype.name != tensor.dtype:
        raise ShapeError(
            f"tensor {tensor.name!r} is {array.dtype.name}{list(array.shape)}, "
            f"declared as {tensor.dtype}{list(tensor.shape)}"
        )
    return array
