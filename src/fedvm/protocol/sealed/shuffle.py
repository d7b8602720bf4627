"""The draw of an epoch: who stands at which place.

Swap-or-not (Hoang, Morris, Rogaway 2012, "An Enciphering Scheme Based on a Card Shuffle"), 90 rounds as in Ethereum's
consensus: the place of one member can be computed without those of the others, which is what a contract does.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import address_bytes, check_bytes, check_uint
from fedvm.protocol.errors import RangeError
from fedvm.protocol.typed_data import Domain

SHUFFLE_ROUNDS = 90
GROUP_SEED = b"\x32"
Places = NDArray[np.int64]


def group_seed(domain: Domain, epoch: int, roster_root: bytes, beacon: bytes) -> bytes:
    """The seed of an epoch's draw, 32 bytes.

    beacon: its value for the second block after the one in which enrolment was closed, 32 bytes. Raises EncodingError
    if a field is malformed.
    """
    chain = check_uint("chain_id", domain.chain_id, 256).to_bytes(32)
    federation = address_bytes("federation", domain.federation)
    number = check_uint("epoch", epoch, 64).to_bytes(8)
    root, value = check_bytes("roster_root", roster_root, 32), check_bytes("beacon", beacon, 32)
    return keccak(GROUP_SEED + chain + federation + number + root + value)


def place_of(seed: bytes, count: int, index: int) -> int:
    """The place of roster index ``index`` among ``count``. Raises RangeError if there is no such index."""
    return _walk(seed, count, index, range(SHUFFLE_ROUNDS))


def index_of(seed: bytes, count: int, place: int) -> int:
    """The roster index at a place: the inverse of :func:`place_of`. Raises RangeError if there is no such place."""
    return _walk(seed, count, place, reversed(range(SHUFFLE_ROUNDS)))


def places(seed: bytes, count: int) -> Places:
    """The places of all roster indices, int64 (count,)."""
    _check(seed, count)
    at = np.arange(count, dtype=np.int64)
    for turn in range(SHUFFLE_ROUNDS):
        head = seed + bytes([turn])
        flip = (int.from_bytes(keccak(head)) % count + count - at) % count
        sources = b"".join(keccak(head + part.to_bytes(4)) for part in range((count - 1 >> 8) + 1))
        # Bit `pos` of the joined sources, the least significant of a byte first, is the one that decides.
        bits = np.unpackbits(np.frombuffer(sources, dtype=np.uint8), bitorder="little")
        at = np.where(bits[np.maximum(at, flip)], flip, at)
    return at


def _walk(seed: bytes, count: int, start: int, turns: Iterable[int]) -> int:
    _check(seed, count)
    if not 0 <= start < count:
        raise RangeError(f"there is no member {start}; the roster has {count}")
    at = start
    for turn in turns:
        head = seed + bytes([turn])
        flip = (int.from_bytes(keccak(head)) % count + count - at) % count
        higher = max(at, flip)
        source = keccak(head + (higher >> 8).to_bytes(4))
        if source[(higher & 255) >> 3] >> (higher & 7) & 1:
            at = flip
    return at


def _check(seed: bytes, count: int) -> None:
    check_bytes("group seed", seed, 32)
    if count < 1:
        raise RangeError("a roster without members has no places")
