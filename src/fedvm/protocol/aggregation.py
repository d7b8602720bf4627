"""The aggregation tree of a round, in which every lie about the sum has a small proof.

A leaf commits to w·d of one update, a node to the sum of its two children's vectors, each by the root of the vector's
tree. So if a sum is wrong, there is a node and a chunk in it that does not follow from the node's children.

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from fedvm.evm.keccak import keccak
from fedvm.protocol.commitments import Commitment
from fedvm.protocol.errors import EncodingError, RangeError, ShapeError
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.trees import PlainTree, aggregate_tree
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.protocol.vector import IntVector, SumVector, check_vector

AGGREGATION_LEAF, AGGREGATION_NODE = b"\x08", b"\x09"
LEAF_BYTES, NODE_BYTES, HEAD_BYTES = 73, 105, 41
Node = TypeVar("Node")


@dataclass(frozen=True)
class CountedUpdate:
    """An accepted update that counts: its commitment, its int32 vector (n,), and the loss that its member attests, in
    millionths, which only some rules look at."""

    commitment: Commitment
    vector: IntVector
    loss_micros: int = NOT_ATTESTED_LOSS

    @property
    def member(self) -> str:
        """The member whose update it is (hex address)."""
        return self.commitment.member

    @property
    def weight(self) -> int:
        """The weight that the contract gave it."""
        return self.commitment.weight


@dataclass(frozen=True)
class AggregationNode:
    """A node that is not empty: its weight, the tree of its int64 sums (n,), and the preimage of its hash."""

    weight: int
    sums: PlainTree
    preimage: bytes

    @cached_property
    def hash(self) -> bytes:
        """keccak of the preimage, 32 bytes."""
        return keccak(self.preimage)


@dataclass(frozen=True)
class AggregationStep:
    """One step of a path upward: the sibling's hash, and the weight and the sums' root that the parent states."""

    sibling: bytes
    weight: int
    sums: bytes

    def as_tuple(self) -> tuple[bytes, int, bytes]:
        """The fields in the struct's order, as web3 takes a struct."""
        return self.sibling, self.weight, self.sums


@dataclass(frozen=True)
class AggregationTree:
    """Levels of nodes, leaves first, padded to a power of two; None for a node below which no update lies."""

    levels: tuple[tuple[AggregationNode | None, ...], ...]

    @property
    def top(self) -> AggregationNode:
        """The node that states W and S."""
        top = self.levels[-1][0]
        assert top is not None
        return top

    @property
    def root(self) -> bytes:
        """Its hash, 32 bytes: the ``aggregationRoot`` of a proposal."""
        return self.top.hash

    @property
    def height(self) -> int:
        """Levels above the leaves."""
        return len(self.levels) - 1

    def hash_at(self, level: int, position: int) -> bytes:
        """Hash of a node; zeros for an empty one."""
        node = self.levels[level][position]
        return EMPTY if node is None else node.hash

    def path(self, position: int) -> tuple[AggregationStep, ...]:
        """The Merkle path from a leaf to the top. Raises RangeError if no update lies at that position."""
        if not 0 <= position < len(self.levels[0]) or self.levels[0][position] is None:
            raise RangeError(f"no update lies at position {position}")
        steps = []
        for level, above in enumerate(self.levels[1:]):
            sibling = self.hash_at(level, (position >> level) ^ 1)
            node = above[position >> (level + 1)]
            assert node is not None  # it stands above a leaf that is not empty
            steps.append(AggregationStep(sibling, node.weight, node.sums.root))
        return tuple(steps)

    def nodes(self) -> Iterator[AggregationNode]:
        """All nodes that are not empty, leaves first."""
        return (node for level in self.levels for node in level if node is not None)


def aggregation_tree(updates: Sequence[CountedUpdate]) -> AggregationTree:
    """Add up the accepted updates of a round, in the order of their acceptance.

    Raises:
        EncodingError: there are no updates, or one has weight zero.
        ShapeError: a vector is not int32 of shape (n,), the same n for all.
        RangeError: W · 2^31 ≥ 2^63, so that a sum could overflow.
    """
    if not updates:
        raise EncodingError("no accepted updates to aggregate; fail the round instead")
    _check(updates)
    return tree_over([_leaf(update) for update in updates], (len(updates) - 1).bit_length())


