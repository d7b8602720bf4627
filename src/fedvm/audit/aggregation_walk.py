"""Finds the lie in a stated aggregation tree: a node that does not follow from its children or its update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedvm.audit.vector_walk import MalformedNode, MalformedRoot, StatedChunk, Trail, differing_chunk
from fedvm.chain.court import Evidence, Fraud
from fedvm.protocol import (
    AggregationNode,
    AggregationStep,
    AggregationTree,
    Commitment,
    CommitmentTree,
    PlainTree,
    UpdateTree,
    open_plain,
    open_update,
)
from fedvm.protocol.aggregation import (
    AGGREGATION_LEAF,
    AGGREGATION_NODE,
    HEAD_BYTES,
    LEAF_BYTES,
    NODE_BYTES,
)
from fedvm.protocol.hashing import EMPTY

_NO_HOLDER: tuple[int, bytes, list[Any]] = (0, b"", [])


@dataclass(frozen=True)
class StatedNode:
    """A node as the coordinator states it: its place, the preimage of its hash, the path to the top."""

    level: int
    position: int
    preimage: bytes
    path: tuple[AggregationStep, ...]

    @property
    def head(self) -> tuple[int, bytes]:
        """The weight and the sums' root it states."""
        return int.from_bytes(self.preimage[1:9]), self.preimage[9:HEAD_BYTES]

    @property
    def is_well_formed(self) -> bool:
        """Whether it is a leaf or a node, as its level demands."""
        length, kind = (NODE_BYTES, AGGREGATION_NODE) if self.level else (LEAF_BYTES, AGGREGATION_LEAF)
        return len(self.preimage) == length and self.preimage[:1] == kind

    @property
    def children(self) -> tuple[bytes, bytes]:
        """Hashes of its children."""
        return self.preimage[41:73], self.preimage[73:]

    def child_path(self, side: int) -> tuple[AggregationStep, ...]:
        """Path to the top of its left (0) or right (1) child."""
        return AggregationStep(self.children[1 - side], *self.head), *self.path

    def as_tuple(self) -> tuple[int, bytes, list[Any]]:
        """The contract's ``AggregationNode``."""
        return self.position, self.preimage, [step.as_tuple() for step in self.path]


@dataclass(frozen=True)
class TrueAggregation:
    """What the tree must be: the commitments in order, their peaks, the updates' trees and the tree itself."""

    commitments: Sequence[Commitment]
    peaks: CommitmentTree
    updates: Sequence[UpdateTree]
    tree: AggregationTree


def aggregation_fraud(trail: Trail, stated_root: bytes, true: TrueAggregation) -> Evidence:
    """Evidence against an aggregation tree whose top is not the true one. Raises PreimagesMissing."""
    tree = true.tree
    level, position, stated = tree.height, 0, stated_root
    path: tuple[AggregationStep, ...] = ()
    while True:
        if stated == EMPTY:
            return wrong_node(StatedNode(level, position, b"", path))
        preimage, trail = trail.open(stated, level + 1)
        node = StatedNode(level, position, preimage, path)
        is_beyond = position << level >= len(true.updates)
        if is_beyond or not node.is_well_formed or node.head[1] == EMPTY:
            return wrong_node(node)
        if level == 0:
            return _leaf_fraud(trail, node, true)
        expected = [tree.hash_at(level - 1, 2 * position + side) for side in (0, 1)]
        if node.children == (expected[0], expected[1]):
            return _node_fraud(trail, node, tree)
        side = int(node.children[0] == expected[0])
        path, stated = node.child_path(side), node.children[side]
        level, position = level - 1, 2 * position + side


def wrong_node(node: StatedNode, left: bytes = b"", right: bytes = b"") -> Evidence:
    """A node that is wrong by its form, place, weight or, at the top, against the round."""
    return Evidence(Fraud.WRONG_NODE, "proveWrongNode", (node.as_tuple(), left, right))


def wrong_leaf(node: StatedNode, accepted: tuple[Any, ...]) -> Evidence:
    """A leaf that states another update than was accepted at its place (its `commitment_proof`)."""
    return Evidence(Fraud.WRONG_LEAF, "proveWrongLeaf", (node.as_tuple(), accepted))


def commitment_proof(
    commitments: Sequence[Commitment], peaks: CommitmentTree, index: int
) -> tuple[int, tuple[Any, ...], list[bytes]]:
    """The contract's ``CommitmentProof`` of accepted update number ``index``."""
    return index, commitments[index].as_tuple(), list(peaks.siblings(index))


def malformed_vector(found: MalformedNode | MalformedRoot, holder: StatedNode | None) -> Evidence:
    """A malformed vector: the model's, or that of a node of the aggregation tree."""
    place = (holder is None, _NO_HOLDER if holder is None else holder.as_tuple())
    if isinstance(found, MalformedRoot):
        return Evidence(Fraud.MALFORMED_VECTOR, "proveMalformedRoot", (place, found.preimage))
    return Evidence(Fraud.MALFORMED_VECTOR, "proveMalformedVector", (place, found.as_tuple()))


def chunk_of(tree: PlainTree, index: int) -> tuple[bytes, list[bytes]]:
    """The contract's ``Chunk`` of a vector whose tree is at hand."""
    opening = open_plain(tree, index)
    return opening.payload, [sibling.hash for sibling in opening.siblings]


def _leaf_fraud(trail: Trail, node: StatedNode, true: TrueAggregation) -> Evidence:
    leaf, update = true.tree.levels[0][node.position], true.updates[node.position]
    assert leaf is not None  # of every update
    commitment = true.commitments[node.position]
    if node.head[0] != commitment.weight or node.preimage[41:] != commitment.digest():
        return wrong_leaf(node, commitment_proof(true.commitments, true.peaks, node.position))
    found = differing_chunk(trail, node.head[1], leaf.sums)
    if not isinstance(found, StatedChunk):
        return malformed_vector(found, node)
    opening = open_update(update, found.index)
    siblings = [(sibling.hash, sibling.sum_squares) for sibling in opening.siblings]
    arguments = (
        node.as_tuple(),
        commitment.as_tuple(),
        found.index,
        opening.payload,
        siblings,
        found.as_tuple(),
    )
    return Evidence(Fraud.WRONG_PRODUCT, "proveWrongProduct", arguments)


def _node_fraud(trail: Trail, node: StatedNode, tree: AggregationTree) -> Evidence:
    true = tree.levels[node.level][node.position]
    assert true is not None  # an update lies below
    below = tree.levels[node.level - 1]
    left, right = below[2 * node.position], below[2 * node.position + 1]
    weight, sums = node.head
    if weight != true.weight:
        return wrong_node(node, _preimage(left), _preimage(right))
    found = differing_chunk(trail, sums, true.sums)
    if not isinstance(found, StatedChunk):
        return malformed_vector(found, node)
    arguments = (
        node.as_tuple(),
        _preimage(left),
        _preimage(right),
        found.index,
        found.as_tuple(),
        _chunk_of_child(left, found.index),
        _chunk_of_child(right, found.index),
    )
    return Evidence(Fraud.WRONG_SUM, "proveWrongSum", arguments)


def _preimage(node: AggregationNode | None) -> bytes:
    return b"" if node is None else node.preimage


def _chunk_of_child(node: AggregationNode | None, index: int) -> tuple[bytes, list[bytes]]:
    return (b"", []) if node is None else chunk_of(node.sums, index)
