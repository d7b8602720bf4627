"""The run directory: its layout, its lock, and whether a run may start in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedvm.devnet import CHAIN_FILE
from fedvm.rundir.errors import RunDirectoryError
from fedvm.store import DEFAULT_STORES


@dataclass(frozen=True)
class RunDirectory:
    """Paths in a run directory (see `docs/architecture.md`)."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def chain(self) -> Path:
        return self.path / CHAIN_FILE

    @property
    def checkpoint(self) -> Path:
        return self.path / "model.pt"

    @property
    def onnx(self) -> Path:
        return self.path / "model.onnx"

    @property
    def reference(self) -> Path:
        return self.path / "model.int.onnx"

    @property
    def program(self) -> Path:
        return self.path / "program"

    @property
    def deployment(self) -> Path:
        return self.path / "deployment.json"

    @property
    def rounds(self) -> Path:
        return self.path / "rounds"

    @property
    def clients(self) -> Path:
        """What simulated members of a sealed federation remember, a folder each."""
        return self.path / "clients"

    @property
    def baseline(self) -> Path:
        return self.path / "baseline.json"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def site(self) -> Path:
        """The pages of the run, as a static site."""
        return self.path / "site"

    @property
    def samples(self) -> Path:
        """The gate's validation set, which its custodian must keep secret."""
        return self.path / "gate-samples.npz"

    @property
    def images(self) -> Path:
        return self.path / "images"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"

    @property
    def started(self) -> bool:
        """Whether a run has begun here, that is, whether the directory holds a resolved configuration."""
        return self.config.is_file()

    def require_run(self, option: str = "--run") -> None:
        """Raise RunDirectoryError unless a run has been started here. option: the option with which the user named the
        directory."""
        if not self.started:
            raise RunDirectoryError(
                f"{self.path} is no run directory: it holds no config.toml. "
                f"Make one with `fedvm run`, or name another with {option}."
            )

    def require_free(self) -> None:
        """Raise RunDirectoryError if the directory holds files that a new run would mix with."""
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"{self.path} is a file: name another directory with --out.")
        if not self.path.is_dir() or all(entry.name == self.lock.name for entry in self.path.iterdir()):
            return
        hint = "continue it with --resume" if self.started else "it holds no run"
        raise RunDirectoryError(f"{self.path} is not empty: {hint}, or name another directory with --out.")

    @property
    def has_memory_alone(self) -> bool:
        """Whether nothing is here but what simulated clients remember, and a store, both brought from a machine that is
        lost; or what a rebuilding that was interrupted had written."""
        if not self.path.is_dir() or self.started:
            return False
        allowed = {self.lock.name, self.clients.name, self.deployment.name, DEFAULT_STORES[0]}
        return {one.name for one in self.path.iterdir()} <= allowed

    @property
    def in_use(self) -> bool:
        """Whether a process works in the directory now."""
        if not self.lock.is_file():
            return False
        with self.lock.open(encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory for this process; the kernel releases the lock however the process ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = self.lock.open("a+", encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error}") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                raise RunDirectoryError(
                    f"run directory already in use: process {holder} works in {self.path}. "
                    "Wait for it, stop it, or name another directory with --out."
                ) from None
            handle.seek(0)
            handle.truncate()
            handle.write(f"{os.getpid()}\n")
            handle.flush()
            yield
