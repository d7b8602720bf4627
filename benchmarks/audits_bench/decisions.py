"""Predictions of a LeNet that an audit runs again in a second, by one core's time."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from fedvm.chain.revm import RevmProgram
from fedvm.compiler import compile_model
from fedvm.evm.keccak import keccak

MODEL = Path(__file__).parents[1] / "models" / "lenet_cifar10_qat.onnx"
PREDICTIONS, REPEATS = 100, 3


def lenet() -> RevmProgram:
    """The program of a LeNet over 32 × 32 images in colour, as a service asks it."""
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    compiled = compile_model(MODEL.read_bytes(), images, verify=False, min_agreement=0, min_correlation=0)
    parts = ["0x" + keccak(unit.name.encode())[12:].hex() for unit in compiled.units]
    *others, entry = parts
    codes = dict(zip(parts, compiled.link(others), strict=True))
    return RevmProgram(codes, entry, warm=True)


def decisions_per_second(program: RevmProgram | None = None, predictions: int = PREDICTIONS) -> float:
    """The best of some runs."""
    asked = program or lenet()
    inputs = np.random.default_rng(1).integers(0, 256, (predictions, 3 * 32 * 32), dtype=np.uint8)
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        for row in inputs:
            asked.predict(row.tobytes())
        times.append(time.process_time() - begin)
    return round(predictions / min(times), 1)
