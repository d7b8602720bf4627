"""Checks the finished program against its reference before it is returned.

The proofs (`layout.py`, `moves.py`) say why a program must be right. This module runs it: the linked contracts, in
revm, on the inputs that are hardest on them, against ONNX Runtime on the reference and against the integer network in
numpy. All three must give the same scores to the bit, in one call and in stages, for the gas that was predicted. A
difference is a defect of the compiler, so the search goes on to the first layer whose output differs, which the error
names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler import interpreter
from fedvm.compiler.compiled import CompiledModel
from fedvm.compiler.culprit import wrong_layer_of_program, wrong_layer_of_reference
from fedvm.compiler.errors import ExactnessError
from fedvm.compiler.graph import IntArray, IntegerGraph
from fedvm.compiler.layout import Plan
from fedvm.compiler.probe import Program, probe_inputs, reference_scores, run_stages

MOST = 37
"""Inputs that are tried at most."""
LEAST = 7
"""Inputs that are tried whatever a prediction costs: one of every kind."""
GAS = 60_000_000
"""Gas that the predictions may take in all before there are fewer inputs."""


Culprit: TypeAlias = Callable[[NDArray[np.uint8]], str]
"""Finds the first wrong layer on inputs for which the scores are wrong; "" if there is none."""


@dataclass(frozen=True)
class _Check:
    """A program and the inputs to run, with the scores by its definition."""

    compiled: CompiledModel
    inputs: NDArray[np.uint8]
    expected: IntArray
    in_reference: Culprit
    in_program: Culprit


def verify(
    compiled: CompiledModel, graph: IntegerGraph, plan: Plan, calibration: NDArray[np.uint8] | None
) -> int:
    """Run a compiled model on probing inputs; returns how many.

    plan: the layout of its program; calibration: uint8 `[N, *onnx_shape]`, whose samples are among the inputs.

    Raises ExactnessError that names the first wrong layer if contract, ONNX Runtime and the integer network do not
    agree on every score, if `classify` is not the first largest of them, or if a call takes other gas than predicted.
    """
    inputs = probe_inputs(graph.input.onnx_shape, calibration, probes(compiled))
    check_scores(
        compiled,
        inputs,
        interpreter.run(graph, inputs).reshape(len(inputs), -1),
        in_reference=lambda wrong: wrong_layer_of_reference(graph, wrong),
        in_program=lambda wrong: wrong_layer_of_program(plan, graph, wrong),
    )
    return len(inputs)


def probes(compiled: CompiledModel) -> int:
    """How many inputs to try."""
    gas: int = compiled.manifest["gas"]["evm"]
    return max(LEAST, min(MOST, GAS // max(1, gas)))


def check_scores(
    compiled: CompiledModel,
    inputs: NDArray[np.uint8],
    expected: IntArray,
    *,
    in_reference: Culprit,
    in_program: Culprit,
) -> None:
    """Run the program and its reference on inputs, uint8 `[N, *shape]`, of which `expected` are the scores `[N, O]`.

    in_reference, in_program: find the layer that is wrong in either. Raises ExactnessError as `verify`.
    """
    check = _Check(compiled, inputs, expected, in_reference, in_program)
    _check_reference(check)
    _check_program(check)
    _check_stages(check)


def _check_reference(check: _Check) -> None:
    reference = check.compiled.reference.SerializeToString()
    differs = (reference_scores(reference, check.inputs) != check.expected).any(axis=1)
    if differs.any():
        wrong = check.inputs[differs]
        raise _defect("ONNX Runtime on the reference", differs, check.in_reference(wrong))


def _check_program(check: _Check) -> None:
    program, gas = Program(check.compiled.units), check.compiled.manifest["gas"]
    differs, classes = np.zeros(len(check.inputs), bool), np.zeros(len(check.inputs), bool)
    for number, (row, scores) in enumerate(zip(check.inputs, check.expected, strict=True)):
        found, used = program.predict(row.tobytes())
        differs[number] = not np.array_equal(found, scores)
        best, classifying = program.classify(row.tobytes())
        classes[number] = best != int(scores.argmax())
        if (used, classifying) != (gas["evm"], gas["classify"]):
            raise ExactnessError(
                f"predict and classify take {used:,} and {classifying:,} gas, not the {gas['evm']:,} and "
                f"{gas['classify']:,} predicted. {_REPORT}"
            )
    if differs.any():
        layer = check.in_program(check.inputs[differs])
        raise _defect("the program's predict(bytes)", differs, layer)
    if classes.any():
        raise _defect("the program's classify(bytes)", classes, "")


def _check_stages(check: _Check) -> None:
    if not check.compiled.stages:
        return
    asked = check.inputs[:LEAST]
    stages = [Program(units) for units in check.compiled.stages]
    found = np.stack([run_stages(stages, row.tobytes()) for row in asked])
    differs = (found != check.expected[: len(asked)]).any(axis=1)
    if differs.any():
        layer = check.in_program(asked[differs])
        raise _defect("the program in stages", differs, layer)


_REPORT = (
    "This is a defect of the compiler, not of the model, and nothing was written: please report it with the ONNX "
    "file, the calibration data and the options"
)


def _defect(what: str, differs: NDArray[np.bool_], layer: str) -> ExactnessError:
    where = f"first in layer {layer!r}" if layer else "in no single layer"
    return ExactnessError(
        f"{what} differs from the integer network for {differs.sum()} of {len(differs)} inputs, {where}. {_REPORT}"
    )
