"""Programs in revm: what a call returns and the gas it takes, of compiled models and of others alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.chain.revm import RevmProgram
from fedvm.compiler import CompiledModel
from fedvm.evm.calls import CLASSIFY, encode_call

GAS = 10**12
"""More than any call here takes; what limits a chain sets is not the subject."""


@dataclass(frozen=True)
class Program:
    """Runtime codes by address, and the address of the contract that is called."""

    codes: Mapping[str, bytes]
    entry: str

    @classmethod
    def of(cls, compiled: CompiledModel) -> Program:
        """A compiled model, its contracts at made-up addresses."""
        addresses = [f"0x{0xFED << 148 | i:040x}" for i in range(1, len(compiled.units) + 1)]
        codes = compiled.link(addresses[:-1])
        return cls(dict(zip(addresses, codes, strict=True)), addresses[-1])


@dataclass(frozen=True)
class Differential:
    """Outcome of running images through a contract and its reference: images run, those whose scores differ in
    any bit, and the gas of one prediction (the least and the most over the images)."""

    images: int
    mismatches: int
    gas_least: int
    gas_most: int


def compare(
    program: Program, images: NDArray[np.uint8], expected: NDArray[Any], step: Callable[[int], None]
) -> Differential:
    """Run `images` `[N, …]` through predict(bytes); `expected`: the reference's scores `[N, O]`.

    Raises CallFailed if the contract reverts.
    """
    revm = RevmProgram(program.codes, program.entry)
    wrong, gas = 0, []
    for number, (image, scores) in enumerate(zip(images, expected, strict=True), start=1):
        outcome = revm.predict_many(image[None])
        wrong += not np.array_equal(outcome.scores[0], scores.reshape(-1))
        gas.append(int(outcome.gas[0]))
        step(number)
    return Differential(len(images), wrong, min(gas), max(gas))


def classify_gas(program: Program, image: NDArray[np.uint8]) -> tuple[int, int]:
    """(class, gas) of classify(bytes) for one image."""
    result = RevmProgram(program.codes, program.entry).call(encode_call(CLASSIFY, image.tobytes()), gas=GAS)
    if not result.success:
        raise RuntimeError(f"classify reverted: {result.halt or result.output.hex()}")
    return int.from_bytes(result.output, "big"), result.gas_used
