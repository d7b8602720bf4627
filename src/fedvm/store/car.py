"""CAR files, version 1: blocks one after another under a header that names the roots (IPLD's specification, CARv1).

Written: the roots in the order given, each block once. Read: one block at a time, each checked against its CID;
anything but the blocks that this package stores is refused, and so is a file that lacks a root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from fedvm.store.cid import CID_BYTES, DAG_PB, Cid
from fedvm.store.errors import CorruptBlock, InvalidCar, InvalidCid
from fedvm.store.protobuf import encode_varint
from fedvm.store.unixfs import CHUNK_BYTES, blocks_of, decode_node

MAX_HEADER_BYTES: Final = 8 << 20
"""Enough for 200,000 roots."""
MAX_SECTION_BYTES: Final = CID_BYTES + CHUNK_BYTES
_VARINT_BYTES: Final = 9
_IDENTITY: Final = 0x00
_ARRAY: Final = 4
_ROOTS_KEY, _VERSION_1 = b"\xa2\x65roots", b"\x67version\x01"
_LINK: Final = bytes([0xD8, 42, 0x58, 1 + CID_BYTES, 0])
_VERSION_2: Final = b"\xa1\x67version\x02"
"""The header by which files of version 2 begin."""


def write_car(out: BinaryIO, roots: Sequence[Cid], blocks: Iterable[tuple[Cid, bytes]]) -> int:
    """Write a CAR, and return how many blocks it holds. A block that comes again is left out.

    Raises:
        ValueError: there is no root, a root twice or too many; or a root's block does not come.
        OSError: the stream cannot be written.
    """
    out.write(_checked_head(roots))
    written: set[Cid] = set()
    for cid, data in blocks:
        if cid not in written:
            written.add(cid)
            out.write(encode_varint(CID_BYTES + len(data)) + cid.binary + data)
    if missing := [root for root in roots if root not in written]:
        raise ValueError(f"root {missing[0]} is not among the blocks")
    return len(written)


class CarWriter:
    """Writes a CAR to a file, after what an earlier process wrote of the same one: with the same roots and the same
    order of blocks, the bytes are those of a process that was not interrupted.

    Raises:
        ValueError: there is no root, a root twice or too many.
        OSError: the file cannot be read or written.
    """

    def __init__(self, file: BinaryIO, roots: Sequence[Cid]) -> None:
        self._file, self._roots = file, tuple(roots)
        self._written: set[Cid] = set()
        self._nodes: dict[Cid, list[Cid]] = {}
        head = _checked_head(roots)
        file.seek(0)
        if file.read(len(head)) != head:
            file.seek(0)
            file.write(head)
            file.truncate()
        else:
            file.seek(self._kept(len(head)))
            file.truncate()

    @property
    def blocks(self) -> int:
        """How many blocks it holds."""
        return len(self._written)

    def has(self, root: Cid) -> bool:
        """Whether all blocks of a file are written."""
        pending = [root]
        while pending:
            cid = pending.pop()
            if cid not in self._written:
                return False
            pending += self._nodes.get(cid, [])
        return True

    def write(self, blocks: Iterable[tuple[Cid, bytes]]) -> None:
        """Blocks that follow; one that is written already is left out."""
        for cid, data in blocks:
            if cid not in self._written:
                self._file.write(encode_varint(CID_BYTES + len(data)) + cid.binary + data)
                self._note(cid, data)

    def _kept(self, begin: int) -> int:
        """Take what is whole of the blocks that are there; where it ends."""
        self._file.seek(0)
        source = _Source(self._file)
        source.read(begin, "the header")
        end = begin
        try:
            for cid, data in _blocks(source, ()):
                self._note(cid, data)
                end = source.at
        except (InvalidCar, CorruptBlock):  # where the process was killed
            pass
        return end

    def _note(self, cid: Cid, data: bytes) -> None:
        self._written.add(cid)
        if cid.codec == DAG_PB:
            self._nodes[cid] = [link.cid for link in decode_node(data)]


def _checked_head(roots: Sequence[Cid]) -> bytes:
    """The first bytes of a CAR with these roots. Raises ValueError: there is none, one twice, or they are too many."""
    if not roots or len(set(roots)) < len(roots):
        raise ValueError("a CAR names at least one root, and each once")
    header = _header(roots)
    if len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"{len(roots)} roots do not fit the header of a CAR; write several")
    return encode_varint(len(header)) + header


def blocks_from_root(data: bytes) -> Iterator[tuple[Cid, bytes]]:
    """The blocks of a file, depth first from its root, so that a reader can check each from what it knows already."""
    nodes: dict[Cid, bytes] = {}
    root = None
    for block in blocks_of(data):
        root = block.link.cid
        if root.codec == DAG_PB:
            nodes[root] = block.data
    assert root is not None
    at, pending = 0, [root]
    while pending:
        cid = pending.pop()
        if cid.codec == DAG_PB:
            yield cid, nodes[cid]
            pending += [link.cid for link in reversed(decode_node(nodes[cid]))]
        else:
            yield cid, data[at : at + CHUNK_BYTES]
            at += CHUNK_BYTES


@dataclass(frozen=True)
class Car:
    """A CAR that is being read. blocks: in the order of the file, each checked; to be read once, to the end."""

    roots: tuple[Cid, ...]
    blocks: Iterator[tuple[Cid, bytes]]


def read_car(stream: BinaryIO) -> Car:
    """Begin to read a CAR: its header now, its blocks as they are asked for.

    Raises:
        InvalidCar: the header is not that of a CAR of version 1, or names no root or one twice. From the blocks: a
            section is cut, empty, larger than a block of 1 MiB, or of a kind that is not stored here; or a root's block
            did not come.
        CorruptBlock: from the blocks: one has other bytes than its CID says.
    """
    source = _Source(stream)
    length = source.varint("the header's length")
    if length is None:
        raise InvalidCar("the file is empty; fetch the CAR again")
    if not 0 < length <= MAX_HEADER_BYTES:
        raise InvalidCar(f"a header of {length} bytes is none of a CAR; is it one?")
    header = source.read(length, "the header")
    roots = _roots(header)
    return Car(roots, _blocks(source, roots))


def _blocks(source: _Source, roots: Sequence[Cid]) -> Iterator[tuple[Cid, bytes]]:
    missing = set(roots)
    while True:
        begin = source.at
        length = source.varint("a section's length")
        if length is None:
            break
        if length == 0:
            raise InvalidCar(f"the section at byte {begin} is empty; cut the file off before it")
        if length > MAX_SECTION_BYTES:
            raise InvalidCar(
                f"the section at byte {begin} is of {length} bytes, more than a block of {CHUNK_BYTES} bytes takes; "
                "make the CAR with chunks of 1 MiB"
            )
        section = source.read(length, f"the section at byte {begin}")
        cid = _cid_of(section, begin)
        data = section[CID_BYTES:]
        if Cid.of_block(cid.codec, data) != cid:
            raise CorruptBlock(f"block {cid} at byte {begin} of the CAR has other bytes; fetch the CAR again")
        missing.discard(cid)
        yield cid, data
    if missing:
        lost = next(root for root in roots if root in missing)
        raise InvalidCar(
            f"the CAR lacks the block of {len(missing)} of its roots, {lost} first; fetch it again"
        )


def _header(roots: Sequence[Cid]) -> bytes:
    """DAG-CBOR of {"roots": [CIDs], "version": 1}. Such a CID is tag 42 of a byte string that begins with a zero."""
    links = b"".join(_LINK + root.binary for root in roots)
    return _ROOTS_KEY + _head(_ARRAY, len(roots)) + links + _VERSION_1


def _roots(header: bytes) -> tuple[Cid, ...]:
    """The roots of a header, read without a general decoder: those recurse, and can be made to overflow the stack."""
    if header == _VERSION_2:
        raise InvalidCar(
            "this is a CAR of version 2; extract version 1 from it (`car extract` or `car get-dag`)"
        )
    links = header.removeprefix(_ROOTS_KEY).removesuffix(_VERSION_1)
    count, rest = divmod(len(links), len(_LINK) + CID_BYTES)
    # What is left over are the bytes that state how many there are.
    starts = range(rest, len(links), len(_LINK) + CID_BYTES)
    if len(links) + len(_ROOTS_KEY) + len(_VERSION_1) != len(header) or links[:rest] != _head(_ARRAY, count):
        raise InvalidCar(
            "the file does not begin with the header of a CAR of version 1 whose roots are CIDs of version 1 with "
            "sha2-256; is it such a CAR?"
        )
    if any(links[at : at + len(_LINK)] != _LINK for at in starts):
        raise InvalidCar("a root in the CAR's header is no CID")
    try:
        roots = tuple(Cid.from_binary(links[at + len(_LINK) : at + len(_LINK) + CID_BYTES]) for at in starts)
    except InvalidCid as error:
        raise InvalidCar(f"a root of the CAR cannot be stored here: {error}") from error
    if not roots or len(set(roots)) < len(roots):
        raise InvalidCar("the header names no root, or one twice; write the CAR with each root once")
    return roots


def _head(kind: int, value: int) -> bytes:
    """The first bytes of a CBOR item, in their shortest form (RFC 8949, section 3)."""
    for size, marker in ((0, value), (1, 24), (2, 25), (4, 26)):
        if value < (24 if not size else 1 << 8 * size):
            return bytes([kind << 5 | marker]) + (value.to_bytes(size) if size else b"")
    raise ValueError(f"{value} is beyond the roots of any CAR")


def _cid_of(section: bytes, begin: int) -> Cid:
    if section[:1] == b"\x01" and section[2:3] == bytes([_IDENTITY]):
        raise InvalidCar(
            f"the CID at byte {begin} is an identity, which holds its data itself; only sha2-256 is stored here"
        )
    try:
        return Cid.from_binary(section[:CID_BYTES])
    except InvalidCid as error:
        raise InvalidCar(
            f"the section at byte {begin} names a block that cannot be stored here: {error}"
        ) from error


class _Source:
    """A stream, and how much of it was read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.at = stream, 0

    def read(self, size: int, what: str) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < size and (part := self._stream.read(size - len(data))):
            data += part
        self.at += len(data)
        if len(data) < size:
            raise InvalidCar(f"the file ends at byte {self.at}, in the middle of {what}; fetch the CAR again")
        return data

    def varint(self, what: str) -> int | None:
        """An unsigned varint (multiformats), None at the end of the file."""
        value, begin = 0, self.at
        for shift in range(0, 7 * _VARINT_BYTES, 7):
            if not (byte := self._stream.read(1)):
                if self.at == begin:
                    return None
                raise InvalidCar(
                    f"the file ends at byte {self.at}, in the middle of {what}; fetch the CAR again"
                )
            self.at += 1
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                if shift and not byte[0]:
                    break
                return value
        raise InvalidCar(f"{what} at byte {begin} is no varint of at most nine bytes in its shortest form")
