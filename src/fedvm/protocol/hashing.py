"""Leaf, node and root hashes of the three trees, one value at a time, as a contract would compute them.

All hashes are keccak-256 and all integers big-endian. The first byte of a preimage names its kind, so that no leaf can
pass for a node (the second-preimage defence of RFC 6962, section 2.1).
"""

from __future__ import annotations

from fedvm.evm.keccak import keccak

CHUNK = 64
"""Elements in a chunk; the last chunk may hold fewer."""

EMPTY = bytes(32)
"""Hash of the padding after the last leaf; its sum is 0."""

UPDATE_LEAF, UPDATE_NODE = b"\x00", b"\x01"
MODEL_LEAF, MODEL_NODE, MODEL_ROOT = b"\x02", b"\x03", b"\x04"
AGGREGATE_LEAF, AGGREGATE_NODE, AGGREGATE_ROOT = b"\x05", b"\x06", b"\x07"


def chunk_count(elements: int) -> int:
    """Chunks that hold ``elements`` elements."""
    return -(-elements // CHUNK)


def chunk_length(elements: int, index: int) -> int:
    """Elements in chunk ``index`` of a vector of ``elements``."""
    return min(CHUNK, elements - index * CHUNK)


def tree_height(elements: int) -> int:
    """Levels above the leaves: the smallest h with 2^h ≥ the number of chunks."""
    return (chunk_count(elements) - 1).bit_length()


def update_leaf(context: bytes, index: int, sum_squares: int, payload: bytes) -> bytes:
    """Leaf of an update's Merkle sum tree; ``payload`` is the chunk's big-endian int32."""
    header = UPDATE_LEAF + context + index.to_bytes(4) + (len(payload) // 4).to_bytes(4)
    return keccak(header + sum_squares.to_bytes(16) + payload)


def update_node(left: bytes, left_sum: int, right: bytes, right_sum: int) -> bytes:
    """Inner node of an update's Merkle sum tree; its own sum is left_sum + right_sum."""
    return keccak(UPDATE_NODE + left + left_sum.to_bytes(16) + right + right_sum.to_bytes(16))


def plain_leaf(domain: bytes, index: int, payload: bytes, width: int) -> bytes:
    """Leaf of a model (``width`` 4) or aggregate (``width`` 8) tree."""
    return keccak(domain + index.to_bytes(4) + (len(payload) // width).to_bytes(4) + payload)


def plain_node(domain: bytes, left: bytes, right: bytes) -> bytes:
    """Inner node of a model or aggregate tree."""
    return keccak(domain + left + right)


def plain_root(domain: bytes, elements: int, top: bytes) -> bytes:
    """Root of a model or aggregate tree: binds the element count to the top node."""
    return keccak(domain + elements.to_bytes(8) + top)
