"""The two graphs that the compiler's stages pass on: float layers (from ONNX) and integer layers (to be compiled).

Both have the same shape. A network is a list of layers; a layer adds linear terms (convolutions, dense products)
of earlier tensors and a bias, then pools, then squashes::

    acc[o, y, x] = bias[o] + Σ_terms term(source)[o, y, x]
    float:    out = activation(maxpool(acc))
    integer:  out = clip(floor(maxpool(acc) / 2^shift[o]), 0, high), or an entry of a table at that index

Everything else folds into that: a residual shortcut is a depthwise 1×1 convolution term, average pooling is a
depthwise convolution with equal weights, concatenation splits the consumer's weights into one term a source,
batch normalisation and input normalisation fold into weights and bias.

Tensors are `(C, H, W)` for images and `(F, 1, 1)` for vectors. Integer tensors are **unsigned**: values 0..high;
the real value of integer q in channel c is `scale[c] · (q − zero)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
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


Layout: TypeAlias = Literal["CHW", "HWC", "CWH", "WHC"]
"""The axes of a tensor `(C, H, W)` in the order in which its bytes lie, the last one without gaps."""


@dataclass(frozen=True)
class Input:
    """How the raw input bytes are laid out and what they mean.

    onnx_shape: the ONNX input without its batch axis; layout: how that maps to (C, H, W): "CHW" (also for vectors
    `(F,)`) or "HWC", and "CWH" or "WHC" in a network whose H and W are the file's W and H; shape: `(C, H, W)`. The
    network's real input in channel c is `scale[c] · q + offset[c]` of the byte q (`float_input`: the ONNX input holds
    those real numbers, so clients quantize with scale and offset first; otherwise the ONNX input takes 0..255 or
    preprocess was given).
    """

    onnx_shape: tuple[int, ...]
    layout: Layout
    shape: Shape
    scale: FloatArray  # [C]
    offset: FloatArray  # [C]
    float_input: bool = False

    @cached_property
    def steps(self) -> Shape:
        """Bytes from one element to the next along C, H and W."""
        size = dict(zip("CHW", self.shape, strict=True))
        steps = {axis: math.prod(size[a] for a in self.layout[i + 1 :]) for i, axis in enumerate(self.layout)}
        return steps["C"], steps["H"], steps["W"]

    @property
    def high(self) -> FloatArray:
        """The network's real input for the byte 255, `[C]`."""
        high: FloatArray = self.offset + 255 * self.scale
        return high


@dataclass(frozen=True)
class Grid:
    """The integers that the file itself gives for a tensor: q in low..high stands for `step · (q − zero)`."""

    step: float
    zero: int
    low: int
    high: int

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest real number."""
        return self.step * (self.low - self.zero), self.step * (self.high - self.zero)

    def level(self, value: float) -> int:
        """The integer nearest to a real number between the ends; the end nearest to one beyond."""
        low, high = self.ends
        return round(min(max(value, low), high) / self.step) + self.zero

    def holds(self, value: float) -> bool:
        """Whether a real number is one of the grid's, or lies beyond its ends, up to float noise."""
        low, high = self.ends
        inside = low < value < high
        return not inside or abs(value / self.step - round(value / self.step)) < 1e-6

    def rounded(self, values: FloatArray) -> FloatArray:
        """The nearest of the grid's numbers to each of `values`, halves to even."""
        result: FloatArray = np.rint(np.clip(values, *self.ends) / self.step) * self.step
        return result


SIGNS = Grid(1.0, 0, 0, 1)
"""What stands for signs: 1 for a number that is not negative, 0 for a negative one, however small."""


@dataclass(frozen=True)
class Pointwise:
    """A real function of one number, which becomes a table. of: float64 array of any shape to one of that shape;
    increasing: it never falls, so that the maximum may be taken before it; grid: to whose nearest number it rounds
    what it takes, before anything else, None if it does not; margin: by what share of the calibration inputs' range its
    table reaches beyond that."""

    name: str
    of: Callable[[FloatArray], FloatArray]
    increasing: bool = False
    grid: Grid | None = None
    margin: float = 0.0


SQUARE = Pointwise("square of a product", np.square, margin=0.25)
"""Of the sum and of the difference of two tensors that are multiplied: the product is a quarter of what lies between.
If one of both were cut off, the product would be far from right."""

Activation: TypeAlias = Literal["linear", "relu"] | tuple[Literal["clip"], float, float] | Pointwise
"""What follows a layer's sums; the bounds of a clip are real numbers."""


@dataclass(frozen=True)
class FloatLayer:
    """One float layer. grid: to whose nearest number the file rounds each output after the activation (halves to
    even), None if it does not; with `SIGNS` the output is the sign."""

    name: str
    terms: tuple[Term, ...]
    bias: FloatArray  # [O]
    shape: Shape  # of the output, after pooling
    pool: MaxPool | None = None
    activation: Activation = "linear"
    grid: Grid | None = None


@dataclass(frozen=True)
class ScoreMap:
    """How the scores stand. order: the axes of the last layer's (C, H, W) in the order in which they are given; shape:
    of the output in the ONNX file that they are, without its batch axis, () for that of the scores; axis: that of
    `shape` along which they compete for being the largest, None if they do not."""

    order: tuple[int, int, int] = (0, 1, 2)
    shape: tuple[int, ...] = ()
    axis: int | None = None


@dataclass(frozen=True)
class FloatGraph:
    """The normalised network in real arithmetic; `layers` in topological order, the last one gives the scores.

    `head`: what followed the scores in the ONNX file and is left out on chain, since it keeps their order ("softmax",
    "log_softmax", "argmax", "sigmoid", "tanh", "exp", "softplus", "softsign" or "").
    The sources in `layers` are names of earlier layers or `INPUT`; `INPUT` here already means the real values that
    the first layer's folded weights expect for bytes 0..255, i.e. preprocessing is in weights and bias.
    """

    input: Input
    layers: tuple[FloatLayer, ...]
    head: str = ""
    scores: ScoreMap = ScoreMap()


@dataclass(frozen=True)
class IntegerLayer:
    """One integer layer.

    weight arrays of `terms`, `bias` `[O]` and `shift` `[O]` are int64. `high` bounds the output (0..high, high + 1
    a power of two); `None` in the last layer only: its accumulators are the scores (int32), unshifted.
    `scale` `[O]` and `zero` give the output's real value, scale·(q − zero). `table`: `[T]`, T a power of two of at most
    256: the sums are then clipped to 0..T − 1, and the output is the entry at that index. kept: for a layer whose
    integers the file gives, the root mean square error in steps of the output with which they are held, 0 if exactly;
    None for others.
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
    table: IntArray | None = None
    kept: float | None = None

    @property
    def clip(self) -> int | None:
        """Largest value after the sums were clipped: the output's, or the table's last index."""
        return self.high if self.table is None else len(self.table) - 1


@dataclass(frozen=True)
class IntegerGraph:
    """The exact integer network. It computes with the top bits of each input byte: byte >> `input_shift`, which is
    at most `input_high`, 2^bits − 1."""

    input: Input
    layers: tuple[IntegerLayer, ...]
    head: str = ""
    input_high: int = 255
    notes: tuple[str, ...] = field(default=())
    scores: ScoreMap = ScoreMap()

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
