"""Shamir's secret sharing (1979) over GF(2^8), the field of AES (x^8 + x^4 + x^3 + x + 1), one polynomial a byte."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.errors import EncodingError, ShapeError

SHARE_BYTES = 32
Bytes = NDArray[np.uint8]


def random_coefficients(threshold: int, count: int) -> Bytes:
    """Coefficients of x, x², … for ``count`` secrets, uint8 (threshold − 1, count, 32): the system's randomness."""
    shape = (threshold - 1, count, SHARE_BYTES)
    return np.frombuffer(secrets.token_bytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)


def share(values: Bytes, xs: Sequence[int], coefficients: Bytes) -> Bytes:
    """The shares of ``values``, uint8 (count, 32), at each x of 1 to 255: uint8 (xs, count, 32).

    coefficients: of x, x², …, uint8 (threshold − 1, count, 32), secret and never used twice.

    Raises:
        ShapeError: another shape.
        EncodingError: an x is no share's.
    """
    if values.ndim != 2 or values.shape[1] != SHARE_BYTES or coefficients.shape[1:] != values.shape:
        raise ShapeError(
            f"secrets {list(values.shape)} and coefficients {list(coefficients.shape)} do not fit"
        )
    _check_points(xs)
    polynomials = np.concatenate([values[None], coefficients]).reshape(len(coefficients) + 1, -1)
    # x^c · byte is linear in the byte: with each coefficient also doubled one to seven times, a share is an exclusive
    # or of rows, eight bytes at once; and of half as many if each four of them are added in all ways beforehand.
    doubled = [polynomials]
    for _ in range(7):
        doubled.append(_products()[2][doubled[-1]])
    fours = np.stack(doubled, axis=1).view(np.uint64).reshape(2 * len(polynomials), 4, -1)
    sums = np.zeros((len(fours), 16, fours.shape[2]), dtype=np.uint64)
    for bit in range(4):
        sums[:, 1 << bit : 2 << bit] = sums[:, : 1 << bit] ^ fours[:, bit : bit + 1]
    rows = sums.reshape(-1, fours.shape[2])
    shares = np.empty((len(xs), rows.shape[1]), dtype=np.uint64)
    for at, chosen in enumerate(_halves(tuple(xs), len(polynomials))):
        np.bitwise_xor.reduce(rows[chosen], axis=0, out=shares[at])
    return shares.view(np.uint8).reshape(len(xs), *values.shape)


def interpolate(shares: Bytes, xs: Sequence[int], at: int = 0) -> Bytes:
    """The values at ``at`` of the polynomials through these shares, uint8 (count, 32); the secrets stand at 0.

    shares: uint8 (xs, count, 32), exactly as many as the threshold. Wrong shares give wrong values.

    Raises:
        ShapeError: another shape.
        EncodingError: an x is no share's, or comes twice.
    """
    if shares.ndim != 3 or len(shares) != len(xs) or shares.shape[2] != SHARE_BYTES:
        raise ShapeError(f"shares {list(shares.shape)} do not fit {len(xs)} holders")
    _check_points(xs)
    if len(set(xs)) != len(xs):
        raise EncodingError("two shares are of one holder; each counts once")
    value = np.zeros(shares.shape[1:], dtype=np.uint8)
    for factor, row in zip(_lagrange(tuple(xs), at), shares, strict=True):
        value ^= _products()[factor][row]
    return value


def _check_points(xs: Sequence[int]) -> None:
    for x in xs:
        if not 1 <= x <= 255:
            raise EncodingError(f"a share stands at x = 1 to 255, not {x}")


@cache
def _products() -> Bytes:
    """The products of all pairs, uint8 (256, 256), by logarithms to the base 3, which generates the field."""
    exponents, logarithms = [0] * 510, [0] * 256
    value = 1
    for at in range(255):
        exponents[at] = exponents[at + 255] = value
        logarithms[value] = at
        value ^= (value << 1) ^ (0x11B if value & 0x80 else 0)
    log = np.array(logarithms)
    table: Bytes = np.array(exponents, dtype=np.uint8)[log[:, None] + log[None, :]]
    table[0, :] = table[:, 0] = 0
    return table


@cache
def _powers(x: int, count: int) -> tuple[int, ...]:
    powers = [1]
    while len(powers) < count:
        powers.append(int(_products()[powers[-1], x]))
    return tuple(powers)


@lru_cache(maxsize=64)
def _halves(xs: tuple[int, ...], count: int) -> NDArray[np.intp]:
    """For each x the places of the lower and the upper four bits of each of its powers 1, x, …, x^(count − 1), among 16
    each, (xs, 2 · count)."""
    powers = np.array([_powers(x, count) for x in xs], dtype=np.uint8)
    halves = np.stack([powers & 15, powers >> 4], axis=2).reshape(len(xs), -1).astype(np.intp)
    return halves + 16 * np.arange(2 * count)


@cache
def _inverse(x: int) -> int:
    return int(np.flatnonzero(_products()[x] == 1)[0])


@lru_cache(maxsize=1024)
def _lagrange(xs: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Π (at − x_j) / (x_i − x_j) over j ≠ i, for each i; in this field minus is exclusive or."""
    product = _products()
    factors = []
    for x in xs:
        factor = 1
        for other in xs:
            if other != x:
                factor = int(product[factor, product[at ^ other, _inverse(x ^ other)]])
        factors.append(factor)
    return tuple(factors)
