"""The aggregation tree of a sealed round as a coordinator may state it: any node can be another than follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedvm.chain.sealed_proofs import TreeNode
from fedvm.protocol.aggregation import AggregationNode, AggregationStep, leaf_node, parent_node
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate, group_node
from fedvm.protocol.trees import PlainTree, aggregate_tree

Node = AggregationNode | None
Forge = Mapping[tuple[int, int], Callable[[Node], Node]]


@dataclass(frozen=True)
class StatedTree:
    """Levels of nodes, leaves first. height: of the groups' trees; their nodes stand at the level above."""

    levels: tuple[tuple[Node, ...], ...]
    height: int

    @classmethod
    def build(
        cls,
        groups: Sequence[Sequence[UnmaskedUpdate]],
        height: int,
        lane_bytes: int,
        forge: Forge | None = None,
    ) -> StatedTree:
        """forge: by level and position, makes another node of the one that follows from what was stated below."""
        width = 1 << (len(groups) - 1).bit_length()
        leaves: list[Node] = [None] * (width << height)
        for at, updates in enumerate(groups):
            for rank, one in enumerate(updates):
                leaves[(at << height) + rank] = leaf_node(one.weight, one.values, one.record)
        sizes = [len(updates) for updates in groups] + [0] * (width - len(groups))
        levels: list[tuple[Node, ...]] = []
        level = leaves
        while True:
            number = len(levels)
            forged = [
                (forge or {}).get((number, at), lambda node: node)(node) for at, node in enumerate(level)
            ]
            levels.append(tuple(forged))
            if number == height:
                level = [
                    None if node is None else group_node(node, lane_bytes, size)
                    for node, size in zip(forged, sizes, strict=True)
                ]
            elif len(forged) == 1:
                return cls(tuple(levels), height)
            else:
                pairs = iter(forged)
                level = [parent_node(left, right) for left, right in zip(pairs, pairs, strict=True)]

    @property
    def top(self) -> AggregationNode:
        node = self.levels[-1][0]
        assert node is not None
        return node

    def at(self, level: int, position: int) -> AggregationNode:
        node = self.levels[level][position]
        assert node is not None
        return node

    def preimage(self, level: int, position: int) -> bytes:
        node = self.levels[level][position]
        return b"" if node is None else node.preimage

    def node(self, level: int, position: int) -> TreeNode:
        """A node and its path, as a proof opens it."""
        path, at = [], position
        for below, above in enumerate(self.levels[level + 1 :], start=level):
            if below == self.height:
                parent = above[at]
                assert parent is not None
                sibling = parent.preimage[73:105]
            else:
                beside = self.levels[below][at ^ 1]
                sibling = bytes(32) if beside is None else beside.hash
                at >>= 1
                parent = above[at]
                assert parent is not None
            head = parent.preimage
            path.append(AggregationStep(sibling, int.from_bytes(head[1:9]), head[9:41]))
        return TreeNode(position, self.preimage(level, position), tuple(path))


def heavier(node: Node) -> Node:
    """The node with one more of weight."""
    assert node is not None
    weight = node.weight + 1
    return replace(node, weight=weight, preimage=node.preimage[:1] + weight.to_bytes(8) + node.preimage[9:])


def with_preimage(change: Callable[[bytes], bytes]) -> Callable[[Node], Node]:
    """The node with another preimage."""

    def forge(node: Node) -> Node:
        assert node is not None
        return replace(node, preimage=change(node.preimage))

    return forge


def with_sums(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Node], Node]:
    """The node with other sums, int64 (n,)."""

    def forge(node: Node) -> Node:
        assert node is not None
        sums: PlainTree = aggregate_tree(change(node.sums.vector.astype(np.int64).copy()))
        return replace(node, sums=sums, preimage=node.preimage[:9] + sums.root + node.preimage[41:])

    return forge


def one_more(at: int) -> Callable[[np.ndarray], np.ndarray]:
    """A vector with one more at an index."""

    def change(vector: np.ndarray) -> np.ndarray:
        vector[at] += 1
        return vector

    return change
