"""Post-training quantization to integers whose every rescaling is a right shift.

Layer by layer, each fitted on the integer outputs of the layers before it. Scales of activations are free (one a
channel: a positive factor passes through ReLU and max pooling into the next layer's weights), so that a layer has

    multiplier[o] = 2^shift[o] / scale[o],   weight_int = round(multiplier · weight),   out = clip(acc >> shift)

with scale chosen near the one of least squared clipping and rounding error (Banner et al. 2019), and shift the
largest for which the weights fit their bits and the accumulator's exact interval fits its lane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.calibration import (
    Positions,
    accumulate,
    activate,
    grouped_weight,
    max_pool,
    sample_positions,
    squash,
    term_rows,
)
from fedvm.compiler.errors import CalibrationError, CompileError, RangeError
from fedvm.compiler.graph import (
    INPUT,
    Conv,
    Dense,
    FloatArray,
    FloatGraph,
    FloatLayer,
    IntArray,
    IntegerGraph,
    IntegerLayer,
    Term,
)
from fedvm.compiler.interpreter import as_chw
from fedvm.compiler.rounding import compensated_round, nearest_round, refit

WORK = 4_000_000_000
"""Multiply-accumulates spent on calibration at most; large networks are calibrated on fewer samples."""
GRID_STEPS = 8
"""Candidate scales an octave."""
ATTEMPTS = 40
EXACT_BITS = 24
"""Accumulators stay exact in the float32 reference."""


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize. Mappings are by layer name; layers left out take the default (8 bits, 24 lane bits).

    weight_bits: of every weight, 2..8. activation_bits: of a layer's output, 1..8. lane_bits: 8..24, the accumulator's
    interval fits an unsigned number of so many bits. rounding: "compensated" or "nearest". bias_correction: makes
    each layer's mean error zero on the calibration data. refit: how far weights may follow earlier layers' errors:
    the ridge's strength, None for not at all. samples: rows of calibration data a layer is fitted on.
    """

    weight_bits: int = 8
    activation_bits: int | Mapping[str, int] = 8
    lane_bits: int | Mapping[str, int] = 24
    rounding: Literal["compensated", "nearest"] = "compensated"
    bias_correction: bool = True
    refit: float | None = 0.1
    samples: int = 8192

    def __post_init__(self) -> None:
        _check_bits("weight_bits", self.weight_bits, 2, 8)
        for name, value, low, high in (
            ("activation_bits", self.activation_bits, 1, 8),
            ("lane_bits", self.lane_bits, 8, EXACT_BITS),
        ):
            for bits in value.values() if isinstance(value, Mapping) else (value,):
                _check_bits(name, bits, low, high)
        if self.samples < 1:
            raise CompileError("samples must be at least 1")
        if self.rounding not in ("compensated", "nearest"):
            raise CompileError(f"rounding is {self.rounding!r}; choose compensated or nearest")
        if self.refit is not None and not self.refit > 0:
            raise CompileError("refit must be positive, or None")

    def activation_bits_of(self, layer: str) -> int:
        """Bits of the layer's output."""
        bits = self.activation_bits
        return bits.get(layer, 8) if isinstance(bits, Mapping) else bits

    def lane_bits_of(self, layer: str) -> int:
        """Bits of the layer's accumulators."""
        bits = self.lane_bits
        return bits.get(layer, EXACT_BITS) if isinstance(bits, Mapping) else bits


