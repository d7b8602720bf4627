"""A directory of blocks named by their CID; a block that is read is checked against its name."""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedvm.store.cid import RAW, Cid, as_cid
from fedvm.store.dag import DEFAULT_MAX_BYTES, check_size, leaves, read_file
from fedvm.store.errors import CorruptBlock, InvalidCid, MissingBlock, StoreError
from fedvm.store.unixfs import CHUNK_BYTES, blocks_of

_TEMPORARY: Final = ".writing-"


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

    def stage_block(self, cid: Cid, data: bytes) -> None:
        """Store one block of a file, as durable as `stage` makes it. Raises CorruptBlock if the bytes are another's."""
        if Cid.of_block(cid.codec, data) != cid:
            raise CorruptBlock(f"the bytes given for block {cid} hash to something else; fetch it again")
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(cid, data, durable=False)

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
        root = as_cid(cid)
        if root.codec == RAW and (file := self.file_of(root)).is_file():
            check_size(root, file.stat().st_size, max_bytes)
        return read_file(root, self.get_block, max_bytes)

    def has(self, cid: str | bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bool:
        """Whether every block of the artefact is here; the leaves' sizes are checked, their bytes only on ``get``.

        Raises:
            InvalidCid: malformed.
            CorruptBlock: a node on the way cannot be read.
            StoreError: the artefact says that it is larger than ``max_bytes``.
        """
        root = as_cid(cid)
        if root.codec == RAW:
            return self.file_of(root).is_file()
        try:
            every = leaves(root, self.get_block, max_bytes)
            return all(_size(self.file_of(leaf.cid)) == leaf.file_bytes for leaf in every)
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


def _size(path: Path) -> int:
    """Bytes of a file, −1 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _is_cid(name: str) -> bool:
    try:
        Cid.parse(name)
    except InvalidCid:
        return False
    return True
