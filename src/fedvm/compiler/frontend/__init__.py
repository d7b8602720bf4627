"""From an ONNX file to the normalised float graph: load safely, fold constants, lower operators to layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx

from fedvm.compiler.errors import ModelError
from fedvm.compiler.frontend.load import load_model, model_input
from fedvm.compiler.frontend.lower import lower
from fedvm.compiler.frontend.operators import Relayout
from fedvm.compiler.graph import FloatArray, FloatGraph, Input, Shape

Channels: TypeAlias = float | Sequence[float] | FloatArray
"""One number, or one a channel."""

__all__ = ["load_graph"]


def load_graph(
    model: str | Path | bytes | onnx.ModelProto,
    *,
    preprocess: tuple[Channels, Channels] | None = None,
    input_range: tuple[float, float] | None = None,
) -> FloatGraph:
    """Loads an ONNX classifier as a graph over bytes.

    preprocess: `(scale, offset)` when the model expects `scale · q + offset` of the byte q (numbers or one a
    channel); input_range: `(lo, hi)` of the real numbers a float-input model takes, which clients then
    quantize to bytes; without either the model takes 0..255 itself. The batch axis must be dynamic or 1.

    ModelError for a damaged or unsafe file, UnsupportedOperator (naming the node) for what has no kernel.
    """
    proto = load_model(model)
    _, onnx_shape, is_float = model_input(proto)
    if preprocess is not None and input_range is not None:
        raise ModelError("give preprocess or input_range, not both")
    if input_range is not None:
        low, high = (float(bound) for bound in input_range)
        if not (np.isfinite([low, high]).all() and low < high):
            raise ModelError(f"input_range {input_range} must be two finite numbers, the smaller first")
        scale, offset = np.array((high - low) / 255), np.array(low)
    else:
        scale, offset = (np.asarray(value, np.float64) for value in preprocess or (1.0, 0.0))
    if not is_float and (preprocess is not None or input_range is not None):
        raise ModelError("the model takes bytes already; leave preprocess and input_range out")

    layout, shape = _first_guess(onnx_shape, scale, offset)
    fixed = False
    while True:
        spec = _input(onnx_shape, layout, shape, scale, offset, input_range is not None)
        try:
            return lower(proto, spec, fixed)
        except Relayout as other:
            layout, shape, fixed = ("HWC" if other.layout == "HWC" else "CHW"), other.shape, True


def _first_guess(
    onnx_shape: tuple[int, ...], scale: FloatArray, offset: FloatArray
) -> tuple[Literal["CHW", "HWC"], Shape]:
    channels = max(scale.size, offset.size)
    if len(onnx_shape) == 3:
        a, b, c = onnx_shape
        return ("HWC", (c, a, b)) if channels > 1 and a != channels == c else ("CHW", (a, b, c))
    if len(onnx_shape) == 2:
        return "CHW", (onnx_shape[0], 1, onnx_shape[1])
    size = int(np.prod(onnx_shape))
    if 1 < channels < size and size % channels == 0:
        return "CHW", (channels, 1, size // channels)
    return "CHW", (size, 1, 1)


def _input(
    onnx_shape: tuple[int, ...],
    layout: Literal["CHW", "HWC"],
    shape: Shape,
    scale: FloatArray,
    offset: FloatArray,
    float_input: bool,
) -> Input:
    per_channel: list[Any] = []
    for name, value in (("scale", scale), ("offset", offset)):
        if value.size not in (1, shape[0]) or value.ndim > 1 or not np.isfinite(value).all():
            raise ModelError(
                f"preprocess: {name} must be finite, one number or one for each of {shape[0]} channels"
            )
        per_channel.append(np.broadcast_to(value.astype(np.float64), (shape[0],)).copy())
    if (per_channel[0] <= 0).any():
        raise ModelError("preprocess: scale must be positive")
    return Input(onnx_shape, layout, shape, per_channel[0], per_channel[1], float_input)