def quantize(
    graph: FloatGraph, calibration: NDArray[np.uint8], options: QuantizeOptions | None = None
) -> IntegerGraph:
    """The integer network nearest to `graph` on `calibration` (uint8 `[N, *onnx_shape]`, typical inputs).

    Every accumulator's interval over all inputs fits its lane, or RangeError; CalibrationError if the data do not
    fit the model; CompileError if the options name no layer of it. The same arguments give the same integers.
    """
    options = options or QuantizeOptions()
    _check_names(graph, options)
    data = _calibration_input(graph, calibration)
    real: dict[str, NDArray[Any]] = {INPUT: data.astype(np.float64)}
    whole: dict[str, NDArray[Any]] = {INPUT: data.astype(np.float32)}
    done: dict[str, IntegerLayer] = {}
    last_use = {term.source: i for i, layer in enumerate(graph.layers) for term in layer.terms}
    for position, layer in enumerate(graph.layers):
        total = accumulate(layer.terms, layer.bias, real)
        fit = _LayerFit(graph, layer, options, done, real, whole, total)
        done[layer.name] = integer = fit.solve()
        real[layer.name] = activate(layer, max_pool(layer.pool, total))
        pooled = max_pool(layer.pool, accumulate(integer.terms, integer.bias, whole))
        whole[layer.name] = squash(integer, pooled)
        for name in [n for n in real if last_use.get(n, -1) <= position and n != layer.name]:
            del real[name], whole[name]
    notes = (f"calibrated on {len(data)} samples",)
    return IntegerGraph(graph.input, tuple(done.values()), graph.head, 255, notes)


@dataclass(frozen=True)
class _Scales:
    """Chosen rescaling of one layer: `scale` and `shift` `[O]`, zero of the output."""

    scale: FloatArray
    shift: IntArray
    zero: int

    @property
    def multiplier(self) -> FloatArray:
        return 2.0**self.shift / self.scale


