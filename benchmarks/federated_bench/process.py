"""Run a command in a process of its own; take its wall time, and the memory of all processes it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
SAMPLES_A_SECOND = 4
_MARK = "FEDVM_BENCH_RUN"
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
_QUIET_FLOWER = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_DEDUP_LOGS": "0"}


@dataclass(frozen=True)
class Finished:
    """seconds: of wall time, from start to exit. peak_mb: the largest sum of the processes' PSS in 10^6 bytes,
    None if it was not sampled. output: the JSON of the last line printed."""

    seconds: float
    peak_mb: float | None
    output: dict[str, Any]


def run(
    module: str,
    arguments: list[str],
    log: Path,
    *,
    python: str = sys.executable,
    memory: bool = False,
    timeout: float = 600,
) -> Finished:
    """Run `python -m module arguments`. log: gets what it says on stderr.

    memory: sample the memory meanwhile, which takes time from the command on a machine with few cores.
    Raises RuntimeError, naming the log, if it fails or takes longer than `timeout` seconds.
    """
    mark = f"{_MARK}={uuid.uuid4().hex}"
    name, value = mark.split("=")
    environment = {**os.environ, **_ONE_THREAD, **_QUIET_FLOWER, name: value}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    sampler = _Sampler(mark) if memory else None
    with log.open("a", encoding="utf-8") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            [python, "-m", module, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            if sampler:
                sampler.start()
            printed, _ = process.communicate(timeout=timeout)
            seconds = time.perf_counter() - started
        except BaseException as error:
            process.kill()
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise RuntimeError(f"{module} took more than {timeout:g} s; see {log}") from error
            raise
        finally:
            if sampler:
                sampler.stop()
            _wait_for_the_rest(mark)
    if process.returncode != 0:
        raise RuntimeError(f"{module} {' '.join(arguments)} ended with {process.returncode}; see {log}")
    return Finished(seconds, sampler.peak / 1e6 if sampler else None, json.loads(printed.splitlines()[-1]))


class _Sampler(threading.Thread):
    """Adds up the PSS of the marked processes again and again. `peak`: the largest sum, bytes."""

    def __init__(self, mark: str) -> None:
        super().__init__(daemon=True)
        self._mark, self._over, self.peak = mark, threading.Event(), 0

    def run(self) -> None:
        while not self._over.wait(1 / SAMPLES_A_SECOND):
            self.peak = max(self.peak, sum(_pss(process) for process in _marked(self._mark)))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _marked(mark: str) -> list[Path]:
    """The /proc directories of all processes that were started with this mark in their environment.

    Ray's daemons leave the tree of their parent, but not its environment.
    """
    wanted, found = mark.encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(process)
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def _pss(process: Path) -> int:
    """Proportional set size of a process, bytes: a page that n processes share counts as a n-th of it in each."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _wait_for_the_rest(mark: str, patience: float = 30) -> None:
    """Let what the command left behind end, so that it does not slow down the next."""
    deadline = time.monotonic() + patience
    while _marked(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
