"""The trees of sealed rounds: over a masked vector, the commitments to its seeds, and a group's sum with its norm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedvm.evm.keccak import Rows, keccak
from fedvm.protocol.checks import check_bytes
from fedvm.protocol.errors import ProofError, RangeError
from fedvm.protocol.hashing import CHUNK, EMPTY, chunk_count, chunk_length, tree_height
from fedvm.protocol.proofs import Opening, Sibling
from fedvm.protocol.sealed.epoch import Group
from fedvm.protocol.sealed.masks import Lanes, to_bytes
from fedvm.protocol.trees import leaf_hashes, padded, parent_hashes
from fedvm.protocol.vector import SumVector
from fedvm.protocol.vector import to_bytes as int_bytes

MASKED_LEAF, MASKED_NODE = b"\x33", b"\x34"
SEED, SEED_NODE = b"\x38", b"\x39"
NORM_LEAF, NORM_NODE, NORM_ROOT = b"\x3d", b"\x3e", b"\x3f"
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class MaskedTree:
    """Tree of a masked vector of k bytes a lane: per level, leaves first, the nodes' hashes uint8 (nodes, 32)."""

    context: bytes
    lanes: Lanes
    lane_bytes: int
    levels: tuple[Rows, ...]

    @property
    def root(self) -> bytes:
        """``maskedRoot``, 32 bytes: the top as it stands, since the context binds the number of elements."""
        return self.levels[-1].tobytes()

    def open(self, index: int) -> Opening:
        """Open chunk ``index``. Raises RangeError if there is no such chunk."""
        payload = to_bytes(_chunk(self.lanes, index), self.lane_bytes)
        return Opening(index, payload, tuple(Sibling(found) for found in _beside(self.levels, index)))

    def preimages(self) -> Iterator[bytes]:
        """Preimages of all nodes and leaves, each after what it lies below."""
        yield from node_preimages(MASKED_NODE, self.levels)
        for index in range(chunk_count(self.lanes.size)):
            payload = to_bytes(_chunk(self.lanes, index), self.lane_bytes)
            yield masked_leaf(self.context, index, payload, self.lane_bytes)


