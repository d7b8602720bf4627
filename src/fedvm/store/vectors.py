"""Reads vectors from a store; all code that reads one uses this module."""

from __future__ import annotations

from fedvm.protocol import EncodingError, int32_from_bytes, model_root, update_tree
from fedvm.protocol.place import Place
from fedvm.protocol.vector import IntVector
from fedvm.store.errors import StoreError
from fedvm.store.interface import Store


class WrongVector(StoreError):
    """The store holds something else under a CID than the vector that was committed to."""


def stored_update(
    store: Store, cid: str | bytes, elements: int, place: Place, committed: tuple[bytes, int]
) -> IntVector:
    """The int32 vector (elements,) of an update under a CID. committed: root and Σd² that its tree in its place has.

    Raises as `stored_vector`.
    """
    vector = stored_vector(store, cid, elements)
    tree = update_tree(vector, place)
    if (tree.root, tree.sum_squares) != committed:
        root, squares = committed
        raise WrongVector(
            f"the vector stored as {_named(cid)} has another root or Σd² than 0x{root.hex()} and {squares}"
        )
    return vector


def stored_vector(store: Store, cid: str | bytes, elements: int, root: bytes = b"") -> IntVector:
    """The int32 vector (elements,) under a CID. root: the model root that must commit to it, b"" to check none.

    Raises:
        StoreError: the store lacks the vector. WrongVector, a subclass: the bytes are not such a vector, or not the
            one that was committed to.
    """
    try:
        vector = int32_from_bytes(store.get(cid), elements)
        if root and model_root(vector) != root:
            raise WrongVector(f"the vector stored as {_named(cid)} has another root than 0x{root.hex()}")
    except EncodingError as error:
        raise WrongVector(f"what is stored as {_named(cid)} is no vector of int32: {error}") from error
    return vector


def _named(cid: str | bytes) -> str:
    return cid if isinstance(cid, str) else f"0x{cid.hex()}"
