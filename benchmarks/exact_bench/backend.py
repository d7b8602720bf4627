"""ONNX's backend tests as models of strangers: every operator, in every form that the standard's authors thought of.

Each is tried as it stands, and once more as a network might hold it: all inputs but the first as constants, and the
batch axis free. Tests whose model would have to be downloaded are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from exact_bench.judge import Question, Verdict, judge, run_float

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
ROWS = 48


@dataclass(frozen=True)
class BackendCase:
    """One model. given: arrays for its inputs, where the test has any."""

    name: str
    model: bytes
    given: tuple[NDArray[Any], ...]


def backend_cases(every: int = 1) -> Iterator[BackendCase]:
    """The models of ONNX's backend tests that need no download, or one of so many; with some seconds to build them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        tests = [test for kind in KINDS for test in load_model_tests(kind=kind)]
    for test in sorted(tests, key=lambda test: test.name)[::every]:
        if test.model is not None:
            proto, given = test.model, _arrays(test.data_sets[0][0] if test.data_sets else [])
        elif test.model_dir is not None:
            proto, given = _read(Path(test.model_dir))
        else:
            continue
        yield BackendCase(test.name, proto.SerializeToString(), given)
        if bound := _bound(proto, given):
            yield BackendCase(f"{test.name}, its first input free", bound, given[:1])


def try_backend(case: BackendCase) -> Verdict:
    """What becomes of the model."""
    first = case.given[0] if case.given else np.zeros((1, 1), np.float32)
    calibration, held_back = _rows(first, 0), _rows(first, 1)
    question = Question(case.model, calibration, held_back, {})
    if not _runs(question):
        question = Question(case.model, calibration, None, {})
    return judge(question)


def _rows(first: NDArray[Any], part: int) -> NDArray[Any]:
    """The rows of the test's input, and noise like them."""
    if first.dtype.kind not in "fiub":
        return np.zeros((ROWS, *first.shape[1:]), np.float32)
    rng = np.random.default_rng(part)
    shape = (ROWS, *first.shape[1:])
    if first.dtype == np.uint8:
        noise: NDArray[Any] = rng.integers(0, 256, shape, dtype=np.uint8)
    else:
        real = np.nan_to_num(first.astype(np.float64), posinf=0, neginf=0)
        noise = rng.normal(real.mean() if real.size else 0, (real.std() if real.size else 0) or 1, shape)
        if (
            first.dtype.kind in "iu"
        ):  # whole numbers of its type: what a cast would cut off is nothing to compare
            noise = np.rint(noise).clip(np.iinfo(first.dtype).min, np.iinfo(first.dtype).max)
        noise = noise.astype(np.float32)
    if not part and first.ndim > 0:
        count = min(len(first), ROWS)
        noise[:count] = first[:count].astype(noise.dtype)
    return noise


def _runs(question: Question) -> bool:
    """Whether ONNX Runtime runs the model on single rows: only then the first axis is a batch."""
    try:
        return bool(np.isfinite(run_float(question, question.calibration[:2])).all())
    except Exception:
        return False


def _arrays(values: Any) -> tuple[NDArray[Any], ...]:
    return tuple(value for value in values if isinstance(value, np.ndarray))


def _read(folder: Path) -> tuple[onnx.ModelProto, tuple[NDArray[Any], ...]]:
    proto = onnx.load_model(folder / "model.onnx")
    given = []
    for i in range(len(proto.graph.input)):
        path = folder / "test_data_set_0" / f"input_{i}.pb"
        if not path.is_file():
            break
        try:
            given.append(numpy_helper.to_array(onnx.load_tensor_from_string(path.read_bytes())))
        except Exception:  # a sequence or another type that is no tensor
            break
    return proto, tuple(given)


def _bound(proto: onnx.ModelProto, given: tuple[NDArray[Any], ...]) -> bytes | None:
    """The model with a free batch axis and all inputs but the first as constants; None where that is not possible."""
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in stored]
    if not inputs or len(given) < len(inputs) or any(not v.type.HasField("tensor_type") for v in inputs):
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.ir_version = max(copy.ir_version, 4)  # before, constants had to be inputs too
    graph = copy.graph
    for value, array in zip(inputs[1:], given[1:], strict=False):
        graph.initializer.append(numpy_helper.from_array(array, value.name))
    kept = [value for value in graph.input if value.name == inputs[0].name or value.name in stored]
    del graph.input[:]
    graph.input.extend(kept)
    first = next(value for value in graph.input if value.name == inputs[0].name)
    if not first.type.tensor_type.shape.dim:
        return None
    for value in (first, *graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim:
            shape.dim[0].Clear()
            shape.dim[0].dim_param = "N"
    return copy.SerializeToString()
