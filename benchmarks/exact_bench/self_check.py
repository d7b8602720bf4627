"""What the compiler's check of its own product costs, as a share of compilation."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler import compile_model
from fedvm.learning.data import Normalisation

REPEATS = 3


def self_check_share(model: Path, images: NDArray[np.uint8]) -> tuple[float, float]:
    """(share of the self-check in the time of compilation, seconds of compilation) of LeNet; the least of some runs of
    each, which other work on the machine lengthens least."""
    unit = (Normalisation().scale, Normalisation().offset)

    def seconds(verify: bool) -> float:
        start = time.process_time()
        compile_model(model, images, preprocess=unit, activation_bits=6, verify=verify)
        return time.process_time() - start

    runs = [(seconds(True), seconds(False)) for _ in range(REPEATS)]
    whole, without = min(a for a, _ in runs), min(b for _, b in runs)
    return max(0.0, 1 - without / whole), whole
