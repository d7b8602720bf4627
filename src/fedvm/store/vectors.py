"""Reads vectors from a store; all code that reads one uses this module."""

from __future__ import annotations

from collections.abc import Callable

from fedvm.protocol import EncodingError, int32_from_bytes, model_root, update_tree
from fedvm.protocol.place import Place
from fedvm.protocol.vector import IntVector
from fedvm.store.errors import StoreError
from fedvm.store.interface import Store

RootOf = Callable[[IntVector], bytes]
"""From a vector to what commits to it, 32 bytes: `model_root`, or `update_root` of its place."""


class WrongVector(StoreError):
    """The store holds something else under a CID than the vector that was committed to."""


def update_root(place: Place) -> RootOf:
    """The root of an update in its place."""
    return lambda vector: update_tree(vector, place).root


def stored_vector(
    store: Store, cid: str | bytes, elements: int, root: bytes = b"", root_of: RootOf = model_root
) -> IntVector:
    """The int32 vector (elements,) under a CID. root: the root that must commit to it, b"" to check none; root_of:
    computes a vector's root.

    Raises:
        StoreError: the store lacks the vector. WrongVector, a subclass: the bytes are not such a vector, or not the
            one that was committed to.
    """
    try:
        vector = int32_from_bytes(store.get(cid), elements)
        if root and root_of(vector) != root:
            raise WrongVector(f"the vector stored as {_named(cid)} has another root than 0x{root.hex()}")
    except EncodingError as error:
        raise WrongVector(f"what is stored as {_named(cid)} is no vector of int32: {error}") from error
    return vector


def _named(cid: str | bytes) -> str:
    return cid if isinstance(cid, str) else f"0x{cid.hex()}"
