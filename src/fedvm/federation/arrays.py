"""The global model in Flower's messages: one int32 vector in transit, named float tensors for apps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from fedvm.federation.errors import TermsError
from fedvm.protocol import VectorSpec, dequantize, quantize_model
from fedvm.protocol.vector import IntVector

VECTOR = "fedvm.vector"
"""Name of the integer vector in an ArrayRecord: the model going out, the update coming back."""


def named_arrays(record: ArrayRecord) -> dict[str, NDArray[Any]]:
    """The record's tensors as NumPy arrays, in its order."""
    return {name: array.numpy() for name, array in record.items()}


@dataclass(frozen=True)
class ModelCodec:
    """Translates between vector and tensors. others: tensors that are not federated (integer counters)."""

    spec: VectorSpec
    others: Mapping[str, NDArray[Any]]
    order: tuple[str, ...]
    fraction_bits: int

    @classmethod
    def for_arrays(cls, arrays: Mapping[str, NDArray[Any]], fraction_bits: int) -> ModelCodec:
        """The codec of a model given by its state. Raises EncodingError if it has no float tensor."""
        spec = VectorSpec.from_arrays(arrays)
        federated = {tensor.name for tensor in spec.tensors}
        others = {name: array for name, array in arrays.items() if name not in federated}
        return cls(spec, others, tuple(arrays), fraction_bits)

    def quantize(self, arrays: Mapping[str, NDArray[Any]]) -> IntVector:
        """The first model's vector, int32 (elements,), rounded to nearest, ties to even. Raises ShapeError or
        RangeError."""
        return quantize_model(self.spec.flatten(arrays), self.fraction_bits)

    def wire(self, vector: IntVector) -> ArrayRecord:
        """The record that goes to clients: the vector, and the tensors that are not federated."""
        record = ArrayRecord({VECTOR: Array(vector)})
        for name, array in self.others.items():
            record[name] = Array(array)
        return record

    def floats(self, vector: IntVector) -> ArrayRecord:
        """The model's tensors in their own order and dtypes, as an app or `torch` wants them."""
        tensors = {**self.spec.unflatten(dequantize(vector, self.fraction_bits)), **self.others}
        return ArrayRecord({name: Array(np.asarray(tensors[name])) for name in self.order})


def vector_of(record: ArrayRecord, elements: int) -> IntVector:
    """The int32 vector in a record. Raises TermsError if it is missing or of another length or dtype."""
    if VECTOR not in record:
        raise TermsError(f"the ArrayRecord holds no {VECTOR!r}; is the server's strategy Accountable(...)?")
    vector = record[VECTOR].numpy()
    if vector.dtype != np.int32 or vector.shape != (elements,):
        raise TermsError(
            f"{VECTOR!r} is {vector.dtype}{list(vector.shape)}, the model needs int32[{elements}]"
        )
    return vector