def tree_over(nodes: Sequence[AggregationNode], height: int) -> AggregationTree:
    """The tree of a height whose lowest nodes are these, at most 2^height, and empty ones behind them."""
    levels: list[tuple[AggregationNode | None, ...]] = [(*nodes, *[None] * ((1 << height) - len(nodes)))]
    while len(levels[-1]) > 1:
        below = iter(levels[-1])
        levels.append(tuple(parent_node(left, right) for left, right in zip(below, below, strict=True)))
    return AggregationTree(tuple(levels))


def aggregation_nodes(updates: Iterable[CountedUpdate]) -> Iterator[AggregationNode]:
    """The nodes of the same tree, children before their parents, with at most one node per level in memory. The updates
    are as for :func:`aggregation_tree`, but are not checked.
    """
    return (node for node in _made(updates) if node is not None)


def _made(updates: Iterable[CountedUpdate]) -> Iterator[AggregationNode | None]:
    pending: list[tuple[int, AggregationNode | None]] = []
    for update in updates:
        yield from push(pending, 0, _leaf(update), parent_node)
    while len(pending) > 1:
        yield from push(pending, pending[-1][0], None, parent_node)


def push(
    pending: list[tuple[int, Node | None]],
    level: int,
    node: Node | None,
    parent: Callable[[Node | None, Node | None], Node | None],
) -> Iterator[Node | None]:
    """Add a node to those that wait for their sibling; yield it and every parent that this completes. pending: the tops
    of perfect trees with their levels, in descending order, like the bits of a binary counter; it is changed while the
    result is read. None stands for an empty node.
    """
    pending.append((level, node))
    yield node
    while len(pending) > 1 and pending[-2][0] == pending[-1][0]:
        level, right = pending.pop()
        _, left = pending.pop()
        above = parent(left, right)
        pending.append((level + 1, above))
        yield above


def _leaf(update: CountedUpdate) -> AggregationNode:
    weight = update.commitment.weight
    return leaf_node(weight, np.int64(weight) * update.vector.astype(np.int64), update.commitment.digest())


def leaf_node(weight: int, values: SumVector, digest: bytes) -> AggregationNode:
    """The leaf of one update. values: what it adds, int64 (n,). digest: hash of what the round's range holds of it, 32
    bytes."""
    sums = aggregate_tree(values)
    return AggregationNode(weight, sums, AGGREGATION_LEAF + node_head(weight, sums) + digest)


def parent_node(left: AggregationNode | None, right: AggregationNode | None) -> AggregationNode | None:
    """The node above two neighbours; None stands for an empty node."""
    children = [child for child in (left, right) if child is not None]
    if not children:
        return None
    weight = sum(child.weight for child in children)
    # An only child's vector is its parent's, too.
    sums = children[0].sums if len(children) == 1 else aggregate_tree(_added(children))
    hashes = b"".join(EMPTY if child is None else child.hash for child in (left, right))
    return AggregationNode(weight, sums, AGGREGATION_NODE + node_head(weight, sums) + hashes)


def _added(children: Sequence[AggregationNode]) -> SumVector:
    added: SumVector = children[0].sums.vector.astype(np.int64) + children[1].sums.vector
    return added


def node_head(weight: int, sums: PlainTree) -> bytes:
    """What every node states: weight:u64 ‖ root of its sums:32, 40 bytes."""
    return weight.to_bytes(8) + sums.root


def _check(counted: Sequence[CountedUpdate]) -> None:
    size = counted[0].vector.size
    for update in counted:
        member = update.commitment.member
        check_vector(f"update of {member}", update.vector, np.int32)
        if update.vector.size != size:
            raise ShapeError(f"the update of {member} has {update.vector.size} elements, others {size}")
        if update.commitment.weight == 0:
            raise EncodingError(f"the weight of {member} is zero; leave it out")
    total = sum(update.commitment.weight for update in counted)
    if total << 31 >= 1 << 63:
        raise RangeError(f"the total weight {total} lets sums leave int64; it must stay below 2^32")
