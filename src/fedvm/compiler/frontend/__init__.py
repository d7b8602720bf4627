"""From an ONNX file to the normalised float graph: load safely, fold constants, lower operators to layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from fedvm.compiler import input_range as ranges
from fedvm.compiler.errors import CalibrationError, ModelError, UnsupportedOperator
from fedvm.compiler.frontend.builder import InputGrid, PaddingLevel
from fedvm.compiler.frontend.choice import chosen
from fedvm.compiler.frontend.inputs import model_input, takes_integers, with_plain_input
from fedvm.compiler.frontend.load import load_model
from fedvm.compiler.frontend.lower import Lowered, lower
from fedvm.compiler.frontend.quantized import with_functions_apart
from fedvm.compiler.frontend.varying import Relayout
from fedvm.compiler.graph import FloatArray, FloatGraph, Input, Shape
from fedvm.compiler.interpreter import as_chw

Channels: TypeAlias = float | Sequence[float] | FloatArray
"""One number, or one a channel."""

INT8 = (-128.0, 127.0)
"""What bytes stand for where the file's input is int8."""
PROBED = 64
"""Calibration inputs from which the ranges of a product's operands are taken."""
MOST_VALUES = 1 << 22
"""Values of a tensor: in words of a dozen lanes they take 10 MB of memory, which alone costs some 180 M gas."""

__all__ = ["Lowered", "load_graph", "load_lowered"]


