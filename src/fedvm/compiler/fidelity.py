"""Checks on the calibration inputs that the float layers compute what the file does, before anything is quantized.

The file runs in ONNX Runtime, the layers in float64. The scores of both must agree up to the rounding noise of float32.
If not, all tensors in between are compared and the first node whose output differs is named.

"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from fedvm.compiler.calibration import evaluate
from fedvm.compiler.errors import CalibrationError, FidelityError, ModelError
from fedvm.compiler.frontend import Lowered
from fedvm.compiler.frontend.builder import activation_of
from fedvm.compiler.frontend.inputs import model_input
from fedvm.compiler.frontend.quantized import with_float_operators
from fedvm.compiler.frontend.runner import run_rows
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
STEP_NOISE = 5e-2
"""Root mean square difference, relative to the values', for files that round: where a sum lies between two integers,
float32 decides otherwise than float64 now and then, and all that follows differs by a step."""


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
    rounds = any(layer.grid is not None for layer in lowered.layers)
    noise = STEP_NOISE if rounds else HALF_NOISE if _is_half(lowered.proto) else NOISE
    if not _differing(lowered, _scores(lowered), real, tensors, noise):
        return
    if _same_in_floats(lowered, real, tensors, noise):
        return
    names = [name for name, tensor in lowered.values.items() if not tensor.head]
    differing = _differing(lowered, names, real, tensors, noise)
    if not differing:
        raise ModelError("the file does not give the same scores each time that ONNX Runtime runs it")
    name, error = differing[0]
    node = lowered.nodes[name]
    raise FidelityError(
        f"node {node.name or name} ({node.op_type}): what the compiler made of it differs from ONNX Runtime by "
        f"{error:.1%} of its values on the calibration inputs. This is a fault of the compiler: please "
        "report it with the file"
    )


def _same_in_floats(lowered: Lowered, real: FloatArray, tensors: dict[str, Any], noise: float) -> bool:
    """Whether the scores agree once operators on integers are computed in floats."""
    proto = with_float_operators(lowered.proto)
    if proto is lowered.proto:
        return False
    try:
        return not _differing(replace(lowered, proto=proto), _scores(lowered), real, tensors, noise)
    except ModelError:  # an operator set in which they cannot be written so
        return False


def real_input(spec: Input, data: NDArray[np.uint8]) -> FloatArray:
    """The network's real input `[N, *onnx_shape]` for bytes of that shape."""
    q = by_channel(data, spec.layout, spec.shape).astype(np.float64)
    real = q * spec.scale[None, :, None] + spec.offset[None, :, None]
    return np.ascontiguousarray(real.transpose(0, 2, 1) if spec.layout == "HWC" else real).reshape(data.shape)


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
    source = model_input(lowered.proto)[0]
    found_rows = run_rows(lowered.proto, names, source, real[:, None])
    for name, *rows in zip(names, *found_rows, strict=True):
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
        of = _mean_square if noise == STEP_NOISE else _largest
        error = of(got.ravel() - wanted.ravel()) / max(of(wanted.ravel()), 1e-6)
        if not error <= noise:
            found.append((name, error))
    return found


def _largest(values: FloatArray) -> float:
    return float(np.abs(values).max(initial=0))


def _mean_square(values: FloatArray) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0


def _value(tensor: Tensor, tensors: dict[str, Any], sample: int) -> FloatArray:
    """The ONNX tensor of one sample."""
    flat = np.concatenate([_elements(part, tensors, sample) for part in tensor.parts])
    value: FloatArray = np.where(tensor.index == PADDING, tensor.fill, flat[np.maximum(tensor.index, 0)])
    return value if tensor.grid is None else np.rint(value / tensor.grid.step) + tensor.grid.zero


def _elements(part: Part, tensors: dict[str, Any], sample: int) -> FloatArray:
    if isinstance(part, Ref):
        real = tensors[part.source][sample]
        if part.source == INPUT:
            real = real.reshape(part.shape)
        scaled: FloatArray = real * part.scale[:, None, None] + part.offset[:, None, None]
        return scaled.ravel()
    activation = activation_of(part)
    layer = FloatLayer("pending", part.terms, part.bias, part.shape, part.pool, activation, part.grid)
    one = {term.source: tensors[term.source][sample : sample + 1] for term in part.terms}
    out: FloatArray = evaluate((layer,), one)["pending"]
    return out.ravel()
