"""Proofs against the proposals of a sealed federation: what each opens, as the contracts take it.

Every function returns `Evidence`, which the contract that it names judges (`Court.prove`). They build and check nothing
themselves: of what was stated, well-formed or not, they take the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fedvm.chain.artifacts import SEALED_COURT, SEALED_DISPUTES, SEALED_ROUNDS
from fedvm.chain.court import Evidence, Fraud
from fedvm.chain.epochs import RosterProof
from fedvm.protocol.aggregation import AggregationStep
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.proofs import Opening
from fedvm.protocol.sealed.records import SealedRecord, SealedSubmission

ChunkTuple = tuple[bytes, list[bytes]]
_NO_CHUNK: Final[ChunkTuple] = (b"", [])


@dataclass(frozen=True)
class GroupShape:
    """The bitmaps that decide the shape of a round: of places that are ready and included, of groups that count."""

    ready: bytes
    included: bytes
    counting: bytes

    def as_tuple(self) -> tuple[bytes, bytes, bytes]:
        """The contract's ``GroupShape``."""
        return self.ready, self.included, self.counting


@dataclass(frozen=True)
class Seat:
    """A record in the round's range, at an index, with the siblings of its path (32 bytes each), and its submission."""

    index: int
    record: SealedRecord
    siblings: tuple[bytes, ...]
    submission: SealedSubmission

    def as_tuple(self) -> tuple[Any, ...]:
        """The contract's ``Seat``."""
        one = self.submission
        submitted = one.member, one.masked.as_tuple(), one.signature
        return self.index, self.record.as_tuple(), list(self.siblings), submitted


@dataclass(frozen=True)
class TreeNode:
    """A node of the aggregation tree as it was stated: the preimage of its hash, empty for an empty node, and the path
    to the top. Of a step to a group's node the sibling is the hash of its ``norm``."""

    position: int
    preimage: bytes
    path: tuple[AggregationStep, ...]

    def as_tuple(self) -> tuple[int, bytes, list[Any]]:
        """The contract's ``AggregationNode``."""
        return self.position, self.preimage, [step.as_tuple() for step in self.path]


@dataclass(frozen=True)
class RangeNode:
    """A preimage below the peak of a height in the range over the records, empty for a hash of 0. siblings: of its
    path, 32 bytes each."""

    peak: int
    position: int
    preimage: bytes
    siblings: tuple[bytes, ...]

    def as_tuple(self) -> tuple[int, int, bytes, list[bytes]]:
        """The contract's ``RangeNode``."""
        return self.peak, self.position, self.preimage, list(self.siblings)


@dataclass(frozen=True)
class SubmittedNode:
    """A node of the tree over a masked vector, or over seed commitments, as it was stated. preimage: empty where only
    the hash is known. siblings: of its path, 32 bytes each; its level follows from their number."""

    of_seeds: bool
    position: int
    preimage: bytes
    siblings: tuple[bytes, ...]
    hash: bytes = EMPTY

    def as_tuple(self) -> tuple[bool, int, bytes, bytes, list[bytes]]:
        """The contract's ``SubmittedNode``."""
        return self.of_seeds, self.position, self.preimage, self.hash, list(self.siblings)


@dataclass(frozen=True)
class RevealedSeeds:
    """The seeds of a member's masks that do not cancel in its group's sum, its own among them, by rank of whom it
    shares them with; and the hashes beside the paths from their commitments up (`SeedsTree.siblings_of_all`); 32 bytes
    each.
    """

    seeds: tuple[bytes, ...]
    siblings: tuple[bytes, ...]


@dataclass(frozen=True)
class LaneProof:
    """Block number ``block``, 0 to 7, of a chunk: its eight lanes in the masked vector and in the leaf's."""

    leaf: TreeNode
    block: int
    masked: Opening
    sums: Opening
    revealed: RevealedSeeds

    def as_tuple(self) -> tuple[Any, ...]:
        """The contract's ``LaneProof``."""
        chunks = _chunk(self.masked), _chunk(self.sums)
        return (
            self.leaf.as_tuple(),
            self.masked.index,
            self.block,
            *chunks,
            list(self.revealed.seeds),
            list(self.revealed.siblings),
        )


@dataclass(frozen=True)
class Reading:
    """A chunk of a group's sum: as its members' vectors add up, as read with signs, and in the tree of squares."""

    sums: Opening
    signed: Opening
    squares: Opening

    def as_tuple(self) -> tuple[Any, ...]:
        """The contract's ``Reading``."""
        chunks = _chunk(self.sums), _chunk(self.signed)
        siblings = [(sibling.hash, sibling.sum_squares) for sibling in self.squares.siblings]
        return self.sums.index, *chunks, self.squares.payload, siblings


@dataclass(frozen=True)
class NormNode:
    """A node of a tree of squares as it was stated. preimage: empty where only the hash is known. siblings: (hash,
    Σ S²) beside its path; its level follows from their number."""

    position: int
    preimage: bytes
    squares: int
    siblings: tuple[tuple[bytes, int], ...]
    hash: bytes = EMPTY

    def as_tuple(self) -> tuple[Any, ...]:
        """The contract's ``NormProof``."""
        return self.position, self.preimage, self.hash, self.squares, list(self.siblings)


@dataclass(frozen=True)
class VectorNode:
    """A node of a vector's tree as it was stated; as `SubmittedNode`."""

    position: int
    preimage: bytes
    siblings: tuple[bytes, ...]
    hash: bytes = EMPTY

    def as_tuple(self) -> tuple[int, bytes, bytes, list[bytes]]:
        """The contract's ``VectorNode``."""
        return self.position, self.preimage, self.hash, list(self.siblings)


