"""Finds the lie in the aggregation tree of a sealed round: a node that does not follow from its children, or a leaf
that does not follow from a masked update."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedvm.audit.norm_walk import differing_squares, squares_at
from fedvm.audit.preimages import first_known
from fedvm.audit.sealed_case import SealedCase
from fedvm.audit.sealed_submissions import Submitted
from fedvm.audit.vector_walk import MalformedNode, MalformedRoot, StatedChunk, Trail, differing_chunk
from fedvm.chain import sealed_proofs as proofs
from fedvm.chain.court import Evidence
from fedvm.chain.sealed_proofs import LaneProof, NormNode, Reading, TreeNode, VectorNode
from fedvm.protocol import open_plain
from fedvm.protocol.aggregation import (
    AGGREGATION_LEAF,
    AGGREGATION_NODE,
    HEAD_BYTES,
    LEAF_BYTES,
    NODE_BYTES,
    AggregationNode,
    AggregationStep,
)
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.preimages import by_hash
from fedvm.protocol.proofs import Opening, Sibling
from fedvm.protocol.sealed.aggregation import GROUP_NODE, GROUP_NODE_BYTES, GroupNode, SealedTree
from fedvm.protocol.sealed.trees import NORM_ROOT

_LANES_A_BLOCK, _SUM_BYTES = 8, 8
_NORM_ROOT_BYTES = 65


@dataclass(frozen=True)
class TrueSums:
    """What the aggregation must be, and the updates that it follows from, by index."""

    case: SealedCase
    submitted: tuple[Submitted, ...]
    tree: SealedTree

    @property
    def group_level(self) -> int:
        """Level of the groups' nodes."""
        return self.case.height + 1

    @property
    def top_level(self) -> int:
        """Level of the top."""
        return self.group_level + self.tree.upper.height

    def at(self, level: int, position: int) -> AggregationNode | None:
        """The node at a place, None where none must be."""
        if level >= self.group_level:
            return self.tree.upper.levels[level - self.group_level][position]
        group, within = divmod(position, 1 << (self.case.height - level))
        return self.tree.lower[group].levels[level][within] if group < len(self.tree.lower) else None

    def below(self, level: int, position: int) -> tuple[AggregationNode | None, ...]:
        """The children of a node above the leaves: two, or a group's only one."""
        if level == self.group_level:
            return (self.at(level - 1, position),)
        return self.at(level - 1, 2 * position), self.at(level - 1, 2 * position + 1)


@dataclass(frozen=True)
class _Stated:
    """A node as the coordinator states it."""

    level: int
    node: TreeNode

    @property
    def head(self) -> tuple[int, bytes]:
        """The weight and the sums' root it states."""
        return int.from_bytes(self.node.preimage[1:9]), self.node.preimage[9:HEAD_BYTES]

    def is_well_formed(self, group_level: int) -> bool:
        """Whether it has the form of its level, and states sums, a group's node squares, too."""
        forms = {0: (LEAF_BYTES, AGGREGATION_LEAF), group_level: (GROUP_NODE_BYTES, GROUP_NODE)}
        length, kind = forms.get(self.level, (NODE_BYTES, AGGREGATION_NODE))
        preimage = self.node.preimage
        if len(preimage) != length or preimage[:1] != kind or self.head[1] == EMPTY:
            return False
        return self.level != group_level or self.norm != EMPTY

    @property
    def children(self) -> tuple[bytes, bytes]:
        """Hashes of its children; of a group's node, of its child and its norm."""
        return self.node.preimage[41:73], self.node.preimage[73:]

    @property
    def norm(self) -> bytes:
        """Of a group's node: root of the squares."""
        return self.children[1]


def aggregation_fraud(trail: Trail, true: TrueSums) -> Evidence:
    """Evidence against an aggregation tree whose top is not the true one. Raises PreimagesMissing."""
    case, level, position = true.case, true.top_level, 0
    stated, path = case.round.aggregation_root, tuple[AggregationStep, ...]()
    while True:
        if stated == EMPTY:
            return proofs.wrong_node(case.shape, TreeNode(position, b"", path))
        preimage, trail = trail.open(stated, level + 1)
        node = _Stated(level, TreeNode(position, preimage, path))
        is_beyond = true.at(level, position) is None
        if is_beyond or not node.is_well_formed(true.group_level) or _is_false_top(node, case):
            return proofs.wrong_node(case.shape, node.node)
        if level == 0:
            return _leaf_fraud(trail, node, true)
        below = true.below(level, position)
        differing = [
            side
            for side, one in enumerate(below)
            if node.children[side] != (EMPTY if one is None else one.hash)
        ]
        if not differing:
            return _node_fraud(trail, node, true)
        side = differing[0]
        path = (AggregationStep(node.children[1 - side], *node.head), *path)
        stated = node.children[side]
        position = position if level == true.group_level else 2 * position + side
        level -= 1


def _is_false_top(node: _Stated, case: SealedCase) -> bool:
    return not node.node.path and node.head != (case.round.total_weight, case.round.aggregate_root)


