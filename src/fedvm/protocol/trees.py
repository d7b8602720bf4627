"""The three Merkle trees over whole vectors, built level by level.

Chunks of 64 elements are leaves, because a leaf per element would cost about sixty times the hashing.
The sums follow Merkle sum trees as used for proofs of liabilities (Chalkias et al. 2020, eprint 2020/468):
a node commits to the sums of both its children, so that no subtree can hide a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedvm.evm.keccak import Rows, keccak_rows
from fedvm.protocol.errors import RangeError
from fedvm.protocol.hashing import (
    AGGREGATE_LEAF,
    AGGREGATE_NODE,
    AGGREGATE_ROOT,
    CHUNK,
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
from fedvm.protocol.place import Place
from fedvm.protocol.sums import Sums, chunk_sums, pair_sums, to_integers
from fedvm.protocol.sums import to_bytes as sum_rows
from fedvm.protocol.vector import IntVector, SumVector, check_vector, to_bytes

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class UpdateTree:
    """Merkle sum tree of one update: per level, leaves first, the nodes' hashes uint8 (nodes, 32) and their Σd²."""

    context: bytes
    vector: IntVector
    levels: tuple[Rows, ...]
    level_sums: tuple[Sums, ...]

    @cached_property
    def hashes(self) -> tuple[list[bytes], ...]:
        """The hashes one by one, per level."""
        return _one_by_one(self.levels)

    @cached_property
    def sums(self) -> tuple[list[int], ...]:
        """Their Σd² as integers, per level."""
        return tuple(to_integers(level) for level in self.level_sums)

    @property
    def root(self) -> bytes:
        """Hash of the top node, 32 bytes."""
        return self.levels[-1].tobytes()

    @property
    def sum_squares(self) -> int:
        """Σd² of the whole update."""
        return to_integers(self.level_sums[-1])[0]


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
    """Merkle tree of a model or an aggregate: per level, leaves first, the nodes' hashes uint8 (nodes, 32)."""

    kind: PlainKind
    vector: IntVector | SumVector
    levels: tuple[Rows, ...]

    @cached_property
    def hashes(self) -> tuple[list[bytes], ...]:
        """The hashes one by one, per level."""
        return _one_by_one(self.levels)

    @property
    def root(self) -> bytes:
        """The top hash bound to the element count, 32 bytes."""
        return plain_root(self.kind.root, self.vector.size, self.levels[-1].tobytes())


def update_tree(update: IntVector, place: Place) -> UpdateTree:
    """Commit to an update of shape (n,), int32, in its place.

    Raises:
        ShapeError: not such an array.
        EncodingError: ``place`` is malformed.
        RangeError: more than 2^32 chunks.
    """
    _check_size("update", update, np.int32)
    context = place.context(update.size)
    level_sums = chunk_sums(update)
    leaves = leaf_hashes(to_bytes(update), 4, UPDATE_LEAF + context, sum_rows(level_sums))
    width = 1 << tree_height(update.size)
    levels = [padded(leaves, width)]
    sums = [padded(level_sums, width)]
    while len(levels[-1]) > 1:
        children = np.concatenate([levels[-1], sum_rows(sums[-1])], axis=1)
        levels.append(parent_hashes(UPDATE_NODE, children))
        sums.append(pair_sums(sums[-1]))
    return UpdateTree(context, update, tuple(levels), tuple(sums))


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
    leaves = leaf_hashes(to_bytes(vector), kind.width, kind.leaf)
    levels = [padded(leaves, 1 << tree_height(vector.size))]
    while len(levels[-1]) > 1:
        levels.append(parent_hashes(kind.node, levels[-1]))
    return PlainTree(kind, vector, tuple(levels))


def leaf_hashes(data: bytes, width: int, prefix: bytes, extra: Rows | None = None) -> Rows:
    """Hash of each chunk of a vector, uint8 (chunks, 32): of ``prefix ‖ index ‖ count ‖ extra ‖ elements``.

    data: the elements, big-endian, ``width`` bytes each. extra: what stands before the elements, uint8 (chunks, bytes).
    """
    elements = len(data) // width
    chunks, rest = chunk_count(elements), chunk_length(elements, chunk_count(elements) - 1)
    payload = len(prefix) + 8 + (0 if extra is None else extra.shape[1])
    values = np.frombuffer(data, dtype=np.uint8)
    # All messages as rows of one array, since putting each together in Python costs more than its hash.
    rows = np.empty((chunks, payload + CHUNK * width), dtype=np.uint8)
    rows[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    rows[:, len(prefix) : len(prefix) + 4] = np.arange(chunks, dtype=">u4").view(np.uint8).reshape(-1, 4)
    rows[:, len(prefix) + 4 : len(prefix) + 8] = np.frombuffer(CHUNK.to_bytes(4), dtype=np.uint8)
    rows[-1, len(prefix) + 4 : len(prefix) + 8] = np.frombuffer(rest.to_bytes(4), dtype=np.uint8)
    if extra is not None:
        rows[:, len(prefix) + 8 : payload] = extra
    rows[:-1, payload:] = values[: (chunks - 1) * CHUNK * width].reshape(-1, CHUNK * width)
    rows[-1, payload : payload + rest * width] = values[(chunks - 1) * CHUNK * width :]
    if rest == CHUNK:
        return keccak_rows(rows)
    return np.concatenate([keccak_rows(rows[:-1]), keccak_rows(rows[-1:, : payload + rest * width])])


def parent_hashes(domain: bytes, children: Rows) -> Rows:
    """The level above, uint8 (nodes / 2, 32): each two neighbours behind the domain's byte."""
    rows = np.empty((len(children) // 2, 1 + 2 * children.shape[1]), dtype=np.uint8)
    rows[:, 0] = domain[0]
    rows[:, 1:] = children.reshape(len(rows), -1)
    return keccak_rows(rows)


def padded(level: NDArray[Number], width: int) -> NDArray[Number]:
    """A level with rows of zeros (hash 0, sum 0) behind its own, ``width`` rows in all."""
    rows = np.zeros((width, level.shape[1]), dtype=level.dtype)
    rows[: len(level)] = level
    return rows


def _one_by_one(levels: tuple[Rows, ...]) -> tuple[list[bytes], ...]:
    return tuple([row.tobytes() for row in level] for level in levels)


def _check_size(name: str, vector: NDArray[np.generic], dtype: type[np.generic]) -> None:
    check_vector(name, vector, dtype)
    if chunk_count(vector.size) > 1 << 32:
        raise RangeError(
            f"the {name} has {vector.size} elements; a tree holds at most 2^32 chunks of {CHUNK}"
        )
