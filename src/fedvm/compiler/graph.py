"""The two graphs that the compiler's stages pass on: float layers (from ONNX) and integer layers (to be compiled).

Both have the same shape. A network is a list of layers; a layer adds linear terms (convolutions, dense products)
of earlier tensors and a bias, then pools, then squashes::

    acc[o, y, x] = bias[o] + Σ_terms term(source)[o, y, x]
    float:    out = activation(maxpool(acc))
    integer:  out = clip(floor(maxpool(acc) / 2^shift[o]), 0, high)

Everything else folds into that: a residual shortcut is a depthwise 1×1 convolution term, average pooling is a
depthwise convolution with equal weights, concatenation splits the consumer's weights into one term a source,
batch normalisation and input normalisation fold into weights and bias.

Tensors are `(C, H, W)` for images and `(F, 1, 1)` for vectors. Integer tensors are **unsigned**: values 0..high;
the real value of integer q in channel c is `scale[c] · (q − zero)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, int, int]
FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

INPUT = "input"
"""Name of the network's input tensor in `Term.source`."""


@dataclass(frozen=True)
class Conv:
    """2-D convolution (cross-correlation) term. Dense layers are `Dense`.

    weight: `[O, I / groups, kh, kw]`; stride `(sh, sw)`; pads `(top, left, bottom, right)`; padded positions hold
    `pad_value` (float graph: a real number, or one for each input channel; integer graph: an integer of the source
    tensor, 0..high).
    """

    source: str
    weight: FloatArray | IntArray
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad_value: float | FloatArray = 0
    groups: int = 1


@dataclass(frozen=True)
class Dense:
    """Matrix product with the source flattened in (C, H, W) order. weight: `[O, C·H·W]`."""

    source: str
    weight: FloatArray | IntArray


Term: TypeAlias = Conv | Dense


@dataclass(frozen=True)
class MaxPool:
    """Max pooling; padded positions never win. pads `(top, left, bottom, right)`."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Input:
    """How the raw input bytes are laid out and what they mean.

    onnx_shape: the ONNX input without its batch axis; layout: how that maps to (C, H, W): "CHW" (also for vectors
    `(F,)`) or "HWC"; shape: `(C, H, W)`. The network's real input in channel c is `scale[c] · q + offset[c]` of the
    byte q (`float_input`: the ONNX input holds those real numbers, so clients quantize with scale and offset first;
    otherwise the ONNX input takes 0..255 or preprocess was given).
    """

    onnx_shape: tuple[int, ...]
    layout: Literal["CHW", "HWC"]
    shape: Shape
    scale: FloatArray  # [C]
    offset: FloatArray  # [C]
    float_input: bool = False

    @property
    def high(self) -> FloatArray:
        """The network's real input for the byte 255, `[C]`."""
        high: FloatArray = self.offset + 255 * self.scale
        return high


@dataclass(frozen=True)
class FloatLayer:
    """One float layer. activation: "linear", "relu", or `("clip", low, high)` in real numbers."""

    name: str
    terms: tuple[Term, ...]
    bias: FloatArray  # [O]
    shape: Shape  # of the output, after pooling
    pool: MaxPool | None = None
    activation: Literal["linear", "relu"] | tuple[Literal["clip"], float, float] = "linear"


@dataclass(frozen=True)
class FloatGraph:
    """The normalised network in real arithmetic; `layers` in topological order, the last one gives the scores.

    `head`: what followed the scores in the ONNX file and is left out on chain ("softmax", "argmax" or "").
    The sources in `layers` are names of earlier layers or `INPUT`; `INPUT` here already means the real values that
    the first layer's folded weights expect for bytes 0..255, i.e. preprocessing is in weights and bias.
    """

    input: Input
    layers: tuple[FloatLayer, ...]
    head: Literal["", "softmax", "argmax"] = ""


@dataclass(frozen=True)
class IntegerLayer:
    """One integer layer.

    weight arrays of `terms`, `bias` `[O]` and `shift` `[O]` are int64. `high` bounds the output (0..high, high + 1
    a power of two); `None` in the last layer only: its accumulators are the scores (int32), unshifted.
    `scale` `[O]` and `zero` give the output's real value, scale·(q − zero).
    """

    name: str
    terms: tuple[Term, ...]
    bias: IntArray
    shift: IntArray
    shape: Shape
    scale: FloatArray
    zero: int = 0
    high: int | None = 255
    pool: MaxPool | None = None


@dataclass(frozen=True)
class IntegerGraph:
    """The exact integer network. It computes with the top bits of each input byte: byte >> `input_shift`, which is
    at most `input_high`, 2^bits − 1."""

    input: Input
    layers: tuple[IntegerLayer, ...]
    head: Literal["", "softmax", "argmax"] = ""
    input_high: int = 255
    notes: tuple[str, ...] = field(default=())

    @property
    def input_shift(self) -> int:
        """Bits of an input byte that are dropped."""
        return 8 - self.input_high.bit_length()

    def shape_of(self, name: str) -> Shape:
        """`(C, H, W)` of the tensor `name`; KeyError if there is none."""
        if name == INPUT:
            return self.input.shape
        return {layer.name: layer.shape for layer in self.layers}[name]

    def high_of(self, name: str) -> int:
        """Largest value the tensor `name` can hold."""
        if name == INPUT:
            return self.input_high
        high = {layer.name: layer.high for layer in self.layers}[name]
        if high is None:
            raise ValueError(f"{name} holds the scores and is no layer's input")
        return high
