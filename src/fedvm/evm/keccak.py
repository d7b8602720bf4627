"""keccak-256, one message at a time and many of one length at once.

A tree hashes thousands of short messages; for these the overhead of a call costs more than the permutation itself. One
message takes 0.6 µs with the C extension of `safe-pysha3` (5.8 µs with pycryptodome). For many messages (rows), our own
extension hashes eight at a time, 0.07 µs each on a processor with 512-bit registers, or four, 0.17 µs each with 256-bit
ones. It is optional: if it could not be compiled, rows are hashed one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sha3 import keccak_256

Rows = NDArray[np.uint8]
"""Shape (n, length): messages of one length; or (n, 32): hashes."""


def keccak(data: bytes | memoryview) -> bytes:
    """keccak-256 of ``data`` (Ethereum's, not SHA3-256), 32 bytes."""
    digest: bytes = keccak_256(data).digest()
    return digest


def keccak_rows(rows: Rows) -> Rows:
    """keccak-256 of each row of uint8 (n, length ≥ 1), as uint8 (n, 32)."""
    hashed = _hash_rows(np.ascontiguousarray(rows).data.cast("B"), rows.shape[1]) if len(rows) else b""
    return np.frombuffer(hashed, dtype=np.uint8).reshape(-1, 32)


def hash_one_by_one(messages: memoryview, length: int) -> bytes:
    """The concatenated hashes of concatenated messages of ``length`` bytes each."""
    starts = range(0, len(messages), length)
    return b"".join([keccak_256(messages[at : at + length]).digest() for at in starts])


def _compiled() -> Callable[[memoryview, int], bytes] | None:
    try:
        from fedvm.evm._keccak import rows
    except ImportError:
        return None
    return rows


_hash_rows = _compiled() or hash_one_by_one
