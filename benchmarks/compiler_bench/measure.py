"""Compiles one model and measures what its contracts cost and how well its integers do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from compiler_bench.cases import Case
from compiler_bench.contract import Differential, Program, classify_gas, compare
from compiler_bench.floor import floor_gas
from compiler_bench.rows import Row
from fedvm.compiler import CompiledModel, compile_model

BATCH = 500
Progress = Callable[[str], None]


class PredictionDiffers(AssertionError):
    """The contract does not do what the compiler said: other gas, or other scores. A defect of the compiler."""


@dataclass(frozen=True)
class Measurement:
    """One model, compiled and measured. Gas is execution gas: without a transaction's 21,000 and its calldata,
    except `filecoin_gas`, an estimate for a whole message, and `deploy_gas`, of whole transactions."""

    name: str
    macs: int
    gas: int
    classify_gas: int
    filecoin_gas: int
    deploy_gas: int
    deploy_filecoin: int
    contracts: int
    code_bytes: int
    floor: float
    compile_seconds: float
    rows: int
    float_accuracy: float
    integer_accuracy: float
    agreement: float
    differential: Differential

    def to_rows(self) -> list[Row]:
        """As rows of the results file."""
        values = [
            ("gas", self.gas, "gas"),
            ("gas of classify", self.classify_gas, "gas"),
            ("gas per multiply-accumulate", round(self.gas / self.macs, 4), "gas/MAC"),
            ("gas over the floor", round(self.gas / self.floor, 3), "×"),
            ("Filecoin gas, whole message, estimate", self.filecoin_gas, "Filecoin gas"),
            ("deployment gas", self.deploy_gas, "gas"),
            ("deployment, Filecoin gas, estimate", self.deploy_filecoin, "Filecoin gas"),
            ("contracts", self.contracts, "contracts"),
            ("code", self.code_bytes, "bytes"),
            ("multiply-accumulates", self.macs, "MAC"),
            ("compile time", round(self.compile_seconds, 2), "s"),
            (f"accuracy of the integers, {self.rows} rows", round(100 * self.integer_accuracy, 2), "%"),
            (f"accuracy of the floats, {self.rows} rows", round(100 * self.float_accuracy, 2), "%"),
            (f"agreement with the floats, {self.rows} rows", round(100 * self.agreement, 2), "%"),
            ("images run in the contract", self.differential.images, "images"),
            ("images whose scores differ from ONNX Runtime", self.differential.mismatches, "images"),
        ]
        return [Row(f"{self.name}: {name}", value, unit) for name, value, unit in values]


def measure(case: Case, say: Progress) -> tuple[Measurement, CompiledModel]:
    """Compile the model, run its test images in ONNX Runtime and some in the contract.

    Raises PredictionDiffers unless revm charges exactly the gas that the compiler predicted.
    """
    say("compiling")
    start = time.perf_counter()
    compiled = compile_model(case.model, case.calibration, preprocess=case.preprocess, **case.options)
    seconds = time.perf_counter() - start
    gas = compiled.manifest["gas"]

    say("scoring the test rows")
    scores = reference_scores(compiled, case.images)
    answers, float_answers = scores.argmax(axis=1), _float_answers(case)

    program = Program.of(compiled)
    chosen = case.images[: case.in_contract]
    outcome = compare(
        program,
        chosen,
        scores[: len(chosen)],
        lambda done: say(f"image {done} of {len(chosen)} in the contract"),
    )
    if {outcome.gas_least, outcome.gas_most} != {gas["evm"]}:
        raise PredictionDiffers(
            f"{case.name}: predict takes {outcome.gas_least} to {outcome.gas_most} gas, not {gas['evm']}"
        )
    answer, spent = classify_gas(program, case.images[0])
    if spent != gas["classify"] or answer != answers[0]:
        raise PredictionDiffers(
            f"{case.name}: classify gives {answer} for {spent} gas, not {answers[0]} for {gas['classify']}"
        )
    measurement = Measurement(
        name=case.name,
        macs=compiled.manifest["macs"],
        gas=gas["evm"],
        classify_gas=gas["classify"],
        filecoin_gas=gas["filecoin"],
        deploy_gas=gas["deploy"],
        deploy_filecoin=gas["deploy_filecoin"],
        contracts=len(compiled.units),
        code_bytes=compiled.manifest["code_bytes"],
        floor=floor_gas(compiled.manifest["layers"]),
        compile_seconds=seconds,
        rows=len(case.images),
        float_accuracy=float((float_answers == case.labels).mean()),
        integer_accuracy=float((answers == case.labels).mean()),
        agreement=float((answers == float_answers).mean()),
        differential=outcome,
    )
    return measurement, compiled


def reference_scores(compiled: CompiledModel, images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Scores `[N, O]` of the exact integer network in ONNX Runtime."""
    return _run(compiled.reference.SerializeToString(), images)


def _float_answers(case: Case) -> NDArray[np.int64]:
    scale, offset = case.preprocess or (1.0, 0.0)
    scores = _run(case.model, case.images, lambda part: (part * scale + offset).astype(np.float32))
    answers: NDArray[np.int64] = scores.argmax(axis=1)
    return answers


def _run(
    model: bytes,
    images: NDArray[np.uint8],
    prepare: Callable[[NDArray[np.uint8]], NDArray[Any]] = lambda x: x,
) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [
        session.run(None, {name: prepare(images[i : i + BATCH])})[0] for i in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)
