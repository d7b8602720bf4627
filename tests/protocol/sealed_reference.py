"""The primitives of sealed rounds once more, in plain integers and from their specifications alone.

Nothing here comes from fedvm.protocol or from a library of ciphers, so vectors made with it are a second opinion:
ChaCha20 and Poly1305 from RFC 8439, HKDF from RFC 5869, Shamir's shares over the field of AES (FIPS 197), the shuffle
from Hoang, Morris and Rogaway 2012 ("swap-or-not").
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache

from eth_hash.auto import keccak

_WORD = 0xFFFFFFFF
SHUFFLE_ROUNDS = 90


def quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for left, right, other, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[left] = (state[left] + state[right]) & _WORD
        mixed = state[other] ^ state[left]
        state[other] = ((mixed << turn) | (mixed >> (32 - turn))) & _WORD


def chacha_block(key: bytes, counter: int, nonce: bytes = bytes(12)) -> bytes:
    """64 bytes of the key stream (RFC 8439, 2.3)."""
    words = b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce
    begin = [int.from_bytes(words[at : at + 4], "little") for at in range(0, 64, 4)]
    state = list(begin)
    for _ in range(10):
        for column in range(4):
            quarter_round(state, column, column + 4, column + 8, column + 12)
        for column in range(4):
            quarter_round(state, column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return b"".join(((a + b) & _WORD).to_bytes(4, "little") for a, b in zip(state, begin, strict=True))


@cache
def block_of(seed: bytes, counter: int) -> bytes:
    return chacha_block(seed, counter)


def lane(seed: bytes, index: int, width: int) -> int:
    """Lane `index` of P(seed) for lanes of `width` bytes."""
    block = block_of(seed, index // 8)
    at = 8 * (index % 8)
    return int.from_bytes(block[at : at + width], "little")


def poly1305(key: bytes, message: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def aead_seal(key: bytes, plain: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439, 2.8) with nonce 0 and no associated data."""
    stream = b"".join(chacha_block(key, 1 + at) for at in range(-(-len(plain) // 64)))
    sealed = bytes(a ^ b for a, b in zip(plain, stream, strict=False))
    padded = sealed + bytes(-len(sealed) % 16)
    lengths = bytes(8) + len(sealed).to_bytes(8, "little")
    return sealed + poly1305(chacha_block(key, 0)[:32], padded + lengths)


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 of 32 bytes; an empty salt is 32 zero bytes (RFC 5869, 2.2)."""
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def field_product(a: int, b: int) -> int:
    """Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def share(secret: bytes, coefficients: list[bytes], x: int) -> bytes:
    """The share at x: for each byte, the polynomial secret + coefficients[0]·x + coefficients[1]·x² + …"""
    value = bytes(len(secret))
    for coefficient in reversed([secret, *coefficients]):
        value = bytes(field_product(byte, x) ^ other for byte, other in zip(value, coefficient, strict=True))
    return value


@cache
def _hash(data: bytes) -> bytes:
    return keccak(data)


def place_of(seed: bytes, count: int, index: int) -> int:
    """The place of a roster index among `count`."""
    at = index
    for turn in range(SHUFFLE_ROUNDS):
        head = seed + bytes([turn])
        pivot = int.from_bytes(_hash(head), "big") % count
        flip = (pivot + count - at) % count
        higher = max(at, flip)
        source = _hash(head + (higher >> 8).to_bytes(4, "big"))
        if source[(higher & 255) >> 3] >> (higher & 7) & 1:
            at = flip
    return at
