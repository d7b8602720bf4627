"""Files as UnixFS trees: raw leaves of 1 MiB, balanced, 174 links a node (IPFS specs: UnixFS, dag-pb).

The same bytes as ``ipfs add --cid-version=1 --raw-leaves --chunker=size-1048576`` makes. A file of at most
one chunk is a single raw block. The shape of the tree follows from the size alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fedvm.store.cid import DAG_PB, RAW, Cid
from fedvm.store.protobuf import decode_fields, encode_field

CHUNK_BYTES: Final = 1 << 20
MAX_LINKS: Final = 174
_FILE: Final = 2


@dataclass(frozen=True)
class Link:
    """A child: its CID, the bytes of file below it, and the bytes of all blocks below it (``Tsize``)."""

    cid: Cid
    file_bytes: int
    tree_bytes: int


@dataclass(frozen=True)
class Block:
    """One block, and the link by which its parent refers to it."""

    link: Link
    data: bytes


def blocks_of(data: bytes) -> Iterator[Block]:
    """The blocks of a file, children before parents, the root last."""
    level: list[Link] = []
    for start in range(0, max(len(data), 1), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES]
        level.append(Link(Cid.of_block(RAW, chunk), len(chunk), len(chunk)))
        yield Block(level[-1], chunk)
    while len(level) > 1:
        groups = [level[at : at + MAX_LINKS] for at in range(0, len(level), MAX_LINKS)]
        level = []
        for links in groups:
            node = encode_node(links)
            tree_bytes = len(node) + sum(link.tree_bytes for link in links)
            level.append(Link(Cid.of_block(DAG_PB, node), sum(link.file_bytes for link in links), tree_bytes))
            yield Block(level[-1], node)


def cid_of(data: bytes) -> Cid:
    """The CID under which a store keeps ``data``; needs no store."""
    *_, root = blocks_of(data)
    return root.link.cid


def encode_node(links: list[Link]) -> bytes:
    """A dag-pb node of a UnixFS file without own data: links first, then the UnixFS message."""
    body = b"".join(encode_field(2, _encode_link(link)) for link in links)
    unixfs = encode_field(1, _FILE) + encode_field(3, sum(link.file_bytes for link in links))
    unixfs += b"".join(encode_field(4, link.file_bytes) for link in links)
    return body + encode_field(1, unixfs)


def decode_node(node: bytes) -> list[Link]:
    """The links of a node that :func:`encode_node` made. Raises ValueError on any other bytes."""
    fields = decode_fields(node)
    links = [
        decode_fields(value) for number, value in fields[:-1] if number == 2 and isinstance(value, bytes)
    ]
    message = fields[-1][1] if fields else b""
    sizes = [
        value
        for number, value in decode_fields(message if isinstance(message, bytes) else b"")
        if number == 4
    ]
    if not links or len(links) != len(sizes):
        raise ValueError("links and block sizes do not match")
    decoded = [_decode_link(fields, size) for fields, size in zip(links, sizes, strict=True)]
    if encode_node(decoded) != node:
        raise ValueError("not a canonical UnixFS file node without own data")
    return decoded


def height_of(file_bytes: int) -> int:
    """Levels of nodes above the leaves for a file of this size; 0 for a single raw block."""
    height, capacity = 0, CHUNK_BYTES
    while capacity < file_bytes:
        height, capacity = height + 1, capacity * MAX_LINKS
    return height


def child_sizes(file_bytes: int, height: int) -> list[int]:
    """The file bytes below each link of a node at ``height`` ≥ 1 that holds ``file_bytes``."""
    full = CHUNK_BYTES * int(MAX_LINKS ** (height - 1))
    whole, rest = divmod(file_bytes, full)
    return [full] * whole + ([rest] if rest else [])


def _encode_link(link: Link) -> bytes:
    # The empty name is written out, as Kubo does.
    return encode_field(1, link.cid.binary) + encode_field(2, b"") + encode_field(3, link.tree_bytes)


def _decode_link(fields: list[tuple[int, int | bytes]], size: int | bytes) -> Link:
    match fields:
        case [(1, bytes(cid)), (2, b""), (3, int(tree_bytes))] if isinstance(size, int):
            return Link(Cid.from_binary(cid), size, tree_bytes)
    raise ValueError("a link must hold a CID, an empty name and a size")