def wrong_record(shape: GroupShape, seat: Seat, roster: RosterProof) -> Evidence:
    """A record has another place or weight than it should, or its submission is none that counts at its place.

    roster: of the member at the place that the bitmaps give.
    """
    arguments = shape.as_tuple(), seat.as_tuple(), roster.as_tuple()
    return Evidence(Fraud.WRONG_RECORD, "proveWrongRecord", arguments, SEALED_ROUNDS)


def malformed_range(node: RangeNode, submission: bytes = b"") -> Evidence:
    """A node, record or submission below a peak has not the form of its place. submission: the preimage of one that a
    well-formed record names, if that is what is wrong."""
    arguments = node.as_tuple(), submission
    return Evidence(Fraud.MALFORMED_ROLLUP, "proveMalformedRange", arguments, SEALED_ROUNDS)


def malformed_submission(shape: GroupShape, seat: Seat, node: SubmittedNode) -> Evidence:
    """A node of a member's masked vector, or of its seed commitments, has not the form of its place."""
    arguments = shape.as_tuple(), seat.as_tuple(), node.as_tuple()
    return Evidence(Fraud.BAD_UPDATE, "proveMalformedSubmission", arguments, SEALED_COURT)


def wrong_lane(shape: GroupShape, seat: Seat, proof: LaneProof) -> Evidence:
    """Eight lanes of a leaf are not those of the masked update without the masks that were revealed."""
    arguments = shape.as_tuple(), seat.as_tuple(), proof.as_tuple()
    return Evidence(Fraud.WRONG_PRODUCT, "proveWrongLane", arguments, SEALED_COURT)


def wrong_reading(group: TreeNode, child: bytes, norm: bytes, reading: Reading) -> Evidence:
    """A chunk of a group's sum is not its child's, read with signs, or not that whose squares are stated. child, norm:
    preimages of what the group's node names."""
    arguments = group.as_tuple(), child, norm, reading.as_tuple()
    return Evidence(Fraud.WRONG_SUM, "proveWrongReading", arguments, SEALED_COURT)


def wrong_norm(shape: GroupShape, group: TreeNode, norm: bytes) -> Evidence:
    """A group counts whose squares are beyond its bound, or whose root of squares (``norm``) is malformed."""
    arguments = shape.as_tuple(), group.as_tuple(), norm
    return Evidence(Fraud.WRONG_NODE, "proveWrongNorm", arguments, SEALED_COURT)


def wrong_squares(group: TreeNode, norm: bytes, node: NormNode) -> Evidence:
    """A node of the tree of a group's squares has a wrong form or sum."""
    arguments = group.as_tuple(), norm, node.as_tuple()
    return Evidence(Fraud.MALFORMED_VECTOR, "proveWrongSquares", arguments, SEALED_COURT)


def wrong_node(shape: GroupShape, node: TreeNode, left: bytes = b"", right: bytes = b"") -> Evidence:
    """A node of the aggregation tree is wrong by its form, place, weight or, at the top, against the round. left,
    right: its children's preimages; of a group's node left is its only child."""
    arguments = shape.as_tuple(), node.as_tuple(), left, right
    return Evidence(Fraud.WRONG_NODE, "proveWrongNode", arguments, SEALED_COURT)


def wrong_leaf(shape: GroupShape, leaf: TreeNode, seat: Seat) -> Evidence:
    """A leaf of the aggregation tree states another record or weight than stands at its place."""
    arguments = shape.as_tuple(), leaf.as_tuple(), seat.as_tuple()
    return Evidence(Fraud.WRONG_LEAF, "proveWrongLeaf", arguments, SEALED_COURT)


def wrong_sum(
    node: TreeNode, children: tuple[bytes, bytes], sums: Opening, left: Opening, right: Opening | None
) -> Evidence:
    """A node's sums are wrong at one chunk. children: their preimages, the right one empty where there is none; left,
    right: the chunk of their sums."""
    chunks = _chunk(sums), _chunk(left), _NO_CHUNK if right is None else _chunk(right)
    arguments = node.as_tuple(), *children, sums.index, *chunks
    return Evidence(Fraud.WRONG_SUM, "proveWrongSum", arguments, SEALED_DISPUTES)


def wrong_mean(base: Opening, sums: Opening, model: Opening) -> Evidence:
    """The new model is not base + floor(S / W) at one chunk."""
    arguments = base.index, _chunk(base), _chunk(sums), _chunk(model)
    return Evidence(Fraud.WRONG_MEAN, "proveWrongMean", arguments, SEALED_DISPUTES)


def malformed_vector(holder: TreeNode | None, node: VectorNode) -> Evidence:
    """A node of a vector's tree has not the form of its place. holder: whose sums they are; None: the new model."""
    arguments = _vector_place(holder), node.as_tuple()
    return Evidence(Fraud.MALFORMED_VECTOR, "proveMalformedVector", arguments, SEALED_DISPUTES)


def malformed_root(holder: TreeNode | None, preimage: bytes) -> Evidence:
    """The root of a vector is the hash of something else than kind, number of elements and top. holder: as before."""
    arguments = _vector_place(holder), preimage
    return Evidence(Fraud.MALFORMED_VECTOR, "proveMalformedRoot", arguments, SEALED_DISPUTES)


def not_sealed() -> Evidence:
    """The round took updates that are not sealed."""
    return Evidence(Fraud.BAD_UPDATE, "proveNotSealed", (), SEALED_DISPUTES)


def _chunk(opening: Opening) -> ChunkTuple:
    return opening.payload, [sibling.hash for sibling in opening.siblings]


def _vector_place(holder: TreeNode | None) -> tuple[bool, tuple[int, bytes, list[Any]]]:
    return (True, (0, b"", [])) if holder is None else (False, holder.as_tuple())
