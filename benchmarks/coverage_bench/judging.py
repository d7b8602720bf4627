"""What becomes of a model of the lists: like `exact_bench.judge`, and for rows of a table too."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import onnx
from compiler_bench.contract import Program
from exact_bench.judge import AGREEMENT, CORRELATION, Question, Verdict, correlation, judge, where
from numpy.typing import NDArray

from coverage_bench.case import Built, Case
from fedvm.chain.revm import RevmProgram
from fedvm.compiler import CompiledModel, CompileError, compile_model
from fedvm.compiler.errors import CompilerDefect
from fedvm.compiler.frontend.tabular.read import is_tabular
from fedvm.compiler.frontend.tabular.run import run_rows
from fedvm.compiler.probe import reference_scores

INPUTS = 16
"""Inputs that a program is run on."""


def try_case(case: Case) -> Verdict:
    """What becomes of one model. Raises nothing."""
    try:
        built = case.build()
        proto = onnx.load_model_from_string(built.model)
    except Exception as error:  # the list is at fault, which must not pass for a refusal
        return Verdict("crash", f"the exporter: {type(error).__name__}: {str(error)[:300]}")
    if is_tabular(proto):
        return _judge_rows(built, proto)
    held = built.held_back if built.single else None
    return judge(Question(built.model, built.calibration, held, built.options, case.seed), INPUTS)


def _judge_rows(built: Built, proto: onnx.ModelProto) -> Verdict:
    start = time.perf_counter()
    try:
        compiled = compile_model(built.model, built.calibration, **built.options)
    except CompileError as error:
        return Verdict("refused", f"{type(error).__name__}: {error}", seconds=time.perf_counter() - start)
    except CompilerDefect as error:
        return Verdict("contract differs", f"self-check: {error}", seconds=time.perf_counter() - start)
    except Exception as error:
        return Verdict("crash", where(error), seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    try:
        return _compare(built, proto, compiled, seconds)
    except Exception as error:
        return Verdict("crash", f"after compilation: {where(error)}", seconds=seconds)


def _compare(built: Built, proto: onnx.ModelProto, compiled: CompiledModel, seconds: float) -> Verdict:
    coded = compiled.quantize_input(built.held_back)
    noise = np.random.default_rng(0).integers(0, 256, (INPUTS // 4, *coded.shape[1:]), dtype=np.uint8)
    batch = np.concatenate([coded[: INPUTS - len(noise)], noise])
    reference = compiled.reference.SerializeToString()
    wanted = reference_scores(reference, batch)
    program = Program.of(compiled)
    found = RevmProgram(program.codes, program.entry).predict_many(batch)
    if not np.array_equal(found.scores, wanted):
        return Verdict("contract differs", "on rows held back or noise", len(batch), seconds=seconds)
    if set(found.gas.tolist()) != {compiled.manifest["gas"]["evm"]}:
        return Verdict("gas differs", f"{sorted(set(found.gas.tolist()))}", len(batch), seconds=seconds)
    scores = reference_scores(reference, coded)
    likeness, other = _likeness(built.held_back, proto, compiled, scores)
    return Verdict(
        "float differs" if other else "exact",
        str(likeness) if other else "",
        len(batch),
        seconds=seconds,
        agreement=likeness.get("agreement"),
        correlation=likeness.get("correlation"),
    )


def _likeness(
    rows: NDArray[Any], proto: onnx.ModelProto, compiled: CompiledModel, scores: NDArray[np.int64]
) -> tuple[dict[str, float], bool]:
    """(agreement of the class, or correlation of the value, with the file's on rows held back; whether that is another
    model)."""
    output = compiled.manifest["output"]
    (given,) = run_rows(proto, [proto.graph.output[0].name], rows)
    if output["classes"]:
        found = np.array(output["classes"], object)[scores.argmax(axis=1)]
        agreement = float(np.mean([str(a) == str(b) for a, b in zip(found, given.ravel(), strict=True)]))
        least = AGREEMENT - 4 * math.sqrt(AGREEMENT * (1 - AGREEMENT) / len(rows))
        return {"agreement": agreement}, agreement < least
    values = np.asarray(given, np.float64).reshape(len(rows), -1)
    real = scores * np.asarray(output["scale"])
    if values.shape != real.shape:
        return {"correlation": 0.0}, True
    found_correlation = correlation(real, values)
    return {} if found_correlation is None else {"correlation": found_correlation}, (
        found_correlation is not None and found_correlation < CORRELATION
    )