@dataclass(frozen=True)
class _LayerFit:
    """Everything one layer is fitted on."""

    graph: FloatGraph
    layer: FloatLayer
    options: QuantizeOptions
    done: dict[str, IntegerLayer]
    real: dict[str, NDArray[Any]]
    whole: dict[str, NDArray[Any]]
    total: FloatArray  # the float layer before pooling, [N, O, H, W]

    def solve(self) -> IntegerLayer:
        """The integer layer; retried with a tighter budget while rounding makes some accumulator too wide."""
        at = sample_positions((len(self.total), *self.total.shape[2:]), self.options.samples)
        target = self.total[at.sample, :, at.row, at.column]  # [R, O]
        terms = tuple(self._absorb(term) for term in self.layer.terms)
        rows = [term_rows(term, self.whole[term.source], at) for term in terms]
        terms = self._refit(terms, rows, target)
        tight = np.ones(len(self.layer.bias))
        for _ in range(ATTEMPTS):
            scales = self._choose(terms, rows, tight)
            layer = self._round(terms, rows, target, scales)
            wide = self._too_wide(layer)
            if not wide.any():
                return layer
            tight = np.where(wide, tight * 0.97, tight)
        raise RangeError(
            f"layer {self.layer.name}: its accumulators do not fit {self.options.lane_bits_of(self.layer.name)} bits; "
            "raise lane_bits or lower the activation bits of the layers it reads"
        )

    # --- the layer in terms of its integer sources ---

    def _source_scale(self, term: Term) -> FloatArray:
        """Real value of one step of the source, for each column of the term's weights `[groups, 1, K]`."""
        groups = term.groups if isinstance(term, Conv) else 1
        weight = grouped_weight(term)
        if term.source == INPUT:
            return np.ones((groups, 1, weight.shape[2]))
        source = self.done[term.source]
        per = weight.shape[2] * groups // len(source.scale)
        return np.repeat(source.scale, per).reshape(groups, 1, -1)

    def _zero(self, source: str) -> int:
        return 0 if source == INPUT else self.done[source].zero

    def _high(self, source: str) -> int:
        high = 255 if source == INPUT else self.done[source].high
        assert high is not None
        return high

    def _absorb(self, term: Term) -> Term:
        """The term on integers: scales go into the weights, and padding holds the source's zero."""
        weight = (grouped_weight(term) * self._source_scale(term)).reshape(term.weight.shape)
        if isinstance(term, Conv):
            pad = int(term.pad_value) if term.source == INPUT else self._zero(term.source)
            return replace(term, weight=weight, pad_value=pad)
        return replace(term, weight=weight)

    def _refit(self, terms: tuple[Term, ...], rows: list[FloatArray], target: FloatArray) -> tuple[Term, ...]:
        """Weights that make up for what quantization of the earlier layers has changed."""
        if self.options.refit is None or all(term.source == INPUT for term in terms):
            return terms
        error = target - sum(_apply(grouped_weight(term), x) for term, x in zip(terms, rows, strict=True))
        error = error - error.mean(axis=0)
        result = list(terms)
        for i, (term, x) in enumerate(zip(terms, rows, strict=True)):
            if term.source == INPUT or is_uniform(term):
                continue
            weight = grouped_weight(term)
            outputs = weight.shape[1]
            for g in range(len(weight)):
                centred = x[:, g] - x[:, g].mean(axis=0)
                own = error[:, g * outputs : (g + 1) * outputs]
                weight[g] = refit(
                    weight[g], centred.T @ centred, own.T @ centred, self.options.refit
                )
            result[i] = replace(term, weight=weight.reshape(term.weight.shape))
            break  # one term takes the correction; two would make up for it twice
        return tuple(result)

    # --- scales ---

    def _choose(self, terms: tuple[Term, ...], rows: list[FloatArray], tight: FloatArray) -> _Scales:
        largest = self._largest_multiplier(terms) * tight
        outputs = len(largest)
        if self.layer is self.graph.layers[-1]:
            common = _snap_down(float(largest.min()))
            return _Scales(np.full(outputs, 1 / common), np.zeros(outputs, np.int64), 0)
        high = (1 << self.options.activation_bits_of(self.layer.name)) - 1
        pooled = max_pool(self.layer.pool, self.total)
        at = sample_positions((len(pooled), *pooled.shape[2:]), 4096)
        values = pooled[at.sample, :, at.row, at.column]  # before the activation
        zero = self._output_zero(terms, values, high)
        goal = activate(self.layer, values)
        cap = self._cap(high, zero)
        # An output that is silent on the calibration data keeps some range for other data.
        quiet = np.abs(values).max(axis=0) / high / 16
        start = _snap(np.maximum(np.maximum(_full_scale(goal, high, zero), quiet), 1e-12), 6)
        steps = np.arange(-3 * GRID_STEPS, 3 * GRID_STEPS + 1)
        grid = start[:, None] * 2.0 ** (steps / GRID_STEPS)  # [O, J]
        noise = np.stack(
            [_squared_error(goal, grid[:, j], zero, high) for j in range(len(steps))], axis=1
        )
        active = (goal != 0).mean(axis=0) if self.layer.activation != "linear" else np.ones(outputs)
        loss = _Loss(terms, rows, np.maximum(active, 0.05), grid, noise, cap)
        if any(isinstance(term, Dense) for term in terms):
            return self._common_shift(loss, largest, zero)
        scale, shift = np.empty(outputs), np.empty(outputs, np.int64)
        for o in range(outputs):
            best = min(loss.candidates(o, float(largest[o])), default=None)
            if best is None:
                raise RangeError(
                    f"layer {self.layer.name}, channel {o}: its weights leave no scale that fits; raise lane_bits"
                )
            _, shift[o], scale[o] = best
        return _Scales(scale, shift, zero)

    def _common_shift(self, loss: _Loss, largest: FloatArray, zero: int) -> _Scales:
        """Dense outputs are packed into words with one shift: the one of least total error downstream."""
        importance = self._importance()
        best: tuple[float, int, FloatArray] | None = None
        for shift in range(EXACT_BITS):
            scale = np.empty(len(largest))
            total = 0.0
            for o in range(len(largest)):
                found = loss.best_scale(o, float(largest[o]), shift)
                if found is None:
                    break
                total += importance[o] * found[0]
                scale[o] = found[1]
            else:
                if best is None or total < best[0]:
                    best = total, shift, scale
        if best is None:
            raise RangeError(f"layer {self.layer.name}: no common shift fits its outputs; raise lane_bits")
        return _Scales(best[2], np.full(len(largest), best[1], np.int64), zero)

    def _importance(self) -> FloatArray:
        """How strongly later layers weigh each output `[O]`."""
        total = np.zeros(len(self.layer.bias))
        for layer in self.graph.layers:
            for term in layer.terms:
                if term.source == self.layer.name:
                    weight = np.square(grouped_weight(term)).sum(axis=1)
                    total += weight.reshape(len(total), -1).sum(axis=1)
        return np.maximum(total, 1e-12 * max(1e-12, float(total.max())))

    def _largest_multiplier(self, terms: tuple[Term, ...]) -> FloatArray:
        """Largest factor `[O]` for which the weights fit their bits and the accumulators their lane."""
        limit = (1 << (self.options.weight_bits - 1)) - 1
        lane = (1 << self.options.lane_bits_of(self.layer.name)) - 1
        outputs = len(self.layer.bias)
        peak, reach = np.full(outputs, 1e-30), np.full(outputs, 1e-30)
        for term in terms:
            weight = np.abs(term.weight.reshape(outputs, -1))
            peak = np.maximum(peak, weight.max(axis=1))
            reach += weight.sum(axis=1) * self._high(term.source)
        low, high = self._real_interval(terms)
        reach = np.maximum(reach, np.maximum(high, 0) - np.minimum(low, 0))
        return np.minimum(limit / peak, lane / reach)

    def _real_interval(self, terms: tuple[Term, ...]) -> tuple[FloatArray, FloatArray]:
        """Interval of the real accumulators `[O]` over all inputs."""
        low = high = self.layer.bias - self._zero_part(terms)
        for term in terms:
            weight = term.weight.reshape(len(low), -1)
            low = low + np.minimum(weight, 0).sum(axis=1) * self._high(term.source)
            high = high + np.maximum(weight, 0).sum(axis=1) * self._high(term.source)
        return low, high

    def _zero_part(self, terms: tuple[Term, ...]) -> FloatArray:
        total = np.zeros(len(self.layer.bias))
        for term in terms:
            total += term.weight.reshape(len(total), -1).sum(axis=1) * self._zero(term.source)
        return total

    def _output_zero(self, terms: tuple[Term, ...], values: FloatArray, high: int) -> int:
        """Integer that stands for 0: 0 unless the output can be negative."""
        if self.layer.activation == "relu" or (self._real_interval(terms)[0] >= -1e-9).all():
            return 0
        goal = activate(self.layer, values)
        if isinstance(self.layer.activation, tuple):
            low, top = self.layer.activation[1:]
            low = low if low > -math.inf else float(goal.min())
            top = top if top < math.inf else float(goal.max())
            share = -low / (top - low) if top > low else 0.5
        else:
            spread = goal.std(axis=0) + 1e-12
            low_tail = float(np.mean(np.quantile(goal, 0.001, axis=0) / spread))
            high_tail = float(np.mean(np.quantile(goal, 0.999, axis=0) / spread))
            low_tail, high_tail = min(low_tail, 0.0), max(high_tail, 0.0)
            share = -low_tail / (high_tail - low_tail) if high_tail > low_tail else 0.5
        return int(np.clip(round(share * high), 0, high))

    def _cap(self, high: int, zero: int) -> float:
        """Largest scale at which saturation does not come later than the activation's own upper bound."""
        if not isinstance(self.layer.activation, tuple):
            return math.inf
        top = self.layer.activation[2]
        return top / (high - zero) if top < math.inf and high > zero else math.inf

    # --- integers ---

    def _round(
        self, terms: tuple[Term, ...], rows: list[FloatArray], target: FloatArray, scales: _Scales
    ) -> IntegerLayer:
        limit = (1 << (self.options.weight_bits - 1)) - 1
        multiplier = scales.multiplier
        integer_terms: list[Term] = []
        mean = np.zeros(len(multiplier))
        for term, x in zip(terms, rows, strict=True):
            weight = grouped_weight(term)
            scaled = weight * multiplier.reshape(len(weight), -1, 1)
            rounded = np.empty_like(scaled)
            for g in range(len(scaled)):
                if self.options.rounding == "nearest" or is_uniform(term):
                    rounded[g] = nearest_round(scaled[g], limit)
                else:
                    centred = x[:, g] - x[:, g].mean(axis=0)
                    rounded[g] = compensated_round(scaled[g], centred.T @ centred, limit)
            mean += np.concatenate([rounded[g] @ x[:, g].mean(axis=0) for g in range(len(rounded))])
            integer_terms.append(replace(term, weight=rounded.reshape(term.weight.shape).astype(np.int64)))
        if self.options.bias_correction:
            bias = target.mean(axis=0) * multiplier - mean
        else:
            bias = self.layer.bias * multiplier - self._zero_part(tuple(integer_terms))
        last = self.layer is self.graph.layers[-1]
        half = np.where(scales.shift > 0, 2.0 ** (scales.shift - 1.0), 0.0)
        bias = np.rint(bias + scales.zero * 2.0**scales.shift + half).astype(np.int64)
        high = None if last else (1 << self.options.activation_bits_of(self.layer.name)) - 1
        return IntegerLayer(
            self.layer.name, tuple(integer_terms), bias, scales.shift, self.layer.shape, scales.scale,
            scales.zero, high, self.layer.pool,
        )  # fmt: skip

    def _too_wide(self, layer: IntegerLayer) -> NDArray[np.bool_]:
        """Which outputs' accumulators, with 0 in between, do not fit the lane or float32."""
        low = high = magnitude = layer.bias
        magnitude = np.abs(magnitude)
        for term in layer.terms:
            weight = np.asarray(term.weight, np.int64).reshape(len(low), -1)
            low = low + np.minimum(weight, 0).sum(axis=1) * self._high(term.source)
            high = high + np.maximum(weight, 0).sum(axis=1) * self._high(term.source)
            magnitude = magnitude + np.abs(weight).sum(axis=1) * self._high(term.source)
        width = np.maximum(high, 0) - np.minimum(low, 0)
        lane = 1 << self.options.lane_bits_of(layer.name)
        wide: NDArray[np.bool_] = (width >= lane) | (magnitude >= 1 << EXACT_BITS)
        return wide


