"""Tools to check a program: difficult inputs, and its answers from revm and from ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fedvm.compiler.compiled import Unit
from fedvm.compiler.errors import ExactnessError
from fedvm.compiler.graph import IntArray
from fedvm.evm.calls import CLASSIFY, PREDICT, encode_call
from fedvm.evm.revm import Contracts, Outcome, decode_scores

SEED = 11
BATCH = 256
"""Inputs that ONNX Runtime is given at a time."""


def probe_inputs(
    shape: tuple[int, ...], calibration: NDArray[np.uint8] | None, count: int
) -> NDArray[np.uint8]:
    """At most `count` inputs, uint8 `[N, *shape]`, at least one of each kind: all low, all high, random, random
    lows and highs, one byte high among lows and one low among highs, and, spread over them, calibration inputs."""
    rng = np.random.default_rng(SEED)
    size = int(np.prod(shape))
    low, high = np.zeros(size, np.uint8), np.full(size, 255, np.uint8)
    rows = [low, high]
    for number in range(max(1, (count - 2) // 5)):
        spike, dip = low.copy(), high.copy()
        spike[rng.integers(size)], dip[rng.integers(size)] = 255, 0
        rows += [
            rng.integers(0, 256, size, np.uint8),
            rng.choice(np.array([0, 255], np.uint8), size),
            spike,
            dip,
        ]
        if calibration is not None:
            chosen = number * len(calibration) // max(1, (count - 2) // 5)
            rows.append(calibration[chosen].reshape(-1))
    return np.stack(rows).reshape(-1, *shape)


def reference_scores(reference: bytes, inputs: NDArray[np.uint8]) -> IntArray:
    """Scores int64 `[N, O]` that ONNX Runtime computes with an integer ONNX file. inputs: uint8 `[N, *onnx_shape]`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(reference, options, providers=["CPUExecutionProvider"])
    batches = [
        session.run(["scores"], {"input": inputs[start : start + BATCH]})[0]
        for start in range(0, len(inputs), BATCH)
    ]
    return np.concatenate(batches).reshape(len(inputs), -1).astype(np.int64)


class Program:
    """Linked contracts in revm."""

    def __init__(self, units: Sequence[Unit]) -> None:
        addresses = {unit.name: f"0x{0x1000 + i:040x}" for i, unit in enumerate(units)}
        self._entry = addresses[units[-1].name]
        self._contracts = Contracts({addresses[unit.name]: unit.linked(addresses) for unit in units})

    def predict(self, data: bytes) -> tuple[IntArray, int]:
        """Scores `[O]` of one input, and the gas of the call."""
        outcome = self.call(encode_call(PREDICT, data))
        return decode_scores(outcome.output).astype(np.int64), outcome.gas_used

    def classify(self, data: bytes) -> tuple[int, int]:
        """The class of one input, and the gas of the call."""
        outcome = self.call(encode_call(CLASSIFY, data))
        return int.from_bytes(outcome.output, "big"), outcome.gas_used

    def call(self, calldata: bytes) -> Outcome:
        """The outcome of a call of the entry. Raises ExactnessError if the call does not return."""
        outcome = self._contracts.call(self._entry, calldata)
        if not outcome.success:
            raise ExactnessError(
                f"the program does not return: {outcome.halt or '0x' + outcome.output.hex()}"
            )
        return outcome


def run_stages(stages: Sequence[Program], data: bytes) -> IntArray:
    """Scores `[O]` of one input, from stage to stage by the bytes of the states."""
    for stage in stages:
        data = stage.call(data).output
    return decode_scores(data).astype(np.int64)
