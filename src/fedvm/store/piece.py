"""Piece CIDs: the names by which Filecoin's storage proofs know bytes (FRC-0069; the specification's Piece Commitment).

The bytes are widened to field elements (fr32: two zero bits after each 254), padded with zeros to a power of two of
leaves of 32 bytes, and hashed to a binary tree with SHA-256, each node cut to 254 bits. Version 1 of a piece CID names
the root alone, version 2 also the tree's height and how many bytes are padding, and so the size of the data.

Neither web3 nor PyTorch is loaded.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from struct import iter_unpack
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fedvm.store.protobuf import encode_varint

NODE: Final = 32
"""Bytes of a leaf and of a node."""
MIN_HEIGHT: Final = 2
"""Of the smallest tree, over 127 bytes."""
_QUAD, _WIDE_QUAD = 127, 128
"""Bytes of data that make four leaves, and bytes of these."""
_RUN_HEIGHT: Final = 15
_RUN_BYTES: Final = (_QUAD << _RUN_HEIGHT) // 4
"""Bytes that are hashed at a time, to a tree of `_RUN_HEIGHT`; some 1 MB fits a processor's cache."""
_RAW, _COMMITMENT_UNSEALED = 0x55, 0xF101
_PADDED_TREE, _TRUNCATED = 0x1011, 0x1012
"""Multicodec's names: fr32-sha256-trunc254-padbintree, sha2-256-trunc254-padded."""


@dataclass(frozen=True)
class Piece:
    """The tree over some bytes. root: 32 bytes; height: 0 for a single leaf; padding: zero bytes after the data."""

    root: bytes
    height: int
    padding: int

    @property
    def piece_bytes(self) -> int:
        """Size of the piece on Filecoin: that of the leaves, a power of two."""
        return NODE << self.height

    @property
    def data_bytes(self) -> int:
        """Size of the data without padding."""
        return self.piece_bytes // _WIDE_QUAD * _QUAD - self.padding

    @property
    def cid_v1(self) -> str:
        """The piece CID that contracts and deals carry beside a size: `baga6ea4seaq…`."""
        return _cid(_COMMITMENT_UNSEALED, _TRUNCATED, self.root)

    @property
    def cid_v2(self) -> str:
        """The piece CID that includes the size (FRC-0069): `bafkzcib…`."""
        return _cid(_RAW, _PADDED_TREE, encode_varint(self.padding) + bytes([self.height]) + self.root)


def piece_of(stream: BinaryIO, progress: Callable[[int], None] | None = None) -> Piece:
    """The piece of all that a binary stream gives, 1 MB of it in memory at a time. progress: called with the bytes
    read so far.

    Raises:
        OSError: the stream cannot be read.
    """
    pending: list[tuple[int, bytes]] = []  # complete trees, ever lower, the highest first
    size = 0
    while run := _read(stream, _RUN_BYTES):
        size += len(run)
        if progress:
            progress(size)
        height, node = _RUN_HEIGHT, _root(_leaves(run), _RUN_HEIGHT)
        while pending and pending[-1][0] == height:
            height, node = height + 1, _parents(pending.pop()[1] + node)
        pending.append((height, node))
        if len(run) < _RUN_BYTES:
            break
    height = _height_for(size)
    padding = (NODE << height) // _WIDE_QUAD * _QUAD - size
    if height < _RUN_HEIGHT:  # a single run
        return Piece(_root(_leaves(run), height), height, padding)
    at, node = pending.pop()
    while at < height:
        has_left = bool(pending) and pending[-1][0] == at
        node = _parents(pending.pop()[1] + node if has_left else node + zero_node(at))
        at += 1
    return Piece(node, height, padding)


@cache
def zero_node(height: int) -> bytes:
    """The root of a tree of this height over zeros, 32 bytes."""
    below = zero_node(height - 1) if height else b""
    return _parents(below + below) if height else bytes(NODE)


def widened(data: bytes) -> NDArray[np.uint8]:
    """fr32: the bits of bytes (a multiple of 127), lowest first, with two zeros after each 254; uint8 (n, 128)."""
    quads = np.frombuffer(data, dtype=np.uint8).reshape(-1, _QUAD)
    wide = np.empty((len(quads), _WIDE_QUAD), dtype=np.uint8)
    wide[:, :NODE], wide[:, -1] = quads[:, :NODE], 0
    for leaf, shift in ((1, 2), (2, 4), (3, 6)):
        begin, end = NODE * leaf, min(NODE * (leaf + 1), _QUAD)
        wide[:, begin:end] = quads[:, begin:end] << shift
        wide[:, begin : begin + NODE] |= quads[:, begin - 1 : begin - 1 + NODE] >> (8 - shift)
    wide[:, NODE - 1 :: NODE] &= 0x3F
    return wide


def _parents(nodes: bytes) -> bytes:
    """Of joined nodes the node above each pair, joined: SHA-256 without the two highest bits of the last byte."""
    hashed = b"".join([sha256(pair).digest() for (pair,) in iter_unpack(f"{2 * NODE}s", nodes)])
    cut = np.frombuffer(hashed, dtype=np.uint8).reshape(-1, NODE).copy()
    cut[:, -1] &= 0x3F
    return cut.tobytes()


def _leaves(data: bytes) -> bytes:
    """The leaves over some bytes, padded to a whole number of quads."""
    return widened(data + bytes(-len(data) % _QUAD)).tobytes() or bytes(_WIDE_QUAD)


def _root(nodes: bytes, height: int) -> bytes:
    """The root of a tree of this height over leaves, and zeros to their right."""
    for level in range(height):
        if len(nodes) // NODE % 2:
            nodes += zero_node(level)
        nodes = _parents(nodes)
    return nodes


def _height_for(size: int) -> int:
    leaves = max(-(-size // _QUAD) * 4, 1 << MIN_HEIGHT)
    return (leaves - 1).bit_length()


def _read(stream: BinaryIO, size: int) -> bytes:
    """As many bytes as are there, up to `size`: one read of a pipe may give fewer."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _cid(codec: int, function: int, digest: bytes) -> str:
    """The text of a CIDv1 in base32."""
    binary = b"\x01" + encode_varint(codec) + encode_varint(function) + encode_varint(len(digest)) + digest
    return "b" + b32encode(binary).decode().rstrip("=").lower()
