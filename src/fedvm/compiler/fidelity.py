"""Checks on the calibration inputs that the float layers compute what the file does, before anything is quantized.

The file runs in ONNX Runtime, the layers in float64. The scores of both must agree up to the rounding noise of float32.
If not, all tensors in between are compared and the first node whose output differs is named.

"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from fedvm.compiler.calibration import evaluate
from fedvm.compiler.errors import CalibrationError, FidelityError, ModelError
from fedvm.compiler.frontend import Lowered
from fedvm.compiler.frontend.load import model_input
from fedvm.compiler.frontend.values import PADDING, Part, Ref, Tensor
from fedvm.compiler.graph import INPUT, FloatArray, FloatLayer, Input
from fedvm.compiler.input_range import by_channel
from fedvm.compiler.interpreter import as_chw

SAMPLES = 4
"""Calibration inputs compared: a layer that is lowered wrongly is wrong for nearly every input."""
NOISE = 1e-3
"""Largest difference between float32 and float64, relative to the largest value of the tensor: sums of some ten
thousand terms stay a hundred times below."""
HALF_NOISE = 3e-2
"""The same for files that compute in float16 or bfloat16."""

_TYPES = {
    TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16,
    TensorProto.UINT8: np.uint8,
}  # fmt: skip


def check_fidelity(lowered: Lowered, data: NDArray[np.uint8]) -> None:
    """Check on `data`, inputs as bytes `[N, *onnx_shape]`, that the layers compute what the file does.

    Raises FidelityError, naming the first node that differs, if they do not; ModelError if the file cannot be run;
    CalibrationError if its scores are no finite numbers.
    """
    chosen = data[np.linspace(0, len(data) - 1, min(SAMPLES, len(data))).astype(int)]
    spec = lowered.graph.input
    tensors: dict[str, Any] = {INPUT: as_chw(spec, chosen).astype(np.float64)}
    tensors = evaluate(lowered.layers, tensors)
    real = real_input(spec, chosen)
    noise = HALF_NOISE if _is_half(lowered.proto) else NOISE
    if not _differing(lowered, _scores(lowered), real, tensors, noise):
        return
    names = [name for name, tensor in lowered.values.items() if not tensor.head]
    name, error = _differing(lowered, names, real, tensors, noise)[0]
    node = lowered.nodes[name]
    raise FidelityError(
        f"node {node.name or name} ({node.op_type}): what the compiler made of it differs from ONNX Runtime by "
        f"{error:.1%} of its largest value on the calibration inputs. This is a fault of the compiler: please "
        "report it with the file"
    )


def real_input(spec: Input, data: NDArray[np.uint8]) -> FloatArray:
    """The network's real input `[N, *onnx_shape]` for bytes of that shape."""
    q = by_channel(data, spec.layout, spec.shape).astype(np.float64)
    real = q * spec.scale[None, :, None] + spec.offset[None, :, None]
    return np.ascontiguousarray(real.transpose(0, 2, 1) if spec.layout == "HWC" else real).reshape(data.shape)


def run_file(proto: onnx.ModelProto, names: list[str], real: FloatArray) -> list[list[NDArray[Any]]]:
    """The values called `names` for each input of `real` `[N, *onnx_shape]`, in ONNX Runtime; in ONNX's reference
    evaluator where that does not know the file's operator set. ModelError if neither can run it."""
    name, _, _ = model_input(proto)
    kind = next(v.type.tensor_type.elem_type for v in proto.graph.input if v.name == name)
    with np.errstate(
        over="ignore"
    ):  # what is too large for the file's floats becomes infinity, which is looked for
        feeds = [{name: row[None].astype(_TYPES.get(kind, np.float32))} for row in real]
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(copy.SerializeToString(), options, ["CPUExecutionProvider"])
        return [session.run(names, feed) for feed in feeds]
    except Exception as first:  # ONNX Runtime has an exception class of its own for each status
        try:
            evaluator = ReferenceEvaluator(copy)
            return [[np.asarray(value) for value in evaluator.run(names, feed)] for feed in feeds]
        except Exception:
            line = next(iter(str(first).strip().splitlines()), type(first).__name__)
            raise ModelError(f"ONNX Runtime cannot run the model: {line[:300]}") from first


def _is_half(proto: onnx.ModelProto) -> bool:
    half = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    casts = (a.i for node in proto.graph.node if node.op_type == "Cast" for a in node.attribute)
    return any(t.data_type in half for t in proto.graph.initializer) or any(to in half for to in casts)


def _scores(lowered: Lowered) -> list[str]:
    """Names of the values that are compared first: the outputs, or what their softmax or argmax takes."""
    names: list[str] = []
    stack = [output.name for output in lowered.proto.graph.output]
    while stack:
        name = stack.pop()
        if name not in lowered.values:
            continue
        if lowered.values[name].head:
            stack.append(lowered.nodes[name].input[0])
        else:
            names.append(name)
    return list(dict.fromkeys(names))


def _differing(
    lowered: Lowered, names: list[str], real: FloatArray, tensors: dict[str, Any], noise: float
) -> list[tuple[str, float]]:
    """The values that differ by more than noise, in the order of `names`, with the relative error."""
    found = []
    for name, *rows in zip(names, *run_file(lowered.proto, names, real), strict=True):
        wanted = np.stack([np.asarray(row, np.float64) for row in rows])
        if not np.isfinite(wanted).all():
            raise CalibrationError(
                f"on the calibration inputs the model itself gives NaN or infinity for {name}: they are too large for "
                "its floats. Check that they are what the model expects (preprocess, input_range)"
            )
        got = np.stack([_value(lowered.values[name], tensors, n) for n in range(len(rows))])
        if got.size != wanted.size:
            found.append((name, np.inf))
            continue
        size = max(float(np.abs(wanted).max(initial=0)), 1e-6)
        error = float(np.abs(got.ravel() - wanted.ravel()).max(initial=0)) / size
        if not error <= noise:
            found.append((name, error))
    return found


def _value(tensor: Tensor, tensors: dict[str, Any], sample: int) -> FloatArray:
    """The ONNX tensor of one sample."""
    flat = np.concatenate([_elements(part, tensors, sample) for part in tensor.parts])
    value: FloatArray = np.where(tensor.index == PADDING, tensor.fill, flat[np.maximum(tensor.index, 0)])
    return value


def _elements(part: Part, tensors: dict[str, Any], sample: int) -> FloatArray:
    if isinstance(part, Ref):
        real = tensors[part.source][sample]
        if part.source == INPUT:
            real = real.reshape(part.shape)
        scaled: FloatArray = real * part.scale[:, None, None] + part.offset[:, None, None]
        return scaled.ravel()
    low, high = part.low, part.high
    layer = FloatLayer("pending", part.terms, part.bias, part.shape, part.pool, ("clip", low, high))
    one = {term.source: tensors[term.source][sample : sample + 1] for term in part.terms}
    out: FloatArray = evaluate((layer,), one)["pending"]
    return out.ravel()
