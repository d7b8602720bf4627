"""The run directory: one process at a time, never mixed with what lies there already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedvm.files import write_atomically
from fedvm.rundir.errors import RunDirectoryError
from fedvm.rundir.layout import RunDirectory

HOLD = """
import sys, time
from pathlib import Path
from fedvm.rundir.layout import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(directory.path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(RunDirectoryError, match=f"already in use: process {holder.pid}"),
            directory.locked(),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()
    with directory.locked():
        pass


def test_a_directory_with_something_in_it_is_not_free(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.require_free()
    with directory.locked():
        directory.require_free()
    (tmp_path / "thesis.pdf").write_bytes(b"years of work")
    with pytest.raises(RunDirectoryError, match="it holds no run"):
        directory.require_free()
    directory.config.write_text("")
    with pytest.raises(RunDirectoryError, match="continue it with --resume"):
        directory.require_free()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(RunDirectoryError, match="is a file"):
        RunDirectory(path).require_free()
    with pytest.raises(RunDirectoryError, match="is no run directory"):
        RunDirectory(tmp_path).require_run()


def test_writing_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "one")
    write_atomically(tmp_path / "a.json", b"two")
    assert (tmp_path / "a.json").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_the_folder_is_flushed_once_the_file_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No power cut can be had here, so what is seen is that the kernel is asked, and when."""
    path, flushed, flush = tmp_path / "a.json", [], os.fsync
    write_atomically(path, "one")

    def spy(handle: int) -> None:
        flushed.append((os.path.samestat(os.fstat(handle), tmp_path.stat()), path.read_text()))
        flush(handle)

    monkeypatch.setattr(os, "fsync", spy)
    write_atomically(path, "two")
    assert flushed == [(False, "one"), (True, "two")]
