"""The global model in Flower's messages: the app's own float tensors, and what they lack of the integer vector.

A strategy and every mod, wherever it stands, so see the tensors that an app expects. The vector follows from them and
the remainder, which is empty for nearly all models: a float32 holds an int32 below 2^24 exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from fedvm.federation.errors import TermsError
from fedvm.federation.ready_arrays import decode
from fedvm.protocol import EncodingError, VectorSpec, dequantize, int32_from_bytes, quantize_model, to_bytes
from fedvm.protocol.vector import IntVector

VECTOR = "fedvm.vector"
"""Name of the integer update in the ArrayRecord that comes back."""
_INT32 = np.iinfo(np.int32)


def named_arrays(record: ArrayRecord) -> dict[str, NDArray[Any]]:
    """The record's tensors as NumPy arrays, in its order."""
    return {name: decode(array) for name, array in record.items()}


def same_arrays(one: ArrayRecord, other: ArrayRecord) -> bool:
    """Whether two records hold the same tensors, to the bit."""
    if list(one) != list(other):
        return False
    pairs = ((one[name].numpy(), other[name].numpy()) for name in one)
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


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

    @property
    def elements(self) -> int:
        """How many numbers are federated."""
        return self.spec.elements

    def trained(self, base: IntVector, record: ArrayRecord) -> ArrayRecord:
        """What a client trained, from the record of its reply: base plus its update, as the app's tensors; empty for
        one that will be refused."""
        update = record[VECTOR].numpy()
        if update.dtype != np.int32 or update.shape != base.shape:
            return ArrayRecord()
        whole = dequantize(base, self.fraction_bits) + dequantize(update, self.fraction_bits)
        tensors = {**self.spec.unflatten(whole), **self.others}
        return ArrayRecord({name: Array(np.asarray(tensors[name])) for name in self.order})

    def quantize(self, arrays: Mapping[str, NDArray[Any]]) -> IntVector:
        """The first model's vector, int32 (elements,), rounded to nearest, ties to even. Raises ShapeError or
        RangeError."""
        return quantize_model(self.spec.flatten(arrays), self.fraction_bits)

    def floats(self, vector: IntVector) -> ArrayRecord:
        """The model's tensors in their own order and dtypes, as an app or `torch` wants them."""
        tensors = {**self.spec.unflatten(dequantize(vector, self.fraction_bits)), **self.others}
        return ArrayRecord({name: Array(np.asarray(tensors[name])) for name in self.order})

    def remainder(self, vector: IntVector) -> bytes:
        """What `floats` lacks of the vector: zlib over the difference, int32 big-endian; empty where there is none."""
        difference = vector.astype(np.int64) - self._nearest(named_arrays(self.floats(vector)))
        return zlib.compress(to_bytes(difference.astype(np.int32))) if difference.any() else b""

    def vector(self, arrays: Mapping[str, NDArray[Any]], remainder: bytes) -> IntVector:
        """The vector, int32 (elements,), of which `arrays` and `remainder` are the two parts.

        Raises:
            TermsError: they are not.
        """
        try:
            nearest = self._nearest(arrays)
            whole = nearest + self._unpacked(remainder) if remainder else nearest
        except (EncodingError, zlib.error) as error:
            raise TermsError(f"the model in the server's message cannot be read: {error}") from error
        if ((whole < _INT32.min) | (whole > _INT32.max)).any():
            raise TermsError("the model in the server's message does not fit int32 at its scale")
        return whole.astype(np.int32)

    def _nearest(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        scaled = np.rint(self.spec.flatten(arrays) * 2.0**self.fraction_bits)
        # A rounded float may lie just outside; the remainder leads back inside.
        if not (np.abs(scaled) <= 2.0**32).all():
            raise EncodingError(
                f"a tensor holds values that no int32 at {self.fraction_bits} bits stands for"
            )
        return scaled.astype(np.int64)

    def _unpacked(self, remainder: bytes) -> IntVector:
        wanted = 4 * self.spec.elements
        data = zlib.decompressobj().decompress(remainder, wanted + 1)
        return int32_from_bytes(data, self.spec.elements)
