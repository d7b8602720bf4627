"""A pool of worker processes that stay warm, hand out tasks as workers come free, and survive crashes.

`concurrent.futures.ProcessPoolExecutor` gives up the whole pool when one worker dies and cannot stop a single
task that takes too long; federated clients do both, so the pool here restarts only the worker concerned.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Lost:
    """What `WorkerPool.run` yields for a task whose worker died or overran its time."""

    reason: str


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    position: int | None = None
    due: float | None = None


def forking_supported() -> bool:
    """Whether worker processes can be used here.

    Only Linux: forking lets workers share the data sets in memory and run ClientApps that cannot be pickled,
    and is unsafe beside macOS's frameworks.
    """
    return sys.platform == "linux"


class WorkerPool(Generic[Task, Answer]):
    """Runs `handle(task)` in `count` processes. Use as a context manager, or call `close()`.

    handle: inherited by the fork, so it may be a closure; task and answer travel by pickle. It must not
    raise: it turns failures into answers. fresh: start the processes anew instead of forking them, on any system and
    beside any threads; then `handle` pickles, too, and a script that is run by its path guards its entry by
    `if __name__ == "__main__"`, since these processes import it.
    """

    def __init__(self, handle: Callable[[Task], Answer], count: int, *, fresh: bool = False) -> None:
        if not fresh and not forking_supported():
            raise ValueError(f"worker processes are not supported on {sys.platform}; use workers=0")
        if count < 1:
            raise ValueError(f"a pool needs at least one worker, not {count}")
        self._handle = handle
        self._timeout: float | None = None
        self._runs = 0
        self._fresh = fresh
        self._context: Any = multiprocessing.get_context("spawn" if fresh else "fork")
        self._workers: list[_Worker] = []
        # Objects that exist already lie in memory pages that all processes share. A garbage collection would write into
        # each object, and so copy these pages.
        gc.collect()
        gc.freeze()
        for _ in range(count):
            self._workers.append(self._start())
        gc.unfreeze()

    def run(
        self, tasks: Iterable[Task], *, timeout: float | None = None, until: float | None = None
    ) -> Iterator[tuple[int, Answer | Lost]]:
        """Yield `(position of the task, its answer)` as answers arrive; takes tasks only as workers become free.

        timeout: seconds that a task may take before its worker is killed and replaced; None: no limit. until: the
        `time.monotonic()` at which everything ends; tasks without an answer then get none.
        """
        self._abandon_unfinished()  # of a run whose caller stopped early and still holds its iterator
        self._timeout = timeout
        self._runs += 1
        mine = self._runs
        numbered = iter(enumerate(tasks))
        try:
            for worker in list(self._workers):
                self._hand_next(numbered, worker)
            while busy := [worker for worker in self._workers if worker.position is not None]:
                if until is not None and time.monotonic() >= until:
                    return
                yield from self._collect(busy, numbered, until)
        finally:
            if mine == self._runs:
                self._abandon_unfinished()

    def close(self) -> None:
        """Stop the workers; those in the middle of a task are killed."""
        for worker in self._workers:
            if worker.position is not None:
                worker.process.kill()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def __enter__(self) -> WorkerPool[Task, Answer]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        inherited = [] if self._fresh else [worker.connection for worker in self._workers] + [ours]
        process = self._context.Process(
            target=_serve,
            args=(self._handle, theirs, inherited, os.getpid()),
            daemon=True,
            name="fedvm-client",
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand_next(self, numbered: Iterator[tuple[int, Task]], worker: _Worker) -> None:
        following = next(numbered, None)
        if following is None:
            return
        position, task = following
        try:
            worker.connection.send(task)
        except (BrokenPipeError, ConnectionResetError):  # died while idle: a fresh one takes the task
            worker = self._replace(worker)
            worker.connection.send(task)
        worker.position = position
        worker.due = None if self._timeout is None else time.monotonic() + self._timeout

    def _collect(
        self, busy: list[_Worker], numbered: Iterator[tuple[int, Task]], until: float | None
    ) -> Iterator[tuple[int, Answer | Lost]]:
        ends = [worker.due for worker in busy] + [until]
        next_due = min((end for end in ends if end is not None), default=None)
        patience = None if next_due is None else max(0.0, next_due - time.monotonic())
        ready = set(wait([worker.connection for worker in busy], timeout=patience))
        for worker in busy:
            assert worker.position is not None
            position = worker.position
            answer: bytes | Lost
            if worker.connection in ready:
                try:
                    answer = worker.connection.recv_bytes()
                    worker.position = None
                except (EOFError, ConnectionResetError):
                    worker.process.join(timeout=5)
                    answer = Lost(f"the worker process died (exit code {worker.process.exitcode})")
                    worker = self._replace(worker)
            elif worker.due is not None and time.monotonic() >= worker.due:
                answer = Lost(f"no answer within {self._timeout:g} s")
                worker = self._replace(worker)
            else:
                continue
            self._hand_next(numbered, worker)
            # Unpacked only now: meanwhile the worker is at work again.
            yield position, answer if isinstance(answer, Lost) else pickle.loads(answer)

    def _replace(self, worker: _Worker) -> _Worker:
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        fresh = self._start()
        self._workers.append(fresh)
        return fresh

    def _abandon_unfinished(self) -> None:
        # Reached with work under way only when the caller stopped early (Ctrl-C) or time was up: late answers
        # must not be taken for answers to the next call's tasks.
        for worker in [worker for worker in self._workers if worker.position is not None]:
            self._replace(worker)


def _serve(
    handle: Callable[[Any], Any], connection: Connection, inherited: list[Connection], parent: int
) -> None:
    _die_with(parent)
    _allow_children()
    _keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # and handles its own end, which is not the worker's
    for other in inherited:
        other.close()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send(handle(connection.recv()))


def _allow_children() -> None:
    # multiprocessing ends workers with this process, as it must, and forbids such processes children of their own. A
    # data loader with workers needs some; they watch the process that made them.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def _die_with(parent: int) -> None:
    # A killed parent must not leave a worker that still holds inherited file locks (the chain's, say).
    if sys.platform != "linux":  # there the pipe's end tells it
        return
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _keep_freed_memory() -> None:
    # glibc gives every freed block above 128 KiB back to the kernel, which clears and maps it again for the next
    # tensor of that size: up to a sixth of the time of training a small network.
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 64 << 20)