def masked_leaf(context: bytes, index: int, payload: bytes, lane_bytes: int) -> bytes:
    """Preimage of a leaf; ``payload`` is the chunk's lanes, big-endian."""
    count = (len(payload) // lane_bytes).to_bytes(4)
    return MASKED_LEAF + context + index.to_bytes(4) + count + lane_bytes.to_bytes(1) + payload


def masked_tree(lanes: Lanes, lane_bytes: int, context: bytes) -> MaskedTree:
    """Commit to a masked vector (n,). context: of the update's place and n, 32 bytes.

    Raises:
        EncodingError: a lane does not fit k bytes.
    """
    levels = _masked_levels(to_bytes(lanes, lane_bytes), lane_bytes, context)
    return MaskedTree(context, lanes, lane_bytes, levels)


def masked_root(vector: bytes, lane_bytes: int, context: bytes) -> bytes:
    """``maskedRoot`` of a masked vector in its stored form, k bytes a lane (`masks.to_bytes`): 32 bytes."""
    return _masked_levels(vector, lane_bytes, context)[-1].tobytes()


def verify_masked(opening: Opening, root: bytes, context: bytes, elements: int, lane_bytes: int) -> None:
    """Check that the opening leads to a masked vector's root.

    Raises:
        ProofError: index, length, number of siblings or a hash is wrong.
    """
    if not 0 <= opening.index < chunk_count(elements):
        raise ProofError(f"chunk {opening.index} lies outside a vector of {elements} elements")
    if len(opening.payload) != lane_bytes * chunk_length(elements, opening.index):
        raise ProofError(
            f"chunk {opening.index} holds {len(opening.payload)} bytes; that is no chunk of this vector"
        )
    if len(opening.siblings) != tree_height(elements):
        raise ProofError(f"the opening has {len(opening.siblings)} siblings, not {tree_height(elements)}")
    node = keccak(masked_leaf(context, opening.index, opening.payload, lane_bytes))
    if _climb(MASKED_NODE, node, opening) != root:
        raise ProofError(f"chunk {opening.index} does not lead to masked root 0x{root.hex()}")


def seed_commitment(context: bytes, rank: int, seed: bytes) -> bytes:
    """Hash of 0x38 ‖ context:32 ‖ rank:u8 ‖ seed:32: the commitment to the seed that is shared with a rank."""
    return keccak(SEED + context + rank.to_bytes(1) + check_bytes("seed", seed, 32))


@dataclass(frozen=True)
class SeedsTree:
    """Tree over a member's commitments by rank, zero where nobody is ready: levels of hashes, leaves first."""

    levels: tuple[Rows, ...]

    @property
    def root(self) -> bytes:
        """``seedsRoot``, 32 bytes."""
        return self.levels[-1].tobytes()

    def siblings(self, rank: int) -> tuple[bytes, ...]:
        """Hashes beside the path from the commitment of a rank up. Raises RangeError if there is none."""
        if not 0 <= rank < len(self.levels[0]):
            raise RangeError(f"there is no commitment of rank {rank}")
        return _beside(self.levels, rank)

    def siblings_of_all(self, ranks: Iterable[int]) -> tuple[bytes, ...]:
        """Hashes beside the paths from the commitments of some ranks up that lie on none of them: level by level, in
        the order of their positions. Raises RangeError if there is no commitment of a rank."""
        on_path = set(ranks)
        if not all(0 <= rank < len(self.levels[0]) for rank in on_path):
            raise RangeError(f"there are no commitments of all ranks {sorted(on_path)}")
        beside: list[bytes] = []
        for level in self.levels[:-1]:
            beside += (level[at ^ 1].tobytes() for at in sorted(on_path) if at ^ 1 not in on_path)
            on_path = {at >> 1 for at in on_path}
        return tuple(beside)

    def preimages(self) -> Iterator[bytes]:
        """Preimages of all inner nodes; those of the leaves are secret until their seeds are revealed."""
        return node_preimages(SEED_NODE, self.levels)


def seeds_tree(group: Group, commitments: Mapping[int, bytes]) -> SeedsTree:
    """The tree over commitments of 32 bytes by rank, one of each ready member of the group."""
    leaves = np.zeros((len(group.members), 32), dtype=np.uint8)
    for rank in group.ready:
        leaves[rank] = np.frombuffer(check_bytes("commitment", commitments[rank], 32), dtype=np.uint8)
    return SeedsTree(_levels(SEED_NODE, leaves, group.height))


def stated_seeds_tree(leaves: Sequence[bytes]) -> SeedsTree:
    """The tree over a power of two of leaves as they were signed, 32 bytes each, whatever they are."""
    rows = np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(-1, 32)
    return SeedsTree(_levels(SEED_NODE, rows, tree_height(len(leaves) * CHUNK)))


@dataclass(frozen=True)
class NormTree:
    """Sum tree over a group's sum, int64 (n,): levels, leaves first, of (hash, Σ S²), which may pass 128 bits."""

    values: SumVector
    levels: tuple[tuple[tuple[bytes, int], ...], ...]

    @property
    def top(self) -> bytes:
        """Hash of the top, 32 bytes."""
        return self.levels[-1][0][0]

    @property
    def squares(self) -> int:
        """Σ S² of the whole vector."""
        return self.levels[-1][0][1]

    @property
    def root_preimage(self) -> bytes:
        """0x3f ‖ squares:u256 ‖ top:32, 65 bytes."""
        return NORM_ROOT + self.squares.to_bytes(32) + self.top

    @cached_property
    def root(self) -> bytes:
        """Its hash, 32 bytes: what the group's node names."""
        return keccak(self.root_preimage)

    def open(self, index: int) -> Opening:
        """Open chunk ``index``. Raises RangeError if there is no such chunk."""
        payload = int_bytes(_chunk(self.values, index))
        beside = (level[(index >> height) ^ 1] for height, level in enumerate(self.levels[:-1]))
        return Opening(index, payload, tuple(Sibling(*one) for one in beside))

    def preimages(self) -> Iterator[bytes]:
        """Preimages of the root and of all nodes and leaves, each after what it lies below."""
        yield self.root_preimage
        for level in reversed(self.levels[:-1]):
            below = iter(level)
            for left, right in zip(below, below, strict=True):
                yield norm_node(left, right)
        for index in range(chunk_count(self.values.size)):
            yield norm_leaf(index, self.levels[0][index][1], int_bytes(_chunk(self.values, index)))


def norm_leaf(index: int, squares: int, payload: bytes) -> bytes:
    """Preimage of a leaf; ``payload`` is the chunk's big-endian int64."""
    return NORM_LEAF + index.to_bytes(4) + (len(payload) // 8).to_bytes(4) + squares.to_bytes(32) + payload


def norm_node(left: tuple[bytes, int], right: tuple[bytes, int]) -> bytes:
    """Preimage of an inner node; its own sum is that of both sides."""
    return NORM_NODE + left[0] + left[1].to_bytes(32) + right[0] + right[1].to_bytes(32)


def norm_tree(values: SumVector) -> NormTree:
    """Commit to a group's sum, int64 (n,), with the sum of its squares."""
    squares = _chunk_squares(values)
    extra = np.frombuffer(b"".join(one.to_bytes(32) for one in squares), dtype=np.uint8).reshape(-1, 32)
    hashes = leaf_hashes(int_bytes(values), 8, NORM_LEAF, extra)
    level = [(row.tobytes(), one) for row, one in zip(hashes, squares, strict=True)]
    level += [(EMPTY, 0)] * ((1 << tree_height(values.size)) - len(level))
    levels = [tuple(level)]
    while len(levels[-1]) > 1:
        below = iter(levels[-1])
        pairs = zip(below, below, strict=True)
        levels.append(tuple((keccak(norm_node(a, b)), a[1] + b[1]) for a, b in pairs))
    return NormTree(values, tuple(levels))


def node_preimages(domain: bytes, levels: tuple[Rows, ...]) -> Iterator[bytes]:
    """Preimages of the inner nodes of a tree, the top first."""
    for level in reversed(levels[:-1]):
        for pair in level.reshape(-1, 64):
            yield domain + pair.tobytes()


def _chunk_squares(values: SumVector) -> list[int]:
    """Σ S² of each chunk, exact for any int64: squares of 32-bit halves, so that no partial sum leaves 64 bits."""
    whole = np.zeros(chunk_count(values.size) * CHUNK, dtype=np.uint64)
    # The size of −2^63 is 2^63, which uint64 holds: negation wraps to itself and is read as unsigned.
    whole[: values.size] = np.where(values < 0, np.negative(values), values).view(np.uint64)
    half = np.uint64(32)
    high, low = (whole >> half).reshape(-1, CHUNK), (whole & np.uint64(0xFFFFFFFF)).reshape(-1, CHUNK)
    terms = []
    for left, right in ((high, high), (high, low), (low, low)):
        product = left * right
        parts = [
            part.sum(axis=1, dtype=np.uint64).tolist()
            for part in (product >> half, product & np.uint64(0xFFFFFFFF))
        ]
        terms.append([(top << 32) + bottom for top, bottom in zip(*parts, strict=True)])
    return [(a << 64) + (b << 33) + c for a, b, c in zip(*terms, strict=True)]


def _masked_levels(vector: bytes, lane_bytes: int, context: bytes) -> tuple[Rows, ...]:
    elements = len(vector) // lane_bytes
    width = np.full((chunk_count(elements), 1), lane_bytes, dtype=np.uint8)
    prefix = MASKED_LEAF + check_bytes("context", context, 32)
    return _levels(MASKED_NODE, leaf_hashes(vector, lane_bytes, prefix, width), tree_height(elements))


def _levels(domain: bytes, leaves: Rows, height: int) -> tuple[Rows, ...]:
    levels = [padded(leaves, 1 << height)]
    while len(levels[-1]) > 1:
        levels.append(parent_hashes(domain, levels[-1]))
    return tuple(levels)


def _beside(levels: tuple[Rows, ...], index: int) -> tuple[bytes, ...]:
    return tuple(level[(index >> height) ^ 1].tobytes() for height, level in enumerate(levels[:-1]))


def _climb(domain: bytes, node: bytes, opening: Opening) -> bytes:
    for level, sibling in enumerate(opening.siblings):
        pair = sibling.hash + node if opening.index >> level & 1 else node + sibling.hash
        node = keccak(domain + pair)
    return node


def _chunk(vector: NDArray[Number], index: int) -> NDArray[Number]:
    chunks = chunk_count(vector.size)
    if not 0 <= index < chunks:
        raise RangeError(f"there is no chunk {index}; the vector has {chunks}")
    return vector[index * CHUNK : (index + 1) * CHUNK]
