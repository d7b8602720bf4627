"""A model that is bytes (an XGBoost booster): how it travels in an app's records, and what stands for it on chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from numpy.typing import NDArray

from fedvm.protocol import EncodingError
from fedvm.protocol.aggregators import NAME_ELEMENTS
from fedvm.protocol.vector import IntVector
from fedvm.store import Store
from fedvm.store.payloads import StoredPayloads, name_of

PAYLOAD = "fedvm.payload"
"""Name of the bytes in the ArrayRecord that comes back, beside the vector that names them."""
_ARRAY = "0"  # as in `ArrayRecord([array])`, which Flower's strategies look for


def model_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a model's record. Raises EncodingError unless it holds one array of bytes, named "0"."""
    array = arrays.get(_ARRAY)
    if array is None or len(arrays) != 1 or array.dtype != np.uint8 or array.ndim != 1:
        raise EncodingError(
            "a model of bytes is one array of uint8 alone: ArrayRecord([np.frombuffer(model, dtype=np.uint8)])"
        )
    return array.tobytes()


def record_of(data: bytes) -> ArrayRecord:
    """The record of a model of bytes, as apps and Flower's strategies exchange it."""
    return ArrayRecord({_ARRAY: Array(np.frombuffer(data, np.uint8))})


def payload_of(content: RecordDict) -> bytes | None:
    """The bytes that a reply brings beside its vector, None if it brings none."""
    for record in content.array_records.values():
        if PAYLOAD in record and (array := record[PAYLOAD].numpy()).dtype == np.uint8:
            return array.tobytes()
    return None


@dataclass(frozen=True)
class ByteCodec:
    """Translates between the name of a model's bytes and the record that apps exchange. store: has the bytes."""

    store: Store
    fraction_bits: int

    @property
    def elements(self) -> int:
        """Of a name."""
        return NAME_ELEMENTS

    def quantize(self, arrays: Mapping[str, NDArray[Any]]) -> IntVector:
        """The name of a model's bytes, int32 (9,). Raises EncodingError for another kind of model."""
        return name_of(model_bytes(arrays))

    def floats(self, vector: IntVector) -> ArrayRecord:
        """The model as an app wants it. Raises StoreError if the store lacks it."""
        return record_of(StoredPayloads(self.store).get(vector))

    def remainder(self, vector: IntVector) -> bytes:
        """The record holds all of the model."""
        return b""

    def trained(self, base: IntVector, record: ArrayRecord) -> ArrayRecord:
        """What a client trained, from the record of its reply: its bytes."""
        if PAYLOAD not in record:
            return ArrayRecord()
        return record_of(record[PAYLOAD].numpy().tobytes())
