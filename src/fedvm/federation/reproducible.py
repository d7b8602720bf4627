"""Run a client so that its result depends on the seed alone, not on the process or the machine it runs in."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from the parts' text, e.g. `derive_seed(run_seed, "train", round, member)`."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python and NumPy, and PyTorch's if it is imported."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    if torch := sys.modules.get("torch"):
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # the same, without queueing seeds for devices that are never used
            torch.default_generator.manual_seed(seed)


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and PyTorch and use one thread; restore all of it after.

    An unmodified ClientApp draws from the global generators, and PyTorch's sums depend on the number of
    threads, so without this the same client would answer differently in another process. PyTorch is only
    touched if the app has imported it.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    torch_state = (torch.get_rng_state(), torch.get_num_threads()) if torch else None
    seed_generators(seed)
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if torch and torch_state:
            torch.set_rng_state(torch_state[0])
            torch.set_num_threads(torch_state[1])
