"""Walks down the stated tree of a group's squares: to a chunk, or to a node of a wrong form or sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedvm.audit.vector_walk import Trail
from fedvm.chain.sealed_proofs import NormNode
from fedvm.protocol.hashing import EMPTY, chunk_count, chunk_length
from fedvm.protocol.proofs import Opening, Sibling
from fedvm.protocol.sealed.trees import NORM_NODE, NormTree, norm_leaf

_NODE_BYTES, _LEAF_HEADER_BYTES, _VALUE_BYTES = 129, 41, 8


@dataclass(frozen=True)
class _Place:
    """A node as it is stated: hash and Σ S², and these of the nodes beside its path, from there up."""

    level: int
    position: int
    hash: bytes
    squares: int
    siblings: tuple[tuple[bytes, int], ...]

    def wrong(self, preimage: bytes) -> NormNode:
        return NormNode(self.position, preimage, self.squares, self.siblings, self.hash)

    def child(self, preimage: bytes, side: int) -> _Place:
        pair = [(preimage[at : at + 32], int.from_bytes(preimage[at + 32 : at + 64])) for at in (1, 65)]
        beside = (pair[1 - side], *self.siblings)
        return _Place(self.level - 1, 2 * self.position + side, *pair[side], beside)


def squares_at(trail: Trail, root: bytes, index: int, true: NormTree) -> Opening | NormNode:
    """Chunk ``index`` of the stated tree, or the topmost wrong node on the way. root: preimage of its root; true: the
    tree of another vector of the same length. Raises PreimagesMissing."""
    return _walk(trail, root, true, lambda place, preimage: index >> (place.level - 1) & 1)


def differing_squares(trail: Trail, root: bytes, true: NormTree) -> Opening | NormNode:
    """Where the stated tree differs from the true one: a chunk of other values, or a wrong node. Arguments as of
    `squares_at`. Raises PreimagesMissing."""

    def side(place: _Place, preimage: bytes) -> int:
        left = place.child(preimage, 0)
        return int((left.hash, left.squares) == true.levels[left.level][left.position])

    return _walk(trail, root, true, side)


def _walk(
    trail: Trail, root: bytes, true: NormTree, choose: Callable[[_Place, bytes], int]
) -> Opening | NormNode:
    elements = true.values.size
    place = _Place(len(true.levels) - 1, 0, root[33:], int.from_bytes(root[1:33]), ())
    while True:
        beyond = place.level == 0 and place.position >= chunk_count(elements)
        if place.hash == EMPTY or beyond:
            return place.wrong(b"")
        preimage, trail = trail.open(place.hash, place.level + 1)
        if place.level == 0:
            return _chunk(place, preimage, elements)
        if len(preimage) != _NODE_BYTES or preimage[:1] != NORM_NODE:
            return place.wrong(preimage)
        if place.child(preimage, 0).squares + place.child(preimage, 1).squares != place.squares:
            return place.wrong(preimage)
        place = place.child(preimage, choose(place, preimage))


def _chunk(place: _Place, preimage: bytes, elements: int) -> Opening | NormNode:
    payload = preimage[_LEAF_HEADER_BYTES:]
    length = chunk_length(elements, place.position)
    if len(payload) != _VALUE_BYTES * length or preimage != norm_leaf(place.position, place.squares, payload):
        return place.wrong(preimage)
    values = np.frombuffer(payload, dtype=">i8").tolist()
    if sum(value * value for value in values) != place.squares:
        return place.wrong(preimage)
    siblings = tuple(Sibling(*one) for one in place.siblings)
    return Opening(place.position, payload, siblings)
