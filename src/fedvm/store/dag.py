"""Reads a file's tree from anything that has its blocks, and refuses trees of any other shape than `put` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from fedvm.store.cid import DAG_PB, RAW, Cid
from fedvm.store.errors import CorruptBlock, StoreError
from fedvm.store.unixfs import CHUNK_BYTES, Link, child_sizes, decode_node, height_of

DEFAULT_MAX_BYTES: Final = 1 << 30
"""A larger artefact is refused unless the caller allows it."""

BlockReader = Callable[[Cid], bytes]
"""From a CID to the bytes of its block, checked against it. Raises MissingBlock or CorruptBlock."""


def read_file(root: Cid, block_of: BlockReader, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """The bytes of the file under a CID.

    Raises:
        CorruptBlock: a node is not what `fedvm.store.unixfs.blocks_of` writes.
        StoreError: the file is larger than ``max_bytes``; a tree says so before its leaves are read.
    """
    if root.codec == RAW:
        data = block_of(root)
        check_size(root, len(data), max_bytes)
        return data
    return b"".join(_leaf(leaf, block_of) for leaf in leaves(root, block_of, max_bytes))


def leaves(root: Cid, block_of: BlockReader, max_bytes: int = DEFAULT_MAX_BYTES) -> Iterator[Link]:
    """The leaves of a tree (``DAG_PB``), in order, without reading them. Raises as `read_file`."""
    size = sum(link.file_bytes for link in _links(root, block_of))
    check_size(root, size, max_bytes)
    if size <= CHUNK_BYTES:
        raise CorruptBlock(f"{root} spreads {size} bytes over a tree, where one raw block would do")
    return _walk(Link(root, size, 0), height_of(size), block_of)


def check_size(cid: Cid, size: int, limit: int) -> None:
    """Raise StoreError if a file of ``size`` bytes is larger than ``limit``."""
    if size > limit:
        raise StoreError(
            f"{cid} holds {size} bytes, more than the {limit} allowed; raise max_bytes if you trust it"
        )


def _walk(link: Link, height: int, block_of: BlockReader) -> Iterator[Link]:
    if link.cid.codec != (DAG_PB if height else RAW):
        raise CorruptBlock(f"block {link.cid} is of the wrong kind at height {height} of its file's tree")
    if height == 0:
        yield link
        return
    links = _links(link.cid, block_of)
    # The shape follows from the size; anything else could repeat tiny blocks without end.
    if [child.file_bytes for child in links] != child_sizes(link.file_bytes, height):
        raise CorruptBlock(
            f"block {link.cid} does not divide {link.file_bytes} bytes as a balanced tree does"
        )
    for child in links:
        yield from _walk(child, height - 1, block_of)


def _leaf(leaf: Link, block_of: BlockReader) -> bytes:
    data = block_of(leaf.cid)
    if len(data) != leaf.file_bytes:
        raise CorruptBlock(f"block {leaf.cid} holds {len(data)} bytes, its parent states {leaf.file_bytes}")
    return data


def _links(cid: Cid, block_of: BlockReader) -> list[Link]:
    node = block_of(cid)
    try:
        return decode_node(node)
    except ValueError as error:
        raise CorruptBlock(f"block {cid} is not a node of a file: {error}") from error
