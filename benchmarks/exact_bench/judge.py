"""What becomes of one model: compiled and the same to the bit, refused with a reason, or one of the ways to be wrong.

The program in revm is held against ONNX Runtime on the reference and against the numpy interpreter, and its integers
against ONNX Runtime on the model that was given. That shares no code with the self-check of `compile_model`; what only
that one sees is wrong too.
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from unittest import mock

import numpy as np
import onnx
import onnxruntime as ort
from compiler_bench.contract import Program
from numpy.typing import NDArray

from exact_bench.inputs import hard_inputs
from exact_bench.stages import cut_everywhere, staged_scores
from fedvm.chain.revm import RevmProgram
from fedvm.compiler import CompiledModel, CompileError, compile
from fedvm.compiler.compiled import Unit, units_of
from fedvm.compiler.errors import ExactnessError
from fedvm.compiler.graph import IntegerGraph
from fedvm.compiler.interpreter import run

Result = Literal[
    "exact",
    "refused",
    "crash",
    "hang",
    "contract differs",
    "reference differs",
    "gas differs",
    "float differs",
]
WRONG = ("crash", "hang", "contract differs", "reference differs", "gas differs", "float differs")
"""Results that no model may have."""
INPUTS = 40
"""Inputs a program is run on."""
AGREEMENT, CORRELATION = 0.9, 0.95
"""What the integers of a program must reach on inputs held back. The compiler refuses below 0.9 and 0.98 on other
inputs than these; agreement is allowed four standard deviations of its estimate, correlation 0.03."""

OUTLIERS = 10
"""One held-back input in so many may lie outside what the calibration data shows. The compiler sees 40 inputs held back
from it; what happens for fewer than one in ten may not be among them."""
_WHOLE = {f"tensor({name})": name for name in ("int8", "int16", "int32", "int64", "uint8")}
HEADS = ("Exp", "LogSoftmax", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh")
"""What is left out at the end of a network."""


@dataclass(frozen=True)
class Verdict:
    """What became of a model. reason: of a refusal, or what went wrong and where; inputs: run in the contract; stages:
    that were tried, 0 if it ran as one call alone; agreement and correlation: of class and scores with the float model
    on inputs that the compiler has not seen; seconds: to compile."""

    result: Result
    reason: str = ""
    inputs: int = 0
    stages: int = 0
    agreement: float | None = None
    correlation: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Question:
    """A model, its calibration inputs, the options to compile it with, and inputs like those that were held back (None:
    the model cannot be run on single ones). cut: whether to try the program with a stage for every step too."""

    model: bytes
    calibration: NDArray[Any]
    held_back: NDArray[Any] | None
    options: Mapping[str, Any]
    seed: int = 0
    cut: bool = False


def judge(question: Question, inputs: int = INPUTS) -> Verdict:
    """Compile the model and hold the program against everything it should equal. Raises nothing."""
    start = time.perf_counter()
    try:
        with _Caught() as caught:
            compiled = compile.compile_model(question.model, question.calibration, **question.options)
    except CompileError as error:
        return Verdict("refused", f"{type(error).__name__}: {error}", seconds=time.perf_counter() - start)
    except ExactnessError as error:  # the compiler saw it itself
        return Verdict("contract differs", f"self-check: {error}", seconds=time.perf_counter() - start)
    except Exception as error:
        return Verdict("crash", where(error), seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    try:
        return _compare(question, compiled, caught.graph, inputs, seconds)
    except Exception as error:
        return Verdict("crash", f"after compilation: {where(error)}", seconds=seconds)


class _Caught:
    """The integer graph that compile_model makes; the finished model no longer holds it."""

    graph: IntegerGraph

    def __enter__(self) -> _Caught:
        original = compile.compile_integer

        def catch(integer: IntegerGraph, **options: Any) -> CompiledModel:
            self.graph = integer
            return original(integer, **options)

        self._patch = mock.patch.object(compile, "compile_integer", catch)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def _compare(
    question: Question, compiled: CompiledModel, graph: IntegerGraph, inputs: int, seconds: float
) -> Verdict:
    typical = compiled.quantize_input(question.calibration)[: inputs // 4]
    batch = np.concatenate([typical, hard_inputs(graph, inputs - len(typical), question.seed)])
    reference = _run(compiled.reference.SerializeToString(), batch).reshape(len(batch), -1)

    count = 0

    def verdict(result: Result, reason: str = "", **more: Any) -> Verdict:
        return Verdict(result, reason, len(batch), count, seconds=seconds, **more)

    plain = run(graph, batch).reshape(len(batch), -1)
    if not np.array_equal(plain, reference):
        return verdict("reference differs", _difference("ONNX Runtime", reference, "numpy", plain))
    program = Program.of(compiled)
    machine = RevmProgram(program.codes, program.entry)
    predicted = machine.predict_many(batch)
    if not np.array_equal(predicted.scores, reference):
        return verdict("contract differs", _difference("contract", predicted.scores, "reference", reference))
    if set(predicted.gas.tolist()) != {compiled.manifest["gas"]["evm"]}:
        wanted = compiled.manifest["gas"]["evm"]
        return verdict("gas differs", f"{sorted(set(predicted.gas.tolist()))}, the manifest says {wanted}")
    for number in range(0, len(batch), 8):
        if (best := machine.classify(batch[number].tobytes())) != int(reference[number].argmax()):
            return verdict(
                "contract differs", f"input {number}: class {best}, scores {reference[number].tolist()}"
            )
    stages: Sequence[Sequence[Unit]] = compiled.stages
    if not stages and question.cut:
        with suppress(CompileError):  # a step that fits no stage
            cuts = cut_everywhere(graph, question.seed % 4 == 1, question.options.get("optimize", "run"))
            stages = [units_of(stage.linked.contracts) for stage in cuts]
    if stages:
        count = len(stages)
        staged = staged_scores(stages, batch)
        if not np.array_equal(staged, reference):
            return verdict(
                "contract differs", "in stages: " + _difference("stages", staged, "reference", reference)
            )
    likeness, other = _likeness(question, compiled)
    return verdict("float differs" if other else "exact", str(likeness) if other else "", **likeness)


def _likeness(question: Question, compiled: CompiledModel) -> tuple[dict[str, float | None], bool]:
    """(agreement of class and correlation of scores of the integers with the model that was given, whether that says
    that they are another network)."""
    held = question.held_back
    if held is None:
        return {}, False
    bits = compiled.quantize_input(held)
    integers = _run(compiled.reference.SerializeToString(), bits).reshape(len(held), -1)
    output = compiled.manifest["output"]
    scores = integers * np.repeat(output["scale"], integers.shape[1] // len(output["scale"]))
    is_index = output["head"] == "argmax"
    floats = run_float(question, held, without_head=bool(output["head"]) and not is_index)
    if is_index:
        classes = compiled.real_scores(integers).argmax(1 + output["axis"]).reshape(len(held), -1)
        agreement = float((classes == floats).mean())
        return {"agreement": agreement}, False  # what was nearly a tie is not known
    if scores.shape != floats.shape:
        return {"agreement": 0.0, "correlation": 0.0}, True
    share, decided = decided_agreement(scores, floats)
    found = correlation(scores, floats)
    if math.prod(held.shape[1:]) <= floats.shape[1] and not output["head"]:
        share = None  # a reconstruction, whose largest number is no class
    least = AGREEMENT - 4 * math.sqrt(AGREEMENT * (1 - AGREEMENT) / max(1, decided))
    other = (share is not None and share < least) or (found is not None and found < CORRELATION)
    return {"agreement": share, "correlation": found}, other


def decided_agreement(scores: NDArray[np.float64], floats: NDArray[np.float64]) -> tuple[float | None, int]:
    """(share of the inputs with the same class, of how many): of those for which the model that was given has decided,
    its best score leading by a tenth of what scores vary."""
    best = np.sort(floats, axis=1)
    if best.shape[1] < 2:
        return None, 0
    decided = best[:, -1] - best[:, -2] > 0.1 * math.sqrt(floats.var(axis=0).mean())
    if decided.mean() < 0.1:
        return None, 0
    return float((scores.argmax(1) == floats.argmax(1))[decided].mean()), int(decided.sum())


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Pearson's correlation of scores `[N, O]`, each output's mean taken off; None where nothing varies. Where `b`
    hardly depends on the input, that of the outputs beside each other. One input in ten is left out, those that
    differ most: what is larger than anything the calibration data shows is cut off, and may be."""
    beside = b - b.mean(axis=1, keepdims=True)
    steady = math.sqrt(b.var(axis=0).mean()) < 0.1 * float(beside.std())
    kept = np.argsort(np.abs(a - b).max(axis=1), kind="stable")[: len(a) - len(a) // OUTLIERS]
    a, b = (x[kept] - x[kept].mean(axis=1 if steady else 0, keepdims=True) for x in (a, b))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size > 1e-9 else None


def run_float(question: Question, inputs: NDArray[Any], *, without_head: bool = False) -> NDArray[np.float64]:
    """What the model that was given says of `inputs` `[N, …]` in ONNX Runtime: `[N, O]`. without_head: the scores
    that a last softmax or sigmoid is given, since probabilities near 0 and 1 no longer tell them."""
    scale, offset = question.options.get("preprocess", (1.0, 0.0))
    session = _session(_before_head(question.model) if without_head else question.model)
    given = session.get_inputs()[0]
    if given.type in _WHOLE:
        inputs = inputs.astype(_WHOLE[given.type])
    else:
        inputs = (inputs.astype(np.float64) * scale + offset).astype(np.float32)
    rows = [session.run(None, {given.name: inputs[i : i + 1]})[0].reshape(1, -1) for i in range(len(inputs))]
    scores = np.concatenate(rows).astype(np.float64)
    if without_head and scores.shape[1] == 1:  # of one sigmoid: the program's other score is 0
        return np.concatenate([np.zeros_like(scores), scores], axis=1)
    return scores


def _before_head(model: bytes) -> bytes:
    """The model without what follows the input of the last node that ends it."""
    proto = onnx.load_model_from_string(model)
    head = next(n for n in reversed(proto.graph.node) if n.op_type in HEADS)
    output = onnx.helper.make_tensor_value_info(head.input[0], onnx.TensorProto.FLOAT, None)
    del proto.graph.output[:]
    proto.graph.output.append(output)
    return bytes(proto.SerializeToString())


def _run(model: bytes, batch: NDArray[np.uint8]) -> NDArray[np.int64]:
    session = _session(model)
    scores: NDArray[np.int64] = session.run(None, {session.get_inputs()[0].name: batch})[0].astype(np.int64)
    return scores


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _difference(name: str, got: NDArray[Any], other: str, wanted: NDArray[Any]) -> str:
    row = int(np.flatnonzero((got != wanted).any(axis=1))[0])
    share = (got != wanted).any(axis=1).mean()
    return (
        f"{share:.0%} of inputs; input {row}: {name} {json.dumps(got[row].tolist())}, "
        f"{other} {json.dumps(wanted[row].tolist())}"
    )


def where(error: Exception) -> str:
    """The error and the innermost line of the package that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "fedvm" in f.filename]
    place = f"{frames[-1].filename.rpartition('fedvm/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:300]}"


def is_valid(model: bytes) -> bool:
    """Whether ONNX itself finds nothing wrong with the model and ONNX Runtime loads it."""
    try:
        onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
        _session(model)
    except Exception:
        return False
    return True
