"""Bitmaps over places and over groups: bit p is bit (p mod 8), the least significant first, of byte floor(p / 8)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.errors import EncodingError, RangeError

Flags = NDArray[np.bool_]


def bitmap(size: int, chosen: Iterable[int]) -> bytes:
    """The bitmap of ``size`` bits with these set. Raises RangeError for one that lies outside."""
    flags = np.zeros(size, dtype=bool)
    for bit in chosen:
        if not 0 <= bit < size:
            raise RangeError(f"there is no bit {bit} in a bitmap of {size}")
        flags[bit] = True
    return np.packbits(flags, bitorder="little").tobytes()


def bits(name: str, data: bytes, size: int) -> Flags:
    """The bits of a bitmap, bool (size,).

    Raises:
        EncodingError: it has not ceil(size / 8) bytes, or a spare bit is set.
    """
    if len(data) != -(-size // 8):
        raise EncodingError(f"the {name} bitmap has {len(data)} bytes; {size} bits take {-(-size // 8)}")
    every = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little").astype(bool)
    if every[size:].any():
        raise EncodingError(f"the {name} bitmap has a bit set behind its {size}; spare bits are 0")
    return every[:size]


def set_bits(name: str, data: bytes, size: int) -> tuple[int, ...]:
    """Which bits of a bitmap are set, ascending: the inverse of :func:`bitmap`. Raises as :func:`bits`."""
    return tuple(bits(name, data, size).nonzero()[0].tolist())
