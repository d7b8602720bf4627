"""Opens a member's update if the published data are not the signed data: down to the signed data, or to a false
node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedvm.audit.vector_walk import Asked, PreimagesMissing, Trail
from fedvm.protocol import CHUNK, UpdateTree, int32_from_bytes, sum_squares
from fedvm.protocol.hashing import EMPTY, UPDATE_LEAF, UPDATE_NODE, chunk_count, chunk_length
from fedvm.protocol.vector import IntVector


@dataclass(frozen=True)
class BadNode:
    """A node of a signed update that does not follow; ``hash`` counts when there is no preimage."""

    position: int
    preimage: bytes
    hash: bytes
    sum_squares: int
    siblings: tuple[tuple[bytes, int], ...]

    def as_tuple(self) -> tuple[Any, ...]:
        """The contract's ``UpdateNode``."""
        return self.position, self.preimage, self.hash, self.sum_squares, list(self.siblings)


@dataclass(frozen=True)
class _Place:
    level: int
    position: int
    hash: bytes
    sum_squares: int
    siblings: tuple[tuple[bytes, int], ...]

    def bad(self, preimage: bytes) -> BadNode:
        return BadNode(self.position, preimage, self.hash, self.sum_squares, self.siblings)


def signed_update(trail: Trail, root: bytes, total: int, guess: UpdateTree) -> IntVector | BadNode:
    """The vector (n,), int32, that was signed as (root, total Σd²), or the topmost node that is wrong.

    guess: the tree over the data that are at hand; what it shares with the signed tree is not opened.
    Raises PreimagesMissing with all that is missing, if nothing that is known is wrong.
    """
    vector, missing = guess.vector.copy(), list[Asked]()
    pending = [(_Place(len(guess.hashes) - 1, 0, root, total, ()), trail)]
    while pending:
        place, above = pending.pop()
        guessed = guess.hashes[place.level][place.position], guess.sums[place.level][place.position]
        if (place.hash, place.sum_squares) == guessed:
            continue
        if place.hash == EMPTY or (place.level == 0 and place.position >= chunk_count(vector.size)):
            return place.bad(b"")
        if place.hash == guessed[0]:  # the same node under another sum: its preimage is at hand
            return place.bad(_preimage(guess, place))
        try:
            preimage, below = above.open(place.hash, place.level + 1)
        except PreimagesMissing as one:
            missing += one.questions
            continue
        if place.level == 0:
            values = _values_of(guess, place, preimage)
            if values is None:
                return place.bad(preimage)
            vector[place.position * CHUNK : place.position * CHUNK + values.size] = values
            continue
        children = _children_of(place, preimage)
        if children is None:
            return place.bad(preimage)
        pending += [(child, below) for child in children]
    if missing:
        raise PreimagesMissing(missing)
    return vector


def _children_of(place: _Place, preimage: bytes) -> tuple[_Place, _Place] | None:
    if len(preimage) != 97 or preimage[:1] != UPDATE_NODE:
        return None
    left = preimage[1:33], int.from_bytes(preimage[33:49])
    right = preimage[49:81], int.from_bytes(preimage[81:])
    if left[1] + right[1] != place.sum_squares:
        return None
    level, position = place.level - 1, 2 * place.position
    return (
        _Place(level, position, *left, (right, *place.siblings)),
        _Place(level, position + 1, *right, (left, *place.siblings)),
    )


def _values_of(guess: UpdateTree, place: _Place, preimage: bytes) -> IntVector | None:
    count = chunk_length(guess.vector.size, place.position)
    header = UPDATE_LEAF + guess.context + place.position.to_bytes(4) + count.to_bytes(4)
    if len(preimage) != 57 + 4 * count or preimage[:57] != header + place.sum_squares.to_bytes(16):
        return None
    values = int32_from_bytes(preimage[57:], count)
    return values if sum_squares(values) == place.sum_squares else None


def _preimage(guess: UpdateTree, place: _Place) -> bytes:
    if place.level == 0:
        from_ = place.position * CHUNK
        values = guess.vector[from_ : from_ + CHUNK]
        header = UPDATE_LEAF + guess.context + place.position.to_bytes(4) + values.size.to_bytes(4)
        return header + guess.sums[0][place.position].to_bytes(16) + values.astype(">i4").tobytes()
    hashes, sums = guess.hashes[place.level - 1], guess.sums[place.level - 1]
    at = 2 * place.position
    left = hashes[at] + sums[at].to_bytes(16)
    return UPDATE_NODE + left + hashes[at + 1] + sums[at + 1].to_bytes(16)