class _Loss:
    """Expected squared error of a layer's outputs for a scale and a multiplier."""

    def __init__(
        self,
        terms: tuple[Term, ...],
        rows: list[FloatArray],
        active: FloatArray,
        grid: FloatArray,
        noise: FloatArray,
        cap: float,
    ) -> None:
        self._grid, self._noise, self._cap = grid, noise, cap
        self._log_grid = np.log2(grid)
        outputs = len(grid)
        # Independent rounding errors of variance 1/12 a weight; compensation roughly halves what they do.
        self._spread = np.zeros(outputs)
        self._units: list[tuple[FloatArray, FloatArray]] = []  # weight and the input's power, for uniform terms
        for term, x in zip(terms, rows, strict=True):
            variance = x.var(axis=0).sum(axis=1)  # [groups]
            if is_uniform(term):
                total = x.sum(axis=2).var(axis=0)
                self._units.append((term.weight.reshape(outputs, -1)[:, 0], total * active))
            else:
                self._spread += np.repeat(variance, outputs // len(variance)) / 24 * active

    def candidates(self, o: int, largest: float) -> list[tuple[float, int, float]]:
        """`(loss, shift, scale)` of the choices for output o with a multiplier of at most `largest`."""
        found: list[tuple[float, int, float]] = []
        for multiplier in self._unit_multipliers(o, largest):
            for shift in range(EXACT_BITS):
                scale = 2.0**shift / multiplier
                if self._grid[o, 0] <= scale <= min(self._grid[o, -1], self._cap):
                    found.append((self.loss(o, scale, multiplier), shift, scale))
        for shift in range(EXACT_BITS):
            best = self.best_scale(o, largest, shift)
            if best is not None:
                found.append((best[0], shift, best[1]))
        return found

    def best_scale(self, o: int, largest: float, shift: int) -> tuple[float, float] | None:
        """`(loss, scale)` of the best scale for a given shift, None if none fits."""
        smallest = 2.0**shift / largest
        scales = [float(s) for s in self._grid[o] if smallest <= s <= self._cap]
        if self._grid[o, 0] <= smallest <= self._cap:
            scales.append(smallest)
        if smallest <= self._cap < self._grid[o, -1]:
            scales.append(self._cap)
        if not scales:
            return None
        return min((self.loss(o, scale, 2.0**shift / scale), scale) for scale in scales)

    def loss(self, o: int, scale: float, multiplier: float) -> float:
        total = float(np.interp(math.log2(scale), self._log_grid[o], self._noise[o]))
        total *= max(1.0, scale / float(self._grid[o, -1])) ** 2
        total += float(self._spread[o]) / multiplier**2
        for unit, power in self._units:
            wanted = float(unit[o]) * multiplier
            total += float(power[o]) * ((round(wanted) - wanted) / multiplier) ** 2
        return total

    def _unit_multipliers(self, o: int, largest: float) -> list[float]:
        """Multipliers that make a shortcut's weight an integer, the finer ones."""
        result = []
        for unit, _ in self._units:
            size = abs(float(unit[o]))
            if size > 0:
                top = math.floor(largest * size * (1 + 1e-12))
                result += [n / size for n in range(max(1, top // 3), top + 1)]
        return result


def is_uniform(term: Term) -> bool:
    """Whether the term is a shortcut or an average: depthwise, with equal weights within each channel."""
    return (
        isinstance(term, Conv)
        and term.groups == len(term.weight)
        and term.weight.shape[1] == 1
        and bool((term.weight == term.weight[:, :, :1, :1]).all())
    )


def _apply(weight: FloatArray, rows: FloatArray) -> FloatArray:
    """Grouped product: weight `[g, O/g, K]`, rows `[R, g, K]` to `[R, O]`."""
    return np.concatenate([rows[:, g] @ weight[g].T for g in range(len(weight))], axis=1)


def _squared_error(goal: FloatArray, scale: FloatArray, zero: int, high: int) -> FloatArray:
    """Mean squared error `[O]` of quantizing `goal` `[M, O]`."""
    steps = np.clip(np.floor(goal / scale + 0.5) + zero, 0, high) - zero
    return np.square(steps * scale - goal).mean(axis=0)


def _full_scale(goal: FloatArray, high: int, zero: int) -> FloatArray:
    """Scale `[O]` that just covers every value of `goal`."""
    up = np.maximum(goal.max(axis=0), 0) / max(1, high - zero)
    down = np.maximum(-goal.min(axis=0), 0) / max(1, zero)
    return np.maximum(up, down if zero else 0)


def _snap(values: FloatArray, bits: int) -> FloatArray:
    """Values to so many significant bits, so that the last digits of a sum do not decide anything."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 2**bits) / 2**bits, exponent)


def _snap_down(value: float, bits: int = 12) -> float:
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.floor(mantissa * 2**bits) / 2**bits, exponent)


def _calibration_input(graph: FloatGraph, calibration: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(calibration, np.ndarray) or calibration.ndim < 1 or len(calibration) == 0:
        raise CalibrationError("there are no calibration samples; give some hundred typical inputs")
    try:
        data = as_chw(graph.input, calibration)
    except ValueError as error:
        raise CalibrationError(f"calibration data: {error}") from error
    cost = sum(
        math.prod(layer.shape[1:]) * (math.prod(layer.pool.stride) if layer.pool else 1) * term.weight.size
        for layer in graph.layers
        for term in layer.terms
    )
    return data[: max(32, WORK // max(1, cost))]


def _check_bits(name: str, bits: object, low: int, high: int) -> None:
    if not isinstance(bits, int) or isinstance(bits, bool) or not low <= bits <= high:
        raise CompileError(f"{name} is {bits!r}; choose {low}..{high}")


def _check_names(graph: FloatGraph, options: QuantizeOptions) -> None:
    names = [layer.name for layer in graph.layers]
    for option, value in (("activation_bits", options.activation_bits), ("lane_bits", options.lane_bits)):
        unknown = sorted(set(value) - set(names)) if isinstance(value, Mapping) else []
        if unknown:
            raise CompileError(f"{option} names {', '.join(unknown)}; the layers are {', '.join(names)}")


__all__ = ["Positions", "QuantizeOptions", "quantize"]
