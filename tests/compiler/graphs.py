"""Random integer networks of every form that has a kernel, and the inputs that are hardest on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from fedvm.compiler.graph import (
    INPUT,
    Conv,
    Dense,
    Input,
    IntArray,
    IntegerGraph,
    IntegerLayer,
    MaxPool,
    Shape,
    Term,
)

HIGHS = (1, 3, 7, 15, 31, 63, 127, 255)


@dataclass(frozen=True)
class Tensor:
    """A tensor that further layers may read."""

    name: str
    shape: Shape
    high: int


@dataclass(frozen=True)
class _Frame:
    """What all terms of a convolutional layer agree on: size of the sum, outputs, stride."""

    outputs: int
    height: int
    width: int
    stride: tuple[int, int]


def draw_input(shape: Shape, layout: str) -> Input:
    """Input of plain bytes."""
    channels, height, width = shape
    onnx_shape = (height, width, channels) if layout == "HWC" else shape
    return Input(onnx_shape, layout, shape, np.ones(channels), np.zeros(channels))  # type: ignore[arg-type]


@st.composite
def networks(draw: Callable[..., object], widest: int = 40) -> IntegerGraph:
    """One to five layers: convolutions of all kinds, residual sums, pooling, then dense layers or a score map."""
    d = _Draw(draw)
    wide = d.integer(0, 3) == 0
    shape = (d.integer(1, 4), d.integer(1, 9), d.integer(15, widest) if wide else d.integer(1, 12))
    tensors = [Tensor(INPUT, shape, 255)]
    layers: list[IntegerLayer] = []
    for _ in range(d.integer(0, 3)):
        layers.append(d.conv_layer(f"conv{len(layers)}", tensors, last=False))
        tensors.append(_tensor(layers[-1]))
    if d.integer(0, 2) == 0:
        layers.append(d.conv_layer("scores", tensors, last=True))
    else:
        for i in range(d.integer(0, 1)):
            layers.append(d.dense_layer(f"dense{i}", tensors, d.integer(1, 30), last=False))
            tensors.append(_tensor(layers[-1]))
            if d.integer(0, 2) == 0:
                layers.append(d.conv_layer(f"vector{i}", tensors, last=False))
                tensors.append(_tensor(layers[-1]))
        layers.append(d.dense_layer("scores", tensors, d.integer(1, 20), last=True))
    return IntegerGraph(draw_input(shape, d.choice(("CHW", "HWC"))), tuple(_reached(layers)))


def _tensor(layer: IntegerLayer) -> Tensor:
    assert layer.high is not None
    return Tensor(layer.name, layer.shape, layer.high)


def _reached(layers: list[IntegerLayer]) -> list[IntegerLayer]:
    """Layers that the scores depend on (the frontend leaves no others)."""
    wanted, kept = {layers[-1].name}, []
    for layer in reversed(layers):
        if layer.name in wanted:
            kept.append(layer)
            wanted |= {term.source for term in layer.terms}
    return kept[::-1]


class _Draw:
    """Hypothesis draws the structure; numpy draws the numbers from a drawn seed."""

    def __init__(self, draw: Callable[..., object]) -> None:
        self._draw = draw
        self.rng = np.random.default_rng(self.integer(0, 2**32 - 1))

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))  # type: ignore[call-overload]

    def choice(self, options):  # type: ignore[no-untyped-def]
        return self._draw(st.sampled_from(options))

    def weights(self, shape: tuple[int, ...]) -> IntArray:
        kind = self.choice(
            ("dense", "dense", "extreme", "positive", "negative", "sparse", "small", "zero", "one")
        )
        rng = self.rng
        w = rng.integers(-128, 128, shape)
        if kind == "extreme":
            w = rng.choice([-128, -127, 127], shape)
        elif kind == "positive":
            w = rng.integers(0, 128, shape)
        elif kind == "negative":
            w = rng.integers(-128, 1, shape)
        elif kind == "sparse":
            w = w * (rng.random(shape) < 0.3)
        elif kind == "small":
            w = rng.integers(-2, 3, shape)
        elif kind == "zero":
            w = w * (rng.random((shape[0], *[1] * (len(shape) - 1))) < 0.5)
        elif kind == "one":
            w = np.ones(shape, np.int64)
        return np.asarray(w, np.int64)

    # -- layers -----------------------------------------------------------------------------------------------

    def conv_layer(self, name: str, tensors: list[Tensor], *, last: bool) -> IntegerLayer:
        source = tensors[-1] if self.integer(0, 3) else self.choice(tensors)
        depthwise = self.integer(0, 3) == 0
        outputs = source.shape[0] * self.integer(1, 2) if depthwise else self.integer(1, 5)
        groups = source.shape[0] if depthwise else self._groups(source.shape[0], outputs)
        stride = (self.integer(1, 3), self.integer(1, 3)) if self.integer(0, 2) == 0 else (1, 1)
        first, frame = self._leading(source, outputs, groups, stride)
        terms: list[Term] = [first]
        for _ in range(self.integer(0, 2) if self.integer(0, 2) == 0 else 0):
            more = self._matching(self.choice(tensors), frame)
            if more is not None:
                terms.append(more)
        pool, height, width = self._pool(frame)
        return self._finish(name, terms, (frame.outputs, height, width), tensors, pool, last=last)

    def dense_layer(self, name: str, tensors: list[Tensor], outputs: int, *, last: bool) -> IntegerLayer:
        sources = [tensors[-1]]
        if self.integer(0, 3) == 0:
            sources.append(self.choice(tensors))
        terms: tuple[Term, ...] = tuple(
            Dense(s.name, self.weights((outputs, int(np.prod(s.shape))))) for s in sources
        )
        return self._finish(name, list(terms), (outputs, 1, 1), tensors, None, last=last)

    def _finish(
        self,
        name: str,
        terms: list[Term],
        shape: Shape,
        tensors: list[Tensor],
        pool: MaxPool | None,
        *,
        last: bool,
    ) -> IntegerLayer:
        outputs = shape[0]
        highs = {t.name: t.high for t in tensors}
        reach = np.zeros(outputs, np.int64)
        for term in terms:
            reach += np.abs(np.asarray(term.weight)).reshape(outputs, -1).sum(axis=1) * highs[term.source]
        size = max(1, int(reach.max()) // self.choice((1, 8, 64)))
        bias = self.rng.integers(-size, size + 1, outputs)
        shift, high, table = np.zeros(outputs, np.int64), None, None
        if not last:
            high = self.choice(HIGHS)
            if self.integer(0, 3) == 0:
                table = self.rng.integers(0, high + 1, 1 << self.integer(1, 8))
            clip = high if table is None else len(table) - 1
            fitting = max(0, int(reach.max()).bit_length() - clip.bit_length())
            shift += int(np.clip(fitting + self.integer(-3, 1), 0, 20))
            if self.integer(0, 1):
                shift = np.maximum(0, shift + self.rng.integers(-2, 3, outputs))
        return IntegerLayer(name, tuple(terms), bias, shift, shape, np.ones(outputs), 0, high, pool, table)

    # -- convolutions -----------------------------------------------------------------------------------------

    def _groups(self, inputs: int, outputs: int) -> int:
        return int(self.choice([g for g in (1, 1, 2, 3, 4) if inputs % g == outputs % g == 0]))

    def _leading(
        self, source: Tensor, outputs: int, groups: int, stride: tuple[int, int]
    ) -> tuple[Conv, _Frame]:
        channels, height, width = source.shape
        pads = (0, 0, 0, 0)
        if self.integer(0, 1):
            pads = (self.integer(0, 2), self.integer(0, 2), self.integer(0, 2), self.integer(0, 2))
        rows = self.integer(1, min(4, height + pads[0] + pads[2]))
        columns = self.integer(1, min(5, width + pads[1] + pads[3]))
        if self.integer(0, 4) == 0:  # average pooling is a depthwise convolution with equal weights
            groups = channels
            outputs = channels
            weight = np.ones((channels, 1, rows, columns), np.int64)
        else:
            weight = self.weights((outputs, channels // groups, rows, columns))
        conv = Conv(source.name, weight, stride, pads, self._pad_value(source), groups)
        tall = (height + pads[0] + pads[2] - rows) // stride[0] + 1
        wide = (width + pads[1] + pads[3] - columns) // stride[1] + 1
        return conv, _Frame(outputs, tall, wide, stride)

    def _matching(self, source: Tensor, frame: _Frame) -> Conv | None:
        """Another term of the same sum, or None if no small padding makes the sizes meet."""
        channels, height, width = source.shape
        identity = source.shape == (frame.outputs, frame.height, frame.width) and frame.stride == (1, 1)
        if identity and self.integer(0, 1):
            weight = self.rng.choice([1, 64, 127]) * np.ones((channels, 1, 1, 1), np.int64)
            return Conv(source.name, weight, groups=channels)
        rows, columns = self.integer(1, 4), self.integer(1, 4)
        vertical = self._split((frame.height - 1) * frame.stride[0] + rows - height, frame.stride[0])
        horizontal = self._split((frame.width - 1) * frame.stride[1] + columns - width, frame.stride[1])
        if vertical is None or horizontal is None:
            return None
        groups = self._groups(channels, frame.outputs)
        weight = self.weights((frame.outputs, channels // groups, rows, columns))
        pads = (vertical[0], horizontal[0], vertical[1], horizontal[1])
        return Conv(source.name, weight, frame.stride, pads, self._pad_value(source), groups)

    def _split(self, needed: int, stride: int) -> tuple[int, int] | None:
        """Padding before and after that adds up to needed … needed + stride − 1."""
        if needed + stride <= 0 or needed > 6:
            return None
        total = max(0, needed)
        before = self.integer(0, total)
        return before, total - before

    def _pad_value(self, source: Tensor) -> int:
        return int(self.choice((0, 0, source.high, self.integer(0, source.high))))

    def _pool(self, frame: _Frame) -> tuple[MaxPool | None, int, int]:
        if self.integer(0, 2):
            return None, frame.height, frame.width
        kernel = (self.integer(1, min(3, frame.height)), self.integer(1, min(4, frame.width)))
        stride = (self.integer(1, 3), self.integer(1, 3))
        pads = (0, 0, 0, 0)
        if self.integer(0, 3) == 0:
            top, bottom = (self.integer(0, kernel[0] - 1) for _ in range(2))
            left, right = (self.integer(0, kernel[1] - 1) for _ in range(2))
            pads = (top, left, bottom, right)
        tall = (frame.height + pads[0] + pads[2] - kernel[0]) // stride[0] + 1
        wide = (frame.width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1
        return MaxPool(kernel, stride, pads), tall, wide


def big_network() -> IntegerGraph:
    """A network whose weights do not fit two contracts, with a residual sum across contracts."""
    rng = np.random.default_rng(7)

    def weights(*shape):
        return rng.integers(-127, 128, shape)

    def layer(name, terms, outputs, shape, high: int | None = 63, pool=None):
        shift = np.full(outputs, 0 if high is None else 12)
        return IntegerLayer(
            name, terms, rng.integers(-999, 999, outputs), shift, shape, np.ones(outputs), 0, high, pool
        )

    identity = Conv("a", np.full((12, 1, 1, 1), 64), groups=12)
    return IntegerGraph(
        draw_input((3, 12, 12), "CHW"),
        (
            layer("a", (Conv(INPUT, weights(12, 3, 3, 3), pads=(1, 1, 1, 1)),), 12, (12, 12, 12)),
            layer("b", (Conv("a", weights(24, 12, 3, 3), pads=(1, 1, 1, 1), pad_value=3),), 24, (24, 12, 12)),
            layer("c", (Conv("b", weights(12, 24, 3, 3), pads=(1, 1, 1, 1)), identity), 12, (12, 6, 6),
                  pool=MaxPool((2, 2), (2, 2))),
            layer("d", (Dense("c", weights(40, 432)),), 40, (40, 1, 1)),
            layer("e", (Dense("d", weights(10, 40)),), 10, (10, 1, 1), None),
        ),
    )  # fmt: skip