def load_graph(
    model: str | Path | bytes | onnx.ModelProto,
    *,
    preprocess: tuple[Channels, Channels] | None = None,
    input_range: tuple[Channels, Channels] | None = None,
    samples: NDArray[Any] | None = None,
    input_bits: int = 8,
    output: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> FloatGraph:
    """Loads an ONNX classifier as a graph over bytes.

    preprocess: `(scale, offset)` when the model expects `scale · q + offset` of the byte q (numbers or one a
    channel); input_range: `(low, high)` of the real numbers a float-input model takes (numbers or one a channel),
    which clients then quantize to bytes; samples: real inputs `[N, *input shape]` from which the ranges are measured if
    neither of the former is given. Without all three the model takes the bytes 0..255 themselves. If the network pads
    with zeros, a range is widened so that zero is exactly one of its levels, counting only the top `input_bits` of each
    byte, which the network sees. output: the name of the output to take, where there are several. input_shape: of one
    input, `samples`' by default: it sets axes that the file leaves open, and a file without a batch axis is known by
    it.

    Raises:
        ModelError: the file is damaged or unsafe.
        UnsupportedOperator: a node has no kernel; the message names it.
        CalibrationError: the samples have no range.
    """
    return load_lowered(
        model,
        preprocess=preprocess,
        input_range=input_range,
        samples=samples,
        input_bits=input_bits,
        output=output,
        input_shape=input_shape,
    ).graph


def load_lowered(
    model: str | Path | bytes | onnx.ModelProto,
    *,
    preprocess: tuple[Channels, Channels] | None = None,
    input_range: tuple[Channels, Channels] | None = None,
    samples: NDArray[Any] | None = None,
    input_bits: int = 8,
    output: str | None = None,
    input_shape: Sequence[int] | None = None,
    probe: NDArray[Any] | None = None,
) -> Lowered:
    """Like `load_graph`, and also returns the layers' values for every node of the file.

    probe: inputs `[N, *input shape]`, real numbers or bytes, from which products of two tensors take their ranges.
    """
    if input_shape is None and samples is not None:
        input_shape = samples.shape[1:]
    given = chosen(load_model(model), output)
    proto = with_plain_input(given, input_shape)
    apart = with_functions_apart(proto)
    _, onnx_shape, kind = model_input(proto)
    if preprocess is not None and input_range is not None:
        raise ModelError("give preprocess or input_range, not both")
    for name, pair in (("preprocess", preprocess), ("input_range", input_range)):
        if pair is not None and (not isinstance(pair, Sequence) or len(pair) != 2):
            raise ModelError(f"{name} must be two values, each a number or one number a channel")
    if kind == TensorProto.UINT8 and input_range is None:
        samples = None  # the model says itself what its bytes mean
    meaning = _Meaning(preprocess, input_range, samples, 8 - input_bits)
    if takes_integers(given) and meaning.measured and samples is not None and samples.size:
        low = float(samples.min())
        if (
            low == np.rint(low)
            and float(samples.max()) - low <= ranges.STEPS
            and (samples == np.rint(samples)).all()
        ):
            meaning.own = 1.0, low  # bytes, be they called int32 or int64
    if samples is not None and (samples.shape[1:] != onnx_shape or not len(samples)):
        raise CalibrationError(
            f"calibration data has shape {list(samples.shape)}; give at least one sample as "
            f"[N, {', '.join(map(str, onnx_shape))}]"
        )
    if kind == TensorProto.UINT8 and (preprocess is not None or meaning.real):
        raise ModelError("the model takes bytes already; leave preprocess and input_range out")
    if kind == TensorProto.INT8:
        if preprocess is not None or not _is_range(input_range, *INT8):
            raise ModelError("the model takes the integers -128..127; leave preprocess and input_range out")
        meaning.own, meaning.given = (1.0, INT8[0]), True

    layout, shape = _first_guess(onnx_shape, meaning)
    fixed, varies = False, ""
    while True:
        spec = meaning.input(onnx_shape, layout, shape)
        try:
            lowered = lower(
                apart,
                spec,
                fixed,
                adjustable=meaning.adjustable,
                measured=meaning.measured,
                probe=_probed(spec, probe),
            )
            _check_sizes(lowered)
            return lowered.seen_in(proto)
        except UnsupportedOperator as error:
            if varies:
                raise UnsupportedOperator(
                    f"{error}. Constants that vary over positions ({varies}) fold into dense layers alone: take them "
                    "out of the model, and compile it for inputs to which they have been applied"
                ) from error
            raise
        except Relayout as other:
            varies = other.reason
            layout, shape, fixed = ("HWC" if other.layout == "HWC" else "CHW"), other.shape, True
            meaning.level, meaning.own = None, meaning.own if meaning.given else None
        except InputGrid as found:
            meaning.own = found.scale, found.offset
        except PaddingLevel as wanted:
            meaning.level = spec.scale * wanted.q + spec.offset


def _probed(spec: Input, inputs: NDArray[Any] | None) -> NDArray[np.uint8] | None:
    """Some of the inputs as bytes `[N, C, H, W]`; None where they are no inputs of the model, which is said later."""
    if (
        inputs is None
        or inputs.shape[1:] != spec.onnx_shape
        or not len(inputs)
        or inputs.dtype.kind not in "fiu"
    ):
        return None
    chosen = inputs[np.linspace(0, len(inputs) - 1, min(PROBED, len(inputs))).astype(int)]
    if not np.isfinite(chosen).all():
        return None
    if chosen.dtype != np.uint8:
        scale, offset = (spec.scale, spec.offset) if spec.float_input else (np.ones(1), np.zeros(1))
        chosen = ranges.to_bytes(chosen, spec.layout, spec.shape, scale, offset)
    return as_chw(spec, chosen)


def _check_sizes(lowered: Lowered) -> None:
    """Refuse tensors that no contract can hold, before anything is computed with them."""
    for layer in lowered.layers:
        down, along = layer.pool.stride if layer.pool is not None else (1, 1)
        values = math.prod(layer.shape) * down * along
        if values > MOST_VALUES:
            raise UnsupportedOperator(
                f"layer {layer.name!r} makes {values:,} values of one input; a contract's memory holds some "
                f"{MOST_VALUES:,} at most: use smaller inputs, less padding, or a stride"
            )


@dataclass
class _Meaning:
    """What the input bytes stand for. level: real numbers `[C]` that must be levels, for padding (NaN: none); own:
    scale and offset, numbers or `[C]`, with which the file quantizes its input; given: whether its type says so."""

    preprocess: tuple[Channels, Channels] | None
    input_range: tuple[Channels, Channels] | None
    samples: NDArray[Any] | None
    dropped: int
    level: FloatArray | None = field(default=None)
    own: tuple[float | FloatArray, float | FloatArray] | None = field(default=None)
    given: bool = False

    @property
    def real(self) -> bool:
        """Whether the input is real numbers, which clients quantize."""
        return self.input_range is not None or (self.samples is not None and self.preprocess is None)

    @property
    def adjustable(self) -> bool:
        """Whether the ranges may still be moved."""
        return self.real and self.level is None and self.own is None

    @property
    def measured(self) -> bool:
        """Whether the ranges come from samples alone."""
        return self.real and self.input_range is None and self.own is None

    @property
    def channels(self) -> int:
        """For how many channels the numbers were given; 1 if they hold for any number."""
        return max((np.size(value) for value in self.preprocess or self.input_range or ()), default=1)

    def input(self, onnx_shape: tuple[int, ...], layout: Literal["CHW", "HWC"], shape: Shape) -> Input:
        """The input in this layout. ModelError if the numbers given do not fit it."""
        if self.own is not None:
            step, low = (np.broadcast_to(np.asarray(v, np.float64), shape[:1]).copy() for v in self.own)
            scale = ranges.scale_of(low, low + ranges.STEPS * step)
            return Input(onnx_shape, layout, shape, scale, low, float_input=True)
        if not self.real:
            scale, offset = _preprocess(self.preprocess or (1.0, 0.0), shape[0])
            return Input(onnx_shape, layout, shape, scale, offset)
        if self.input_range is not None:
            low, high = ranges.given(self.input_range, shape[0])
        else:
            assert self.samples is not None
            low, high = ranges.measured(self.samples, layout, shape)
        for c, value in enumerate(self.level if self.level is not None else ()):
            if np.isfinite(value):
                low[c], high[c] = ranges.with_level(low[c], high[c], float(value), self.dropped)
        return Input(onnx_shape, layout, shape, ranges.scale_of(low, high), low, float_input=True)


def _is_range(given: tuple[Channels, Channels] | None, low: float, high: float) -> bool:
    """Whether the range given, if any, is this one."""
    return given is None or bool(np.all(np.equal(given[0], low)) and np.all(np.equal(given[1], high)))


def _first_guess(onnx_shape: tuple[int, ...], meaning: _Meaning) -> tuple[Literal["CHW", "HWC"], Shape]:
    channels = meaning.channels
    last = 1 < channels == onnx_shape[-1] != onnx_shape[0]
    if meaning.samples is not None and meaning.real and meaning.input_range is None:
        last = ranges.last_axis_differs(meaning.samples)
    if len(onnx_shape) == 3:
        a, b, c = onnx_shape
        return ("HWC", (c, a, b)) if last else ("CHW", (a, b, c))
    if len(onnx_shape) == 2:
        a, b = onnx_shape
        return ("HWC", (b, 1, a)) if last else ("CHW", (a, 1, b))
    size = int(np.prod(onnx_shape))
    if 1 < channels < size and size % channels == 0:
        return "CHW", (channels, 1, size // channels)
    return "CHW", (size, 1, 1)


def _preprocess(given: tuple[Channels, Channels], channels: int) -> tuple[FloatArray, FloatArray]:
    try:
        scale, offset = (np.asarray(value, np.float64) for value in given)
    except (TypeError, ValueError):
        raise ModelError("preprocess must be (scale, offset): numbers, or lists of one a channel") from None
    for name, value in (("scale", scale), ("offset", offset)):
        if value.size not in (1, channels) or value.ndim > 1 or not np.isfinite(value).all():
            raise ModelError(
                f"preprocess: {name} must be finite, one number or one for each of {channels} channels"
            )
    if (scale <= 0).any():
        raise ModelError("preprocess: scale must be positive")
    return tuple(np.broadcast_to(value, (channels,)).copy() for value in (scale, offset))  # type: ignore[return-value]
