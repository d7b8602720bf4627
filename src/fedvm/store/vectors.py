"""Reads vectors from a store; all code that reads one uses this module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fedvm.protocol import (
    Domain,
    EncodingError,
    UpdateTree,
    int32_from_bytes,
    model_root,
    to_bytes,
    update_tree,
)
from fedvm.protocol.place import Place
from fedvm.protocol.vector import IntVector
from fedvm.store.cid import Cid
from fedvm.store.errors import StoreError
from fedvm.store.interface import Store


class WrongVector(StoreError):
    """The store holds something else under a CID than the vector that was committed to."""


class SignedVector(Protocol):
    """What a member signed of its update's vector: root (32 bytes), Σd², and a CID, which may be of anything."""

    @property
    def update_root(self) -> bytes: ...

    @property
    def sum_squares(self) -> int: ...

    @property
    def cid(self) -> bytes: ...


Posted = Callable[[int, str], bytes | None]
"""From round and member to the vector that the member posted on chain, as it is stored; None if it posted none."""


_Compared = tuple[int, bytes, bytes, int]
"""A round, and the CID under which the vector with a root and a Σd² is."""


@dataclass(frozen=True)
class UpdateVectors:
    """Finds the vectors, int32 (elements,), of a federation's updates by what was committed to, root and Σd²; whoever
    reads one asks here. The CID says only where to look first: the contracts do not check it, and where it leads to
    nothing the member may have posted the vector on chain. What was compared once is remembered.
    """

    store: Store
    domain: Domain
    elements: int
    posted: Posted
    _compared: dict[str, _Compared] = field(default_factory=dict)
    """By member: what was compared last, so that a long run takes no more memory than its members do."""

    def tree(self, number: int, member: str, signed: SignedVector) -> UpdateTree:
        """The tree of the update that a member signed in a round.

        Raises:
            StoreError: its vector is neither under the CID nor on chain. WrongVector, a subclass: another is there.
        """
        place, committed = self.domain.place(number, member), (signed.update_root, signed.sum_squares)
        try:
            tree = stored_update(self.store, signed.cid, self.elements, place, committed)
        except StoreError:
            if (posted := self.posted(number, member)) is None:
                raise
            tree = update_tree(_decoded(posted, self.elements, "was posted on chain"), place)
            if (tree.root, tree.sum_squares) != committed:
                raise
        else:
            self.remember(number, member, signed)
        return tree

    def vector(self, number: int, member: str, signed: SignedVector) -> IntVector:
        """As `tree`, without the tree: what was compared once is not hashed again."""
        if self.is_compared(number, member, signed):
            return stored_vector(self.store, signed.cid, self.elements)
        return self.tree(number, member, signed).vector

    def cid(self, number: int, member: str, signed: SignedVector) -> bytes:
        """The binary CID under which the store has the vector. One that is only on chain is put into the store.

        Raises as `tree`.
        """
        if self.is_compared(number, member, signed):
            return signed.cid
        tree = self.tree(number, member, signed)
        if self.is_compared(number, member, signed):
            return signed.cid
        cid = Cid.parse(self.store.put(to_bytes(tree.vector))).binary
        self._compared[member] = (number, cid, signed.update_root, signed.sum_squares)
        return cid

    def is_compared(self, number: int, member: str, signed: SignedVector) -> bool:
        """Whether the store is known to have the vector under the CID that was signed."""
        return self._compared.get(member) == (number, signed.cid, signed.update_root, signed.sum_squares)

    def remember(self, number: int, member: str, signed: SignedVector) -> None:
        """That the store has the vector under the CID that was signed. For whoever has compared it otherwise, as it was
        received."""
        self._compared[member] = (number, signed.cid, signed.update_root, signed.sum_squares)

    def claimed(self, number: int, member: str, signed: SignedVector) -> UpdateTree:
        """As `tree`; if the vector that was signed is nowhere, the tree of another that is under its CID."""
        try:
            return self.tree(number, member, signed)
        except WrongVector:
            return update_tree(
                stored_vector(self.store, signed.cid, self.elements), self.domain.place(number, member)
            )


def stored_update(
    store: Store, cid: bytes, elements: int, place: Place, committed: tuple[bytes, int]
) -> UpdateTree:
    """The tree of the vector (elements,) of an update under a CID that is its own. committed: root and Σd² that the
    tree in its place has.

    Raises as `stored_vector`.
    """
    tree = update_tree(stored_vector(store, cid, elements), place)
    if (tree.root, tree.sum_squares) != committed:
        root, squares = committed
        raise WrongVector(
            f"the vector stored as {_named(cid)} has another root or Σd² than 0x{root.hex()} and {squares}"
        )
    return tree


def stored_vector(store: Store, cid: str | bytes, elements: int, root: bytes = b"") -> IntVector:
    """The int32 vector (elements,) under a CID. root: the model root that must commit to it, b"" to check none.

    Raises:
        StoreError: the store lacks the vector. WrongVector, a subclass: the bytes are not such a vector, or not the
            one that was committed to.
    """
    vector = _decoded(store.get(cid), elements, f"is stored as {_named(cid)}")
    if root and model_root(vector) != root:
        raise WrongVector(f"the vector stored as {_named(cid)} has another root than 0x{root.hex()}")
    return vector


def _decoded(data: bytes, elements: int, where: str) -> IntVector:
    try:
        return int32_from_bytes(data, elements)
    except EncodingError as error:
        raise WrongVector(f"what {where} is no vector of int32: {error}") from error


def _named(cid: str | bytes) -> str:
    return cid if isinstance(cid, str) else f"0x{cid.hex()}"