def false_top(true: TrueSums) -> Evidence | None:
    """Evidence against a proposal over the true tree that states another sum or weight; None if it does not."""
    node = _Stated(true.top_level, TreeNode(0, true.tree.top.preimage, ()))
    return proofs.wrong_node(true.case.shape, node.node) if _is_false_top(node, true.case) else None


def norm_fraud(true: TrueSums) -> Evidence | None:
    """Evidence against a true tree that holds a group whose sum is beyond its bound; None if none is."""
    terms = true.case.terms
    for number, node in enumerate(true.tree.group_nodes):
        squares, bound = node.norm.squares, terms.rules.max_sum_squares
        if not terms.sealed.norm_allows(squares, node.weight, node.included, bound):
            stated = TreeNode(number, node.preimage, true.tree.path(number))
            return proofs.wrong_norm(true.case.shape, stated, node.norm.root_preimage)
    return None


def malformed_vector(found: MalformedNode | MalformedRoot, holder: TreeNode | None) -> Evidence:
    """A malformed vector: the model's, or that of a node of the aggregation tree."""
    if isinstance(found, MalformedRoot):
        return proofs.malformed_root(holder, found.preimage)
    node = VectorNode(found.position, found.preimage, found.siblings, found.hash)
    return proofs.malformed_vector(holder, node)


def opening_of(chunk: StatedChunk) -> Opening:
    """A stated chunk as proofs open it."""
    return Opening(chunk.index, chunk.values, tuple(Sibling(one) for one in chunk.siblings))


def _leaf_fraud(trail: Trail, stated: _Stated, true: TrueSums) -> Evidence:
    case, node = true.case, stated.node
    group_rank, position = divmod(node.position, 1 << case.height)
    index = case.index_at(group_rank, position)
    submitted, spot = true.submitted[index], case.spots[index]
    record, seat = submitted.stated.record, submitted.stated.seat
    if stated.head[0] != record.weight or node.preimage[41:] != record.digest():
        return proofs.wrong_leaf(case.shape, node, seat)
    leaf = true.at(0, node.position)
    assert leaf is not None
    found = differing_chunk(trail, stated.head[1], leaf.sums)
    if not isinstance(found, StatedChunk):
        return malformed_vector(found, node)
    expected, step = open_plain(leaf.sums, found.index).payload, _LANES_A_BLOCK * _SUM_BYTES
    starts = range(0, len(expected), step)
    block = next(at // step for at in starts if found.values[at : at + step] != expected[at : at + step])
    seeds = submitted.opened_seeds(spot.rank, spot.group.absent)
    masked = submitted.masked.open(found.index)
    return proofs.wrong_lane(case.shape, seat, LaneProof(node, block, masked, opening_of(found), seeds))


def _node_fraud(trail: Trail, stated: _Stated, true: TrueSums) -> Evidence:
    """What is wrong with a node whose children are the true ones."""
    case, node = true.case, stated.node
    expected, below = true.at(stated.level, node.position), true.below(stated.level, node.position)
    assert expected is not None
    left, right = (b"" if one is None else one.preimage for one in (*below, None)[:2])
    if stated.head[0] != expected.weight:
        return proofs.wrong_node(case.shape, node, left, right)
    if isinstance(expected, GroupNode):
        return _group_fraud(case, trail, stated, (expected, below[0]))
    found = differing_chunk(trail, stated.head[1], expected.sums)
    if not isinstance(found, StatedChunk):
        return malformed_vector(found, node)
    chunks = [None if one is None else open_plain(one.sums, found.index) for one in below]
    assert chunks[0] is not None  # the left one of two is never the empty one
    return proofs.wrong_sum(node, (left, right), opening_of(found), chunks[0], chunks[1])


def _group_fraud(
    case: SealedCase, trail: Trail, stated: _Stated, true: tuple[GroupNode, AggregationNode | None]
) -> Evidence:
    """true: the group's node as it must be, and its child."""
    expected, child = true
    assert child is not None
    node, norm = stated.node, expected.norm
    known = first_known(by_hash(norm.preimages()).get, trail.source)
    trail = replace(trail, source=known)
    root, below = trail.open(stated.norm, len(norm.levels) + 1)
    if len(root) != _NORM_ROOT_BYTES or root[:1] != NORM_ROOT:
        return proofs.wrong_norm(case.shape, node, root)
    signed: Opening | None = None
    if stated.head[1] != expected.sums.root:
        found = differing_chunk(trail, stated.head[1], expected.sums)
        if not isinstance(found, StatedChunk):
            return malformed_vector(found, node)
        signed = opening_of(found)
        squares = squares_at(below, root, found.index, norm)
    else:
        squares = differing_squares(below, root, norm)
    if isinstance(squares, NormNode):
        return proofs.wrong_squares(node, root, squares)
    signed = signed or open_plain(expected.sums, squares.index)
    reading = Reading(open_plain(child.sums, squares.index), signed, squares)
    return proofs.wrong_reading(node, child.preimage, root, reading)
