"""The three Merkle trees over whole vectors, built level by level.

Chunks of 64 elements are leaves, because a leaf per element would cost about sixty times the hashing.
The sums follow Merkle sum trees as used for proofs of liabilities (Chalkias et al. 2020, eprint 2020/468):
a node commits to the sums of both its children, so that no subtree can hide a sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedvm.encoding.context import UpdateContext
from fedvm.encoding.errors import RangeError, ShapeError
from fedvm.encoding.hashing import (
    AGGREGATE_LEAF,
    AGGREGATE_NODE,
    AGGREGATE_ROOT,
    CHUNK,
    EMPTY,
    MODEL_LEAF,
    MODEL_NODE,
    MODEL_ROOT,
    UPDATE_LEAF,
    UPDATE_NODE,
    chunk_count,
    chunk_length,
    plain_root,
    tree_height,
)
from fedvm.encoding.keccak import keccak
from fedvm.encoding.sums import Sums, chunk_sums, pair_sums, sums_to_bytes, to_integers
from fedvm.encoding.vector import IntVector, SumVector, check_vector


@dataclass(frozen=True)
class UpdateTree:
    """Merkle sum tree of one update: per level, leaves first, the node hashes and their Σd²."""

    context: bytes
    vector: IntVector
    hashes: tuple[list[bytes], ...]
    sums: tuple[list[int], ...]

    @property
    def root(self) -> bytes:
        """Hash of the top node, 32 bytes."""
        return self.hashes[-1][0]

    @property
    def sum_squares(self) -> int:
        """Σd² of the whole update."""
        return self.sums[-1][0]


@dataclass(frozen=True)
class PlainKind:
    """What tells a model tree from an aggregate tree: the domain bytes and the element dtype."""

    name: str
    leaf: bytes
    node: bytes
    root: bytes
    dtype: type[np.generic]

    @property
    def width(self) -> int:
        """Bytes per element."""
        return np.dtype(self.dtype).itemsize


MODEL = PlainKind("model", MODEL_LEAF, MODEL_NODE, MODEL_ROOT, np.int32)
AGGREGATE = PlainKind("aggregate", AGGREGATE_LEAF, AGGREGATE_NODE, AGGREGATE_ROOT, np.int64)


@dataclass(frozen=True)
class PlainTree:
    """Merkle tree of a model or an aggregate: per level, leaves first, the node hashes."""

    kind: PlainKind
    vector: IntVector | SumVector
    hashes: tuple[list[bytes], ...]

    @property
    def root(self) -> bytes:
        """The top hash bound to the element count, 32 bytes."""
        return plain_root(self.kind.root, self.vector.size, self.hashes[-1][0])


def update_tree(update: IntVector, context: UpdateContext) -> UpdateTree:
    """Commit to an update of shape (n,), int32, in its place.

    Raises:
        ShapeError: not such an array, or its length differs from ``context.elements``.
        EncodingError: ``context`` is malformed.
        RangeError: more than 2^32 chunks.
    """
    _check_size("update", update, np.int32)
    if update.size != context.elements:
        raise ShapeError(f"the update has {update.size} elements, its context says {context.elements}")
    digest = context.digest()
    level_sums = chunk_sums(update)
    leaves = _leaves(update, UPDATE_LEAF + digest, level_sums)
    width = 1 << tree_height(update.size)
    hashes = [_padded(leaves, width)]
    sums = [np.pad(level_sums, ((0, width - len(level_sums)), (0, 0)))]
    while len(hashes[-1]) > 1:
        hashes.append(_sum_level(hashes[-1], sums[-1]))
        sums.append(pair_sums(sums[-1]))
    return UpdateTree(digest, update, tuple(hashes), tuple(to_integers(level) for level in sums))


def model_tree(model: IntVector) -> PlainTree:
    """Commit to a model of shape (n,), int32; the same model has the same root everywhere.

    Raises:
        ShapeError: not such an array.
        RangeError: more than 2^32 chunks.
    """
    return _plain_tree(MODEL, model)


def aggregate_tree(sums: SumVector) -> PlainTree:
    """Commit to weighted sums of shape (n,), int64. Raises as :func:`model_tree`."""
    return _plain_tree(AGGREGATE, sums)


def model_root(model: IntVector) -> bytes:
    """Root of :func:`model_tree`, 32 bytes."""
    return model_tree(model).root


def aggregate_root(sums: SumVector) -> bytes:
    """Root of :func:`aggregate_tree`, 32 bytes."""
    return aggregate_tree(sums).root


def _plain_tree(kind: PlainKind, vector: IntVector | SumVector) -> PlainTree:
    _check_size(kind.name, vector, kind.dtype)
    leaves = _leaves(vector, kind.leaf)
    hashes = [_padded(leaves, 1 << tree_height(vector.size))]
    while len(hashes[-1]) > 1:
        below = iter(hashes[-1])
        hashes.append([keccak(kind.node + left + right) for left, right in zip(below, below, strict=True)])
    return PlainTree(kind, vector, tuple(hashes))


def _leaves(vector: IntVector | SumVector, prefix: bytes, sums: Sums | None = None) -> list[bytes]:
    """Hash of each chunk behind ``prefix ‖ index ‖ count``, and its sum if there are ``sums``."""
    chunks, whole = chunk_count(vector.size), vector.size // CHUNK
    data = np.frombuffer(vector.astype(vector.dtype.newbyteorder(">")).tobytes(), dtype=np.uint8)
    payload = len(prefix) + 8 + (0 if sums is None else 16)
    width = CHUNK * vector.dtype.itemsize
    # All messages as rows of one array, since putting each together in Python costs as much as its hash.
    rows = np.zeros((chunks, payload + width), dtype=np.uint8)
    rows[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    rows[:, len(prefix) : len(prefix) + 4] = np.arange(chunks, dtype=">u4").view(np.uint8).reshape(-1, 4)
    rows[:, len(prefix) + 4 : len(prefix) + 8] = np.frombuffer(CHUNK.to_bytes(4), dtype=np.uint8)
    if sums is not None:
        rows[:, payload - 16 : payload] = sums.astype(">u8").view(np.uint8).reshape(-1, 16)
    rows[:whole, payload:] = data[: whole * width].reshape(whole, width)
    messages, length = rows.data.cast("B"), payload + width
    leaves = [keccak(messages[at : at + length]) for at in range(0, whole * length, length)]
    if whole < chunks:
        rest = data[whole * width :]
        rows[whole, len(prefix) + 4 : len(prefix) + 8] = np.frombuffer(
            chunk_length(vector.size, whole).to_bytes(4), dtype=np.uint8
        )
        rows[whole, payload : payload + len(rest)] = rest
        leaves.append(keccak(messages[whole * length : whole * length + payload + len(rest)]))
    return leaves


def _padded(leaves: list[bytes], width: int) -> list[bytes]:
    return leaves + [EMPTY] * (width - len(leaves))


def _sum_level(hashes: list[bytes], sums: Sums) -> list[bytes]:
    children = map(bytes.__add__, hashes, sums_to_bytes(sums))
    return [keccak(UPDATE_NODE + left + right) for left, right in zip(children, children, strict=True)]


def _check_size(name: str, vector: NDArray[np.generic], dtype: type[np.generic]) -> None:
    check_vector(name, vector, dtype)
    if chunk_count(vector.size) > 1 << 32:
        raise RangeError(
            f"the {name} has {vector.size} elements; a tree holds at most 2^32 chunks of {CHUNK}"
        )
