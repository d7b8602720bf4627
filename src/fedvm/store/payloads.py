"""Bytes of any length whose names, CIDs as vectors, are what a federation over bytes commits to."""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.protocol import int32_from_bytes, to_bytes
from fedvm.protocol.aggregators import NAME_ELEMENTS
from fedvm.protocol.vector import IntVector
from fedvm.store.cid import Cid
from fedvm.store.errors import InvalidCid
from fedvm.store.interface import Store
from fedvm.store.unixfs import cid_of


def name_of(data: bytes) -> IntVector:
    """The name of bytes: their binary CID as big-endian int32, (9,)."""
    return int32_from_bytes(cid_of(data).binary, NAME_ELEMENTS)


def cid_named(vector: IntVector) -> bytes:
    """The binary CID that a vector, int32 (9,), is; perhaps of nothing."""
    return to_bytes(vector)


@dataclass(frozen=True)
class StoredPayloads:
    """The bytes in a store. writing: whether new ones are kept there."""

    store: Store
    writing: bool = False

    def get(self, vector: IntVector) -> bytes:
        """None at all of a vector that is no CID: it names nothing that anybody could ever bring. Raises StoreError if
        the store lacks them."""
        try:
            named = Cid.from_binary(cid_named(vector))
        except InvalidCid:
            return b""
        return self.store.get(named.binary)

    def put(self, data: bytes) -> IntVector:
        """The name of the bytes, which are kept first where this writes."""
        if self.writing:
            self.store.put(data)
        return name_of(data)
