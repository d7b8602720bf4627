"""Opens the two trees of a roll-up as the coordinator states them: down to the records and submissions, or to a
malformed node."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fedvm.audit.preimages import Preimages
from fedvm.audit.vector_walk import PreimagesMissing, question
from fedvm.chain.artifacts import ROLLUPS
from fedvm.chain.court import Evidence, Fraud
from fedvm.chain.disputes import Question
from fedvm.evm.keccak import keccak
from fedvm.protocol import CommitmentTree, Record
from fedvm.protocol.commitments import COMMITMENT_NODE
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.rollup import RECORD_BYTES, RECORD_LEAF, RECORD_NODE, RECORD_NODE_BYTES

Place = tuple[int, int]
"""Level above the leaves, and position within it."""


@dataclass(frozen=True)
class StatedRecord:
    """A record with its Merkle path. submission: the preimage of the record's submission hash, None if not known."""

    index: int
    record: Record
    siblings: tuple[bytes, ...]
    submission: bytes | None

    def as_tuple(self) -> tuple[int, tuple[Any, ...], list[bytes]]:
        """The contract's ``RecordProof``."""
        return self.index, self.record.as_tuple(), list(self.siblings)


@dataclass(frozen=True)
class OpenedRecords:
    """What is known of a roll-up's records: by index, and the questions for what is not known."""

    records: dict[int, StatedRecord]
    missing: tuple[Question, ...]


@dataclass
class _Tree:
    """A stated tree: the hashes seen so far. peak: its height if it is one of the mountain range, else None."""

    root: bytes
    height: int
    source: Preimages
    peak: int | None = None
    hashes: dict[Place, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hashes[self.height, 0] = self.root

    def open(self, place: Place) -> bytes | None:
        return self.source(self.hashes[place])

    def note_children(self, place: Place, preimage: bytes) -> tuple[Place, Place]:
        level, position = place
        left, right = (level - 1, 2 * position), (level - 1, 2 * position + 1)
        self.hashes[left], self.hashes[right] = preimage[1:33], preimage[33:]
        return left, right

    def siblings(self, place: Place) -> tuple[bytes, ...]:
        level, position = place
        return tuple(self.hashes[at, (position >> (at - level)) ^ 1] for at in range(level, self.height))

    def trail(self, place: Place) -> tuple[bytes, ...]:
        level, position = place
        above = ((at, position >> (at - level)) for at in range(self.height, level, -1))
        return tuple(preimage for one in above if (preimage := self.open(one)) is not None)

    def malformed(self, place: Place, preimage: bytes = b"") -> Evidence:
        hash_ = EMPTY if preimage else self.hashes[place]
        peak = 0 if self.peak is None else self.peak
        node = (self.peak is not None, peak, place[1], preimage, hash_, list(self.siblings(place)))
        return Evidence(Fraud.MALFORMED_ROLLUP, "proveMalformedRollup", (node,), ROLLUPS)


def open_records(root: bytes, count: int, source: Preimages) -> OpenedRecords | Evidence:
    """All that is known of the records under a ``recordsRoot`` (32 bytes) of ``count`` records, or a malformed node.

    Unknown preimages raise nothing, since a lie in the known part may be enough.
    """
    tree = _Tree(root, (count - 1).bit_length(), source)
    records: dict[int, StatedRecord] = {}
    missing: list[Question] = []
    pending: list[Place] = [(tree.height, 0)]
    while pending:
        place = level, position = pending.pop()
        if position << level >= count and tree.hashes[place] == _padding(level):
            continue
        if tree.hashes[place] == EMPTY or (level == 0 and position >= count):
            return tree.malformed(place)
        preimage = tree.open(place)
        if preimage is None:
            missing.append(question(tree.hashes[place], tree.trail(place), level + 1))
        elif level > 0:
            if len(preimage) != RECORD_NODE_BYTES or preimage[:1] != RECORD_NODE:
                return tree.malformed(place, preimage)
            pending += reversed(tree.note_children(place, preimage))
        elif len(preimage) != RECORD_BYTES or preimage[:1] != RECORD_LEAF:
            return tree.malformed(place, preimage)
        else:
            record = Record.parse(preimage)
            submission = source(record.submission)
            records[position] = StatedRecord(position, record, tree.siblings(place), submission)
            if submission is None and record.submission != EMPTY:
                missing.append(question(record.submission, (*tree.trail(place), preimage), 1))
    return OpenedRecords(records, tuple(missing))


@dataclass(frozen=True)
class StatedLeaf:
    """A leaf of the mountain range that is not the true one: its index among the updates that count."""

    index: int
    hash: bytes
    siblings: tuple[bytes, ...]


def differing_leaf(
    peaks: dict[int, bytes], true: CommitmentTree, source: Preimages
) -> StatedLeaf | Evidence | None:
    """Where a stated mountain range differs from ``true``, which has as many leaves; None if nowhere.

    peaks: height → hash. Raises PreimagesMissing.
    """
    first = 0
    for height, levels in true.peaks.items():
        tree = _Tree(peaks[height], height, source, peak=height)
        place: Place = (height, 0)
        if tree.root == true.peak(height):
            first += 1 << height
            continue
        while place[0] > 0:
            if tree.hashes[place] == EMPTY:
                return tree.malformed(place)
            preimage = tree.open(place)
            if preimage is None:
                raise PreimagesMissing([question(tree.hashes[place], tree.trail(place), place[0])])
            if len(preimage) != RECORD_NODE_BYTES or preimage[:1] != COMMITMENT_NODE:
                return tree.malformed(place, preimage)
            left, right = tree.note_children(place, preimage)
            place = right if tree.hashes[left] == levels[left[0]][left[1]] else left
        return StatedLeaf(first + place[1], tree.hashes[place], tree.siblings(place))
    return None


@cache
def _padding(level: int) -> bytes:
    """Hash of a node of the records' tree with nothing but padding below it."""
    if level == 0:
        return EMPTY
    below = _padding(level - 1)
    return keccak(RECORD_NODE + below + below)
