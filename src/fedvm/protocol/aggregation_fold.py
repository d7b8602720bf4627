"""The root of an aggregation tree, from updates that are read once, in order, with one vector per level in memory.

The hashes are the same as those of ``aggregation_tree``, which keeps all nodes for proofs. Perfect subtrees can be
added up separately, in other processes, and joined by `fold`.

"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedvm.evm.keccak import keccak
from fedvm.protocol.aggregation import AGGREGATION_LEAF, AGGREGATION_NODE, CountedUpdate, push
from fedvm.protocol.errors import EncodingError, RangeError, ShapeError
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.trees import aggregate_root
from fedvm.protocol.vector import SumVector, check_vector


@dataclass(frozen=True)
class Subtotal:
    """A node of the aggregation tree by itself: weight, sums int64 (n,), the root of their tree, the node's hash."""

    weight: int
    sums: SumVector
    sums_root: bytes
    hash: bytes


def subtotal(updates: Iterable[CountedUpdate], height: int) -> Subtotal:
    """The node ``height`` levels above the leaves over at most 2^height updates. Raises as ``aggregation_tree``."""
    return fold(map(_leaf, updates), height)


def fold(nodes: Iterable[Subtotal], height: int) -> Subtotal:
    """The node ``height`` levels above at most 2^height ``nodes`` of one level; missing ones are empty.

    Raises:
        EncodingError: there are none.
        ShapeError: two vectors differ in length.
        RangeError: more nodes than that; or a weight W with W · 2^31 ≥ 2^63, so that a sum could overflow.
    """
    top = join(nodes, height)
    if top.weight << 31 >= 1 << 63:
        raise RangeError(f"the total weight {top.weight} lets sums leave int64; it must stay below 2^32")
    return top


def join(nodes: Iterable[Subtotal], height: int) -> Subtotal:
    """The same where another bound than their weight keeps sums within int64: any weight will do."""
    pending: list[tuple[int, Subtotal | None]] = []
    for node in nodes:
        _push(pending, 0, node)
    while pending and pending[-1][0] < height:
        _push(pending, pending[-1][0], None)
    if not pending or pending[0][1] is None:
        raise EncodingError("no accepted updates to aggregate; fail the round instead")
    if len(pending) > 1 or pending[0][0] > height:
        raise RangeError(f"more than {1 << height} nodes for a tree of height {height}")
    return pending[0][1]


def _push(pending: list[tuple[int, Subtotal | None]], level: int, node: Subtotal | None) -> None:
    for _ in push(pending, level, node, _parent):
        pass  # only the tops are wanted


def _leaf(update: CountedUpdate) -> Subtotal:
    weight, member = update.commitment.weight, update.commitment.member
    check_vector(f"update of {member}", update.vector, np.int32)
    if weight == 0:
        raise EncodingError(f"the weight of {member} is zero; leave it out")
    return leaf_subtotal(
        weight, np.int64(weight) * update.vector.astype(np.int64), update.commitment.digest()
    )


def leaf_subtotal(weight: int, values: SumVector, digest: bytes) -> Subtotal:
    """The leaf of one update, as ``aggregation.leaf_node`` makes it."""
    return _node(weight, values, AGGREGATION_LEAF, digest)


def _parent(left: Subtotal | None, right: Subtotal | None) -> Subtotal | None:
    children = [child for child in (left, right) if child is not None]
    if not children:
        return None
    hashes = b"".join(EMPTY if child is None else child.hash for child in (left, right))
    if len(children) == 1:  # its vector is its parent's, too
        only = children[0]
        head = only.weight.to_bytes(8) + only.sums_root
        return Subtotal(only.weight, only.sums, only.sums_root, keccak(AGGREGATION_NODE + head + hashes))
    one, other = children
    if one.sums.shape != other.sums.shape:
        raise ShapeError(f"updates of {one.sums.size} and of {other.sums.size} elements do not add up")
    return _node(one.weight + other.weight, one.sums + other.sums, AGGREGATION_NODE, hashes)


def _node(weight: int, sums: SumVector, domain: bytes, below: bytes) -> Subtotal:
    root = aggregate_root(sums)
    return Subtotal(weight, sums, root, keccak(domain + weight.to_bytes(8) + root + below))
