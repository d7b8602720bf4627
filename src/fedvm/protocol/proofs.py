"""Openings: one chunk of a committed vector, which can be checked with the root alone."""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.protocol.checks import check_uint
from fedvm.protocol.errors import ProofError, RangeError
from fedvm.protocol.hashing import (
    CHUNK,
    chunk_count,
    chunk_length,
    plain_leaf,
    plain_node,
    plain_root,
    tree_height,
    update_leaf,
    update_node,
)
from fedvm.protocol.place import Place
from fedvm.protocol.trees import PlainKind, PlainTree, UpdateTree
from fedvm.protocol.vector import int32_from_bytes, sum_squares, to_bytes


@dataclass(frozen=True)
class Sibling:
    """A sibling of a path: its hash and, in a sum tree, its Σd² (0 in a plain tree)."""

    hash: bytes
    sum_squares: int = 0


@dataclass(frozen=True)
class Opening:
    """Chunk ``index``: its elements as big-endian bytes, and the siblings from the leaf upward."""

    index: int
    payload: bytes
    siblings: tuple[Sibling, ...]


def open_update(tree: UpdateTree, index: int) -> Opening:
    """Open chunk ``index`` of an update. Raises RangeError if there is no such chunk."""
    payload = _payload(tree, index)
    beside = [(level, (index >> level) ^ 1) for level in range(len(tree.hashes) - 1)]
    siblings = tuple(Sibling(tree.hashes[level][at], tree.sums[level][at]) for level, at in beside)
    return Opening(index, payload, siblings)


def open_plain(tree: PlainTree, index: int) -> Opening:
    """Open chunk ``index`` of a model or an aggregate. Raises RangeError if there is no such chunk."""
    payload = _payload(tree, index)
    beside = [(level, (index >> level) ^ 1) for level in range(len(tree.hashes) - 1)]
    return Opening(index, payload, tuple(Sibling(tree.hashes[level][at]) for level, at in beside))


def verify_update(opening: Opening, root: bytes, total: int, place: Place, elements: int) -> None:
    """Check that the opening leads to an update's (root, total Σd²) in its place.

    Raises:
        ProofError: index, length, number of siblings, a sum or a hash is wrong.
    """
    _check_form(opening, elements, 4)
    length = chunk_length(elements, opening.index)
    summed = sum_squares(int32_from_bytes(opening.payload, length))
    node = update_leaf(place.context(elements), opening.index, summed, opening.payload)
    for level, sibling in enumerate(opening.siblings):
        if not 0 <= sibling.sum_squares < 1 << 128:
            raise ProofError(f"sibling {level} states a sum outside uint128")
        if opening.index >> level & 1:
            node = update_node(sibling.hash, sibling.sum_squares, node, summed)
        else:
            node = update_node(node, summed, sibling.hash, sibling.sum_squares)
        summed += sibling.sum_squares
        if summed >= 1 << 128:
            raise ProofError(f"the sums overflow uint128 at level {level + 1}")
    if node != root:
        raise ProofError(f"chunk {opening.index} does not lead to update root 0x{root.hex()}")
    if summed != total:
        raise ProofError(f"the path of chunk {opening.index} sums to {summed}, the update states {total}")


def verify_plain(opening: Opening, kind: PlainKind, root: bytes, elements: int) -> None:
    """Check that the opening leads to the root of a model or aggregate of ``elements`` elements.

    Raises:
        ProofError: index, length, number of siblings or a hash is wrong.
    """
    check_uint("elements", elements, 64)
    _check_form(opening, elements, kind.width)
    node = plain_leaf(kind.leaf, opening.index, opening.payload, kind.width)
    for level, sibling in enumerate(opening.siblings):
        pair = (sibling.hash, node) if opening.index >> level & 1 else (node, sibling.hash)
        node = plain_node(kind.node, *pair)
    if plain_root(kind.root, elements, node) != root:
        raise ProofError(f"chunk {opening.index} does not lead to {kind.name} root 0x{root.hex()}")


def _payload(tree: UpdateTree | PlainTree, index: int) -> bytes:
    chunks = chunk_count(tree.vector.size)
    if not 0 <= index < chunks:
        raise RangeError(f"there is no chunk {index}; the vector has {chunks}")
    return to_bytes(tree.vector[index * CHUNK : (index + 1) * CHUNK])


def _check_form(opening: Opening, elements: int, width: int) -> None:
    if not 0 <= opening.index < chunk_count(elements):
        raise ProofError(f"chunk {opening.index} lies outside a vector of {elements} elements")
    expected = chunk_length(elements, opening.index) * width
    if len(opening.payload) != expected:
        raise ProofError(f"chunk {opening.index} holds {len(opening.payload)} bytes, expected {expected}")
    height = tree_height(elements)
    if len(opening.siblings) != height:
        raise ProofError(
            f"the opening has {len(opening.siblings)} siblings, a tree of this size needs {height}"
        )
    if any(len(sibling.hash) != 32 for sibling in opening.siblings):
        raise ProofError("a sibling's hash does not hold 32 bytes")
