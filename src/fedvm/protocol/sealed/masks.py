"""Masks: streams of ChaCha20 (RFC 8439), added to vectors of lanes modulo 2^(8k)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from fedvm.protocol.checks import check_bytes
from fedvm.protocol.errors import EncodingError, ShapeError
from fedvm.protocol.sealed.bounds import LARGEST_LANE

Lanes = NDArray[np.uint64]
"""Shape (n,), each below 2^(8k)."""
SEED_BYTES = 32
WORD_BYTES = 8
"""Bytes of the stream for one lane; a block of 64 bytes masks eight lanes."""
_BLOCK = 1 << 14  # lanes at a time, so that a mask needs little memory however long the vector is


def mask(seed: bytes, elements: int, lane_bytes: int) -> Lanes:
    """P(seed): lane m is the low k bytes of bytes 8m … 8m + 7 of the stream, little-endian."""
    return add_masks(np.zeros(elements, dtype=np.uint64), lane_bytes, plus=[seed])


def add_masks(
    values: NDArray[np.int64] | Lanes,
    lane_bytes: int,
    plus: Iterable[bytes] = (),
    minus: Iterable[bytes] = (),
) -> Lanes:
    """values + Σ P(plus) − Σ P(minus) modulo 2^(8k), uint64 (n,). values: signed or unsigned 64-bit integers (n,).

    Raises:
        EncodingError: a seed has not 32 bytes, or a lane is not of 1 to 6 bytes.
        ShapeError: values is another kind of array.
    """
    if values.ndim != 1 or values.dtype not in (np.dtype(np.int64), np.dtype(np.uint64)):
        raise ShapeError(f"values to mask are 64-bit integers (n,), not {values.dtype}{list(values.shape)}")
    # Modulo 2^64 throughout: the low bytes of a sum do not depend on the high ones, so they are cut off once.
    total = values.astype("<u8")
    added, taken = [_stream(seed) for seed in plus], [_stream(seed) for seed in minus]
    block = min(_BLOCK, total.size)
    zeros, words = bytes(WORD_BYTES * block), np.empty(block, dtype="<u8")
    for at in range(0, total.size, block):
        part = total[at : at + block]
        word = words[: part.size]
        clear, out = zeros[: WORD_BYTES * part.size], word.data.cast("B")
        for stream in added:
            stream.update_into(clear, out)
            part += word
        for stream in taken:
            stream.update_into(clear, out)
            part -= word
    total &= _largest(lane_bytes)
    return total.astype(np.uint64, copy=False)


def to_bytes(lanes: Lanes, lane_bytes: int) -> bytes:
    """The stored form of a masked vector: k bytes a lane, big-endian. A chunk of its tree is a slice of these bytes.

    Raises:
        EncodingError: a lane does not fit k bytes.
    """
    if lanes.size and lanes.max() > _largest(lane_bytes):
        raise EncodingError(
            f"lane {int(lanes.argmax())} is {int(lanes.max())}, more than {lane_bytes} bytes hold"
        )
    wide = lanes.astype(">u8").view(np.uint8).reshape(-1, WORD_BYTES)
    data = np.empty((lanes.size, lane_bytes), dtype=np.uint8)
    for byte in range(lane_bytes):  # by columns: rows of a few bytes are copied one by one
        data[:, byte] = wide[:, WORD_BYTES - lane_bytes + byte]
    return data.tobytes()


def from_bytes(data: bytes, elements: int, lane_bytes: int) -> Lanes:
    """Inverse of :func:`to_bytes`: uint64 (elements,). Raises ShapeError on another length."""
    _largest(lane_bytes)
    if elements < 1 or len(data) != elements * lane_bytes:
        raise ShapeError(f"{len(data)} bytes cannot hold exactly {elements} lanes of {lane_bytes} bytes")
    wide, rows = np.zeros((elements, WORD_BYTES), dtype=np.uint8), np.frombuffer(data, dtype=np.uint8)
    for byte in range(lane_bytes):
        wide[:, WORD_BYTES - lane_bytes + byte] = rows[byte::lane_bytes]
    return wide.view(">u8").reshape(-1).astype(np.uint64)


def read_signed(sums: NDArray[np.int64], lane_bytes: int) -> NDArray[np.int64]:
    """Each of int64 (n,) modulo 2^(8k), read as a signed integer of 8k bits."""
    _largest(lane_bytes)
    spare = np.int64(64 - 8 * lane_bytes)
    return (sums << spare) >> spare


def _stream(seed: bytes) -> CipherContext:
    # The library's nonce of 16 bytes is RFC 8439's counter and nonce in a row.
    return Cipher(ChaCha20(check_bytes("seed", seed, SEED_BYTES), bytes(16)), mode=None).encryptor()


def _largest(lane_bytes: int) -> np.uint64:
    if not 1 <= lane_bytes <= LARGEST_LANE:
        raise EncodingError(f"lanes have 1 to {LARGEST_LANE} bytes, not {lane_bytes}")
    return np.uint64((1 << 8 * lane_bytes) - 1)
