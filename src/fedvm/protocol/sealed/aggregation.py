"""The aggregation tree of a sealed round: below, each counting group adds masked vectors; above, their sums are added.

A leaf commits to a vector that is still masked towards the other included members of its group, a node below to a plain
sum, and a group's node to that sum modulo 2^(8k) read as signed, in which the masks have cancelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from fedvm.protocol.aggregation import (
    AggregationNode,
    AggregationStep,
    AggregationTree,
    leaf_node,
    node_head,
    tree_over,
)
from fedvm.protocol.errors import EncodingError, RangeError, ShapeError
from fedvm.protocol.sealed.masks import read_signed
from fedvm.protocol.sealed.trees import NormTree, norm_tree
from fedvm.protocol.trees import aggregate_tree
from fedvm.protocol.vector import SumVector, check_vector

GROUP_NODE, GROUP_NODE_BYTES = b"\x3c", 105


@dataclass(frozen=True)
class UnmaskedUpdate:
    """An included update of a counting group: its weight, its vector without the revealed masks, int64 (n,) with each
    lane in [0, 2^(8k)), and the hash of its record, 32 bytes."""

    weight: int
    values: SumVector
    record: bytes


@dataclass(frozen=True)
class GroupNode(AggregationNode):
    """The node of a counting group: 0x3c ‖ weight:u64 ‖ sums:32 ‖ child:32 ‖ norm:32. sums: of the signed reading;
    norm: the tree with its Σ S²; included: how many members it adds."""

    norm: NormTree
    included: int


@dataclass(frozen=True)
class SealedTree:
    """lower: per counting group the tree over its updates. upper: the tree over the groups' nodes."""

    lower: tuple[AggregationTree, ...]
    upper: AggregationTree

    @property
    def top(self) -> AggregationNode:
        """The node that states W and S."""
        return self.upper.top

    @property
    def root(self) -> bytes:
        """Its hash, 32 bytes: the ``aggregationRoot`` of a proposal."""
        return self.upper.root

    @property
    def group_nodes(self) -> tuple[GroupNode, ...]:
        """The nodes of the counting groups, in their order."""
        return tuple(node for node in self.upper.levels[0] if isinstance(node, GroupNode))

    def path(self, group: int) -> tuple[AggregationStep, ...]:
        """The Merkle path from a group's node to the top. group: among counting groups.

        Raises:
            RangeError: there is no such group.
        """
        if not 0 <= group < len(self.lower):
            raise RangeError(f"there is no counting group {group}; there are {len(self.lower)}")
        return self.upper.path(group)

    def nodes(self) -> Iterator[AggregationNode]:
        """All nodes that are not empty, leaves first."""
        return chain(*(tree.nodes() for tree in self.lower), self.upper.nodes())


def sealed_tree(groups: Sequence[Sequence[UnmaskedUpdate]], height: int, lane_bytes: int) -> SealedTree:
    """Add up the counting groups in their order, the updates of each in the order of their places. height: of groups.

    Raises:
        EncodingError: there are no groups or one is empty, or an update has weight zero.
        ShapeError: a vector is not int64 of shape (n,), the same n for all.
        RangeError: a lane is outside [0, 2^(8k)), or a group has more than 2^height members.
    """
    if not groups:
        raise EncodingError("no group counts; fail the round instead")
    lower = []
    for updates in groups:
        check_updates(updates, height, lane_bytes)
        leaves = [leaf_node(one.weight, one.values, one.record) for one in updates]
        lower.append(tree_over(leaves, height))
    if len({updates[0].values.size for updates in groups}) > 1:
        raise ShapeError("the groups' updates have different numbers of elements")
    nodes = [
        group_node(tree.top, lane_bytes, len(updates)) for tree, updates in zip(lower, groups, strict=True)
    ]
    return SealedTree(tuple(lower), tree_over(nodes, (len(nodes) - 1).bit_length()))


def group_node(child: AggregationNode, lane_bytes: int, included: int) -> GroupNode:
    """The node of a group over the top of its tree."""
    values = read_signed(child.sums.vector.astype(np.int64), lane_bytes)
    sums, norm = aggregate_tree(values), norm_tree(values)
    preimage = GROUP_NODE + node_head(child.weight, sums) + child.hash + norm.root
    return GroupNode(child.weight, sums, preimage, norm, included)


def check_updates(updates: Sequence[UnmaskedUpdate], height: int, lane_bytes: int) -> None:
    """Check the updates of one counting group. Raises as :func:`sealed_tree`."""
    if not updates:
        raise EncodingError("a counting group has no included member; leave it out")
    if len(updates) > 1 << height:
        raise RangeError(f"a group has {len(updates)} included members; its tree holds {1 << height}")
    for one in updates:
        check_vector("update", one.values, np.int64)
        if one.values.shape != updates[0].values.shape:
            raise ShapeError(
                f"updates of {updates[0].values.size} and of {one.values.size} elements do not add up"
            )
        if one.values.min() < 0 or int(one.values.max()) >> 8 * lane_bytes:
            raise RangeError(f"a lane of an update lies outside 0 to 2^{8 * lane_bytes} − 1")
        if one.weight == 0:
            raise EncodingError("the weight of an update is zero; leave it out")
