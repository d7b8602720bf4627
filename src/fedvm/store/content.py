"""A directory of blocks named by their CID; a block that is read is checked against its name."""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedvm.store.cid import DAG_PB, RAW, Cid
from fedvm.store.errors import CorruptBlock, InvalidCid, MissingBlock, StoreError
from fedvm.store.unixfs import CHUNK_BYTES, Link, blocks_of, child_sizes, decode_node, height_of

_TEMPORARY: Final = ".writing-"
DEFAULT_MAX_BYTES: Final = 1 << 30


class ContentStore:
    """Content-addressed artefacts in the flat directory ``path``, one file per block.

    The directory is made by the first write, so a store may be opened on a read-only medium. Several
    processes may read and write at once: a block's content follows from its name, and it appears whole.
    """

    def __init__(self, path: Path | str) -> None:
        """Open the store at ``path``. Raises StoreError if something other than a directory is there."""
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is not a directory; give the store a directory of its own")

    def put(self, data: bytes) -> str:
        """Store ``data`` and return its CID as text. Durable (fsync) when it returns; idempotent.

        Raises:
            OSError: the disk refuses; nothing half-written is left behind.
        """
        cid = self._put(data, durable=True)
        self._sync_directory()
        return cid

    def stage(self, data: bytes) -> str:
        """Store ``data`` as `put` does, but durable only after the next `sync`; for many artefacts at a time.

        Files that a crash leaves incomplete are never taken for the artefact, and another `put` repairs them.
        """
        return self._put(data, durable=False)

    def sync(self) -> None:
        """Make everything that was staged durable, by whichever process."""
        if not self.path.is_dir():
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            _sync_file_system(handle)
        finally:
            os.close(handle)

    def get(self, cid: str | bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
        """The artefact of a CID (text, or 36 binary bytes), every block checked against its hash.

        Raises:
            InvalidCid: malformed.
            MissingBlock: a block of it is not here.
            CorruptBlock: a block's bytes do not belong to its CID, or a node is not what ``put`` writes.
            StoreError: the artefact says that it is larger than ``max_bytes``.
        """
        root = _as_cid(cid)
        return b"".join(self._read_leaf(leaf) for leaf in self._leaves(root, max_bytes))

    def has(self, cid: str | bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bool:
        """Whether every block of the artefact is here; the leaves' bytes are checked only on ``get``.

        Raises:
            InvalidCid: malformed.
            CorruptBlock: a node on the way cannot be read.
            StoreError: the artefact says that it is larger than ``max_bytes``.
        """
        root = _as_cid(cid)
        try:
            return all(self.file_of(leaf.cid).is_file() for leaf in self._leaves(root, max_bytes))
        except MissingBlock:
            return False

    def __iter__(self) -> Iterator[str]:
        """CIDs of all blocks here, sorted; roots and leaves of large artefacts alike."""
        if not self.path.is_dir():
            return iter(())
        return iter(sorted(entry.name for entry in self.path.iterdir() if _is_cid(entry.name)))

    def corrupt_blocks(self) -> Iterator[CorruptBlock]:
        """Read every block and yield an error for each whose bytes do not belong to its CID."""
        for name in self:
            try:
                self.get_block(Cid.parse(name))
            except CorruptBlock as error:
                yield error

    def file_of(self, cid: Cid | str) -> Path:
        """Where the block of ``cid`` lies, or would lie. Raises InvalidCid on malformed text."""
        return self.path / str(Cid.parse(cid) if isinstance(cid, str) else cid)

    def get_block(self, cid: Cid) -> bytes:
        """One block, checked. Raises MissingBlock or CorruptBlock."""
        file = self.file_of(cid)
        try:
            # One byte more than any block may hold is enough to see that a file is too long.
            with file.open("rb") as stream:
                data = stream.read(CHUNK_BYTES + 1)
        except FileNotFoundError:
            raise MissingBlock(
                f"block {cid} is not in the store {self.path}; fetch it, or rerun the round"
            ) from None
        if Cid.of_block(cid.codec, data) != cid:
            raise CorruptBlock(
                f"block {cid} is corrupt: the bytes of {file} hash to something else; restore it"
            )
        return data

    def _leaves(self, root: Cid, max_bytes: int) -> Iterator[Link]:
        if root.codec == RAW:
            file = self.file_of(root)
            size = file.stat().st_size if file.is_file() else 0
            _check_size(root, size, max_bytes)
            return iter([Link(root, size, size)])
        size = sum(link.file_bytes for link in self._links(root))
        _check_size(root, size, max_bytes)
        if size <= CHUNK_BYTES:
            raise CorruptBlock(f"{root} spreads {size} bytes over a tree, where one raw block would do")
        return self._walk(Link(root, size, 0), height_of(size))

    def _walk(self, link: Link, height: int) -> Iterator[Link]:
        if link.cid.codec != (DAG_PB if height else RAW):
            raise CorruptBlock(f"block {link.cid} is of the wrong kind at height {height} of its file's tree")
        if height == 0:
            yield link
            return
        links = self._links(link.cid)
        # The shape follows from the size; anything else could repeat tiny blocks without end.
        if [child.file_bytes for child in links] != child_sizes(link.file_bytes, height):
            raise CorruptBlock(
                f"block {link.cid} does not divide {link.file_bytes} bytes as a balanced tree does"
            )
        for child in links:
            yield from self._walk(child, height - 1)

    def _read_leaf(self, leaf: Link) -> bytes:
        data = self.get_block(leaf.cid)
        if len(data) != leaf.file_bytes:
            raise CorruptBlock(
                f"block {leaf.cid} holds {len(data)} bytes, its parent states {leaf.file_bytes}"
            )
        return data

    def _links(self, cid: Cid) -> list[Link]:
        node = self.get_block(cid)
        try:
            return decode_node(node)
        except ValueError as error:
            raise CorruptBlock(f"block {cid} is not a node of a file: {error}") from error

    def _put(self, data: bytes, *, durable: bool) -> str:
        self.path.mkdir(parents=True, exist_ok=True)
        root = None
        for block in blocks_of(bytes(data)):
            root = block.link.cid
            self._write(root, block.data, durable)
        assert root is not None
        return str(root)

    def _write(self, cid: Cid, data: bytes, durable: bool) -> None:
        file = self.file_of(cid)
        if file.is_file() and file.read_bytes() == data:
            if durable:  # the block may have been staged only
                _sync_file(file)
            return
        temporary = self.path / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _sync_directory(self) -> None:
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sync_file(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_file_system(handle: int) -> None:
    # One flush for all files: an fsync each costs a thousand clients ten seconds.
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # not Linux
        os.sync()
    elif syncfs(handle) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _as_cid(cid: str | bytes) -> Cid:
    return Cid.parse(cid) if isinstance(cid, str) else Cid.from_binary(cid)


def _is_cid(name: str) -> bool:
    try:
        Cid.parse(name)
    except InvalidCid:
        return False
    return True


def _check_size(cid: Cid, size: int, limit: int) -> None:
    if size > limit:
        raise StoreError(
            f"{cid} holds {size} bytes, more than the {limit} allowed; raise max_bytes if you trust it"
        )
