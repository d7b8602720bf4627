"""Files that are there whole or not at all, whenever the process is killed. Every package may use this module."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_atomically(
    path: Path, content: bytes | str, *, durable: bool = True, private: bool = False
) -> None:
    """Write a file beside `path`, flush it to the disk, move it into place and flush the folder, without which a power
    cut could bring the old file back; text is written as UTF-8.

    durable: False leaves both flushes out. The file is still whole or not there, however the process ends, but not
    after a power cut. private: for its owner alone to read and write.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    with atomic_file(path, durable=durable, private=private) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path, *, durable: bool = True, private: bool = False) -> Iterator[BinaryIO]:
    """The same for what is written piece by piece: the file appears when the context is left without an exception.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _of(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if not private:
            # mkstemp makes files private; give the usual mode instead.
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
        if durable:
            _flush_folder(path.parent)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, name):
            raise _of(path, error) from error
        raise


@contextmanager
def resumable_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is written piece by piece and by several processes in turn: what an earlier one left is in it, open
    for reading and writing at its beginning. It appears at `path` when the context is left without an exception;
    otherwise it stays beside it, as `.NAME.part`.

    Raises:
        BlockingIOError: another process writes it now.
        OSError: the folder is missing or cannot be written.
    """
    part = path.parent / f".{path.name}.part"
    try:
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
        _flush_folder(path.parent)
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, "another process writes this file now", str(path)) from error
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            raise _of(path, error) from error
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to write into, beside `path`, which takes its place when the context is left without an exception;
    what was there is deleted then. Not flushed to the disk.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield made
        made.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            path.replace(old)
            made.replace(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            made.replace(path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def is_free(path: Path, mark: str) -> bool:
    """Whether a folder with a file named `mark` may take the place of `path`: nothing is there, or an empty folder, or
    another one with such a file."""
    if path.is_dir():
        return not any(path.iterdir()) or (path / mark).is_file()
    return not path.exists() and not path.is_symlink()


def _flush_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _of(path: Path, error: OSError) -> OSError:
    """The error of the file that was asked for, not of the one beside it; a full disk names none."""
    return OSError(error.errno, error.strerror, str(path))
