"""Finds where a stated vector differs from the true one, by opening hashes from the root down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedvm.audit.preimages import Preimages
from fedvm.chain.disputes import Question
from fedvm.chain.sealed_disputes import SeedQuestion
from fedvm.protocol import PlainTree
from fedvm.protocol.hashing import EMPTY, chunk_count, chunk_length
from fedvm.protocol.security import QUESTION_LEVELS

Asked = Question | SeedQuestion


class PreimagesMissing(Exception):
    """Preimages of hashes in the proposal are not known: the questions that would open them."""

    def __init__(self, questions: Sequence[Asked]) -> None:
        self.questions = tuple(questions)
        super().__init__(f"the preimage of 0x{self.questions[0].wanted.hex()} is withheld")


def question(wanted: bytes, trail: tuple[bytes, ...], depth: int) -> Question:
    """The question that opens a hash with ``depth`` levels from it to the leaves: no wider than that its walk takes as
    few questions as it must."""
    walks = -(-depth // QUESTION_LEVELS)
    return Question(wanted, trail, -(-depth // walks))


@dataclass(frozen=True)
class Trail:
    """Opens hashes from the root down, and remembers the path."""

    source: Preimages
    opened: tuple[bytes, ...] = ()

    def open(self, wanted: bytes, depth: int) -> tuple[bytes, Trail]:
        """The preimage of a hash and the trail below it. depth: levels from the hash to its tree's leaves, both
        included. Raises PreimagesMissing."""
        preimage = self.source(wanted)
        if preimage is None:
            raise PreimagesMissing([question(wanted, self.opened, depth)])
        return preimage, replace(self, opened=(*self.opened, preimage))


@dataclass(frozen=True)
class StatedChunk:
    """A well-formed chunk that differs: its index, its values as bytes, siblings from the leaf up."""

    index: int
    values: bytes
    siblings: tuple[bytes, ...]

    def as_tuple(self) -> tuple[bytes, list[bytes]]:
        """The contract's ``Chunk``."""
        return self.values, list(self.siblings)


@dataclass(frozen=True)
class MalformedNode:
    """A node without the form that its place demands; ``hash`` counts when there is no preimage."""

    position: int
    preimage: bytes
    hash: bytes
    siblings: tuple[bytes, ...]

    def as_tuple(self) -> tuple[int, bytes, bytes, list[bytes]]:
        """The contract's ``VectorNode``."""
        return self.position, self.preimage, self.hash, list(self.siblings)


@dataclass(frozen=True)
class MalformedRoot:
    """The preimage of a root that does not state kind and number of elements."""

    preimage: bytes


def differing_chunk(
    trail: Trail, root: bytes, true: PlainTree
) -> StatedChunk | MalformedNode | MalformedRoot:
    """Where the vector with the stated ``root`` differs from ``true``, whose root is another.

    Raises PreimagesMissing.
    """
    kind, size = true.kind, true.vector.size
    preimage, trail = trail.open(root, len(true.hashes) + 1)
    if len(preimage) != 41 or preimage[:9] != kind.root + size.to_bytes(8):
        return MalformedRoot(preimage)
    siblings: tuple[bytes, ...] = ()
    stated, position = preimage[9:], 0
    if stated == EMPTY:
        return MalformedNode(0, b"", EMPTY, ())
    for level in reversed(range(len(true.hashes) - 1)):
        preimage, trail = trail.open(stated, level + 2)
        if len(preimage) != 65 or preimage[:1] != kind.node:
            return MalformedNode(position, preimage, EMPTY, siblings)
        children = preimage[1:33], preimage[33:]
        side = int(children[0] == true.hashes[level][2 * position])
        stated, position = children[side], 2 * position + side
        siblings = (children[1 - side], *siblings)
        if stated == EMPTY:  # it differs from the true hash, so it is no padding; nodes never have 0
            return MalformedNode(position, b"", EMPTY, siblings)
    if position >= chunk_count(size):
        return MalformedNode(position, b"", stated, siblings)
    preimage, _ = trail.open(stated, 1)
    count = chunk_length(size, position)
    header = kind.leaf + position.to_bytes(4) + count.to_bytes(4)
    if len(preimage) != 9 + count * kind.width or preimage[:9] != header:
        return MalformedNode(position, preimage, EMPTY, siblings)
    return StatedChunk(position, preimage[9:], siblings)
