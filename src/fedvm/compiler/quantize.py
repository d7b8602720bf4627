"""Post-training quantization to integers whose every rescaling is a right shift.

Layer by layer, each fitted on the integer outputs of the layers before it. Scales of activations are free
(one a channel: a positive factor passes through ReLU and max pooling into the next layer's weights), so that

    multiplier[o] = 2^shift[o] / scale[o],   weight_int = round(multiplier · weight),   out = acc >> shift

with scale near the one of least squared clipping and rounding error (Banner et al. 2019), and shift the
largest for which the weights fit their bits and the accumulator's exact interval fits its lane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.calibration import accumulate, activate, grouped_weight, max_pool, squash
from fedvm.compiler.errors import CalibrationError, CompileError
from fedvm.compiler.fitted_terms import Source
from fedvm.compiler.graph import INPUT, FloatArray, FloatGraph, FloatLayer, IntegerGraph, IntegerLayer
from fedvm.compiler.interpreter import as_chw
from fedvm.compiler.layer_fit import EXACT_BITS, Budget, fit_layer

WORK = 4_000_000_000
"""Multiply-accumulates spent on running the calibration data; large networks use fewer samples."""


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize. Mappings are by layer name; layers left out take the default (8 bits, 24 lane bits).

    input_bits: top bits of each input byte that the network sees, 1..8. weight_bits: of a layer's weights, 2..8.
    activation_bits: of a layer's output at most, 1..8. lane_bits: 8..24; the accumulator's interval, made to
    include 0, is narrower than 2^lane_bits. rounding: "compensated" or "nearest". bias_correction: makes each
    layer's mean error zero on the calibration data. refit: ridge strength with which weights follow the earlier
    layers' errors, None for not at all. samples: positions a layer is fitted on.
    """

    weight_bits: int | Mapping[str, int] = 8
    activation_bits: int | Mapping[str, int] = 8
    lane_bits: int | Mapping[str, int] = 24
    rounding: Literal["compensated", "nearest"] = "compensated"
    bias_correction: bool = True
    refit: float | None = 0.1
    samples: int = 8192
    input_bits: int = 8

    def __post_init__(self) -> None:
        _check_bits("weight_bits", self.weight_bits, 2, 8)
        _check_bits("input_bits", self.input_bits, 1, 8)
        _check_bits("activation_bits", self.activation_bits, 1, 8)
        _check_bits("lane_bits", self.lane_bits, 8, EXACT_BITS)
        if self.samples < 1:
            raise CompileError("samples must be at least 1")
        if self.rounding not in ("compensated", "nearest"):
            raise CompileError(f"rounding is {self.rounding!r}; choose compensated or nearest")
        if self.refit is not None and not self.refit > 0:
            raise CompileError("refit must be positive, or None")

    def budget(self, layer: str, last: bool) -> Budget:
        """The bits that the layer of this name may use."""
        return Budget(
            weight_bits=_of(self.weight_bits, layer, 8),
            lane_bits=_of(self.lane_bits, layer, EXACT_BITS),
            output_bits=None if last else _of(self.activation_bits, layer, 8),
            samples=self.samples,
            compensate=self.rounding == "compensated",
            correct_bias=self.bias_correction,
            refit=self.refit,
        )


