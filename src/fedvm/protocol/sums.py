"""uint128 sums for whole tree levels at once, as pairs of 64-bit halves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedvm.evm.keccak import Rows
from fedvm.protocol.hashing import CHUNK, chunk_count
from fedvm.protocol.vector import IntVector

Sums = NDArray[np.uint64]
"""Shape (nodes, 2): the high and the low half of each sum."""

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def chunk_sums(vector: IntVector) -> Sums:
    """Σd² of each chunk of an int32 vector. 64 squares of −2^31 need 68 bits, hence two halves."""
    padded = np.zeros(chunk_count(vector.size) * CHUNK, dtype=np.int64)
    padded[: vector.size] = vector
    squares = (padded * padded).astype(np.uint64).reshape(-1, CHUNK)
    low = (squares & _LOW).sum(axis=1, dtype=np.uint64)
    high = (squares >> _HALF).sum(axis=1, dtype=np.uint64) + (low >> _HALF)
    return np.stack([high >> _HALF, ((high & _LOW) << _HALF) | (low & _LOW)], axis=1)


def pair_sums(sums: Sums) -> Sums:
    """The level above: sums of neighbours. Fewer than 2^38 int32 squares stay far below 2^128."""
    left, right = sums[0::2], sums[1::2]
    low = left[:, 1] + right[:, 1]  # wraps; a wrapped sum is smaller than either term
    carry = (low < left[:, 1]).astype(np.uint64)
    return np.stack([left[:, 0] + right[:, 0] + carry, low], axis=1)


def to_bytes(sums: Sums) -> Rows:
    """Each sum as 16 big-endian bytes, uint8 (nodes, 16)."""
    return sums.astype(">u8").view(np.uint8)


def to_integers(sums: Sums) -> list[int]:
    """Each sum as a Python integer."""
    return [(high << 64) | low for high, low in sums.tolist()]
