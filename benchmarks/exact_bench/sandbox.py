"""Jobs in processes of their own, each with a limit on time and memory: to hang or to die is a result like others."""

from __future__ import annotations

import math
import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")

MEMORY = 6 << 30
"""Bytes of address space of a worker; PyTorch and ONNX Runtime alone map some two gigabytes."""
READY = "ready"
PATIENCE = 5
"""Time by the clock that a job may take for each second of processor time, so that a busy machine makes no hang."""
STARTING = 300.0
"""Seconds by the clock that a process may take to import what it needs."""


@dataclass(frozen=True)
class Failed:
    """A job that gave no answer. kind: "hang" over the limit of time (processor time, or much more by the clock),
    "died" if the process ended, "memory" if it asked for more than it may have."""

    kind: str
    reason: str


class Sandbox(Generic[Job, Answer]):
    """Runs a function on jobs in `workers` processes. The function, its jobs and its answers are pickled.

    seconds: of processor time a job may take; memory: bytes of address space that a process may map.
    """

    def __init__(
        self, work: Callable[[Job], Answer], *, workers: int = 2, seconds: float = 60, memory: int = MEMORY
    ) -> None:
        self._work, self._count, self._seconds, self._memory = work, workers, seconds, memory

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Answer | Failed]]:
        """Every job with its answer, in the order in which they are done."""
        queue, ended = iter(jobs), False
        with ExitStack() as stack:
            workers = [_Worker(self._work, self._memory) for _ in range(self._count)]
            for worker in workers:
                stack.callback(worker.stop)
            while True:
                for worker in workers:
                    if not ended and worker.idle:
                        try:
                            worker.give(next(queue), self._seconds)
                        except StopIteration:
                            ended = True
                busy = [worker for worker in workers if not worker.idle]
                if not busy:
                    return
                soonest = min(worker.deadline for worker in busy)
                wait([worker.connection for worker in busy], max(0, soonest - time.monotonic()))
                for worker in busy:
                    yield from worker.answer()


class _Worker(Generic[Job, Answer]):
    """One process, started again when it has hung or died."""

    def __init__(self, work: Callable[[Job], Answer], memory: int) -> None:
        self._work, self._memory = work, memory
        self._job: list[Job] = []
        self.deadline = 0.0
        self._start()

    @property
    def idle(self) -> bool:
        return not self._job

    def give(self, job: Job, seconds: float) -> None:
        self._job, self.deadline = [job], time.monotonic() + PATIENCE * seconds
        self.connection.send((job, seconds))

    def answer(self) -> Iterator[tuple[Job, Answer | Failed]]:
        """The job and its answer, if there is one by now."""
        job = self._job[0]
        if self.connection.poll():
            try:
                result = self.connection.recv()
            except (EOFError, OSError):
                self._process.join(5)
                result = _ended(self._process.exitcode)
        elif time.monotonic() >= self.deadline:
            result = Failed("hang", "no answer within the limit of time")
        else:
            return
        self._job = []
        if isinstance(result, Failed) and result.kind != "memory":
            self.stop()
            self._start()
        yield job, result

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._work, self._memory), daemon=True)
        self._process.start()
        theirs.close()
        if not self.connection.poll(STARTING) or self.connection.recv() != READY:
            raise RuntimeError("a process of the sandbox does not start")


def _ended(code: int | None) -> Failed:
    if code == -signal.SIGXCPU:
        return Failed("hang", "more processor time than a job may take")
    return Failed("died", f"the process ended with {code}")


def _serve(connection: Connection, work: Callable[[Any], Any], memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    connection.send(READY)
    while True:
        try:
            job, seconds = connection.recv()
        except EOFError:
            return
        # The kernel ends the process when its processor time passes this.
        until = math.ceil(time.process_time() + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))
        try:
            answer = work(job)
        except MemoryError:
            answer = Failed("memory", f"more than {memory >> 20} MiB")
        connection.send(answer)