def quantize(
    graph: FloatGraph, calibration: NDArray[np.uint8], options: QuantizeOptions | None = None
) -> IntegerGraph:
    """The integer network nearest to `graph` on `calibration` (uint8 `[N, *onnx_shape]`, typical inputs).

    The same arguments give the same integers. Raises RangeError if an accumulator's interval over all inputs does not
    fit its lane, CalibrationError if the data do not fit the model, CompileError if the options name a layer that it
    does not have.
    """
    options = options or QuantizeOptions()
    _check_names(graph, options)
    data = _calibration_input(graph, calibration)
    real: dict[str, NDArray[Any]] = {INPUT: data.astype(np.float64)}
    channels = graph.input.shape[0]
    dropped = 8 - options.input_bits
    # A byte without its low bits stands for the mean of the bytes it may have been.
    middle = (1 - 0.5**dropped) / 2
    top = (data >> dropped).astype(np.float32)
    sources = {INPUT: Source(top, np.full(channels, 2.0**dropped), -middle, 255 >> dropped)}
    last_use = {term.source: i for i, layer in enumerate(graph.layers) for term in layer.terms}
    layers: list[IntegerLayer] = []
    for position, layer in enumerate(graph.layers):
        last = position == len(graph.layers) - 1
        total = accumulate(layer.terms, layer.bias, real)
        fitted = fit_layer(layer, total, sources, _importance(graph, layer), options.budget(layer.name, last))
        layers.append(fitted)
        if fitted.high is None:
            break
        whole = {name: source.whole for name, source in sources.items()}
        output = squash(fitted, max_pool(fitted.pool, accumulate(fitted.terms, fitted.bias, whole)))
        real[layer.name] = activate(layer, max_pool(layer.pool, total))
        sources[layer.name] = Source(output, fitted.scale, fitted.zero, fitted.high)
        for name in [name for name in real if last_use.get(name, -1) <= position and name != layer.name]:
            del real[name], sources[name]
    notes = (f"calibrated on {len(data)} samples",)
    return IntegerGraph(graph.input, tuple(layers), graph.head, 255 >> dropped, notes, graph.scores)


def _importance(graph: FloatGraph, layer: FloatLayer) -> FloatArray:
    """How strongly later layers weigh each output of `layer`, `[O]`: sums of squared weights."""
    total = np.zeros(len(layer.bias))
    for later in graph.layers:
        for term in later.terms:
            if term.source == layer.name:
                squares = np.square(grouped_weight(term)).sum(axis=1)
                total += squares.reshape(len(total), -1).sum(axis=1)
    return np.maximum(total, 1e-9 * float(total.max()))


def _calibration_input(graph: FloatGraph, calibration: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(calibration, np.ndarray) or calibration.ndim < 1 or len(calibration) == 0:
        raise CalibrationError("there are no calibration samples; give some hundred typical inputs")
    try:
        data: NDArray[np.uint8] = as_chw(graph.input, calibration)
    except ValueError as error:
        raise CalibrationError(f"calibration data: {error}") from error
    return data[: rows_used(graph, len(data))]


def rows_used(graph: FloatGraph, count: int) -> int:
    """How many of `count` calibration samples the fit uses; it uses the first ones."""
    return min(count, max(32, WORK // max(1, macs(graph))))


def macs(graph: FloatGraph) -> int:
    """Approximate number of multiply-accumulates for one sample."""
    cost = 0
    for layer in graph.layers:
        area = math.prod(layer.shape[1:]) * (math.prod(layer.pool.stride) if layer.pool else 1)
        cost += sum(area * term.weight.size for term in layer.terms)
    return cost


def _of(value: int | Mapping[str, int], layer: str, default: int) -> int:
    return value.get(layer, default) if isinstance(value, Mapping) else value


def _check_bits(name: str, value: int | Mapping[str, int], low: int, high: int) -> None:
    for bits in value.values() if isinstance(value, Mapping) else (value,):
        if not isinstance(bits, int) or isinstance(bits, bool) or not low <= bits <= high:
            raise CompileError(f"{name} is {bits!r}; choose {low}..{high}")


def _check_names(graph: FloatGraph, options: QuantizeOptions) -> None:
    names = [layer.name for layer in graph.layers]
    for option in ("weight_bits", "activation_bits", "lane_bits"):
        value = getattr(options, option)
        unknown = sorted(map(str, set(value) - set(names))) if isinstance(value, Mapping) else []
        if unknown:
            raise CompileError(f"{option} names {', '.join(unknown)}; the layers are {', '.join(names)}")
