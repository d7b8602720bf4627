"""The device to compute on, and how to compute reproducibly on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fedvm.learning.errors import TrainingError, unknown_name

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `mps`; `auto` takes the first of cuda, mps, cpu that the machine has.

    Raises:
        TrainingError: unknown name, or a device this machine does not have.
    """
    if name not in DEVICES:
        raise TrainingError(unknown_name("device", name, DEVICES))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, available in there.items() if available))
    if not there[name]:
        raise TrainingError(f"device '{name}' is not available to PyTorch here; use --device cpu or auto")
    return torch.device(name)


@contextmanager
def deterministic(threads: int = 1) -> Iterator[None]:
    """Run with deterministic kernels and a fixed number of threads, then put both settings back.

    PyTorch splits sums over its threads, so that results depend on their number in the last bits. With the
    number fixed, a CPU computes the same bits whatever its core count. A CPU with other vector units may
    still round differently, and on a GPU operators without a deterministic form only warn. The settings are
    the process's own: do not run two of these in concurrent threads (use processes).

    Raises:
        TrainingError: `threads` is less than 1.
    """
    if threads < 1:
        raise TrainingError(f"threads must be at least 1, got {threads}")
    before = torch.get_num_threads()
    enforced = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enforced, warn_only=warn_only)
        torch.set_num_threads(before)
