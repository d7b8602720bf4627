"""Fits one integer layer to its float layer, given the integer outputs of the layers before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.calibration import activate, grouped_weight, max_pool, sample_positions, term_rows
from fedvm.compiler.errors import RangeError, UnsupportedOperator
from fedvm.compiler.graph import INPUT, Conv, Dense, FloatArray, FloatLayer, IntegerLayer, Term
from fedvm.compiler.rounding import compensated_round, nearest_round, refit
from fedvm.compiler.scales import Loss, Scales, scale_grid, scales_common_shift, scales_per_channel
from fedvm.compiler.trained_grid import trained_grid

ATTEMPTS = 40
EXACT_BITS = 24
"""Accumulators stay exact in the float32 reference."""
BIT = 4.0
"""Squared error of one bit less."""
MOST_READ = 1 << 14
"""Inputs of one output whose second moments are kept: 2 GB."""
NEGATIVE = 1e-9
"""What is negative by so little of the largest output is so by float noise alone."""
LEAST = 1e-200
"""Stands for a weight or an interval that is zero where one is divided by; far below what float32 can hold."""
SILENT = 1e-12
"""Scale of an output that is zero whatever the input."""
OUTPUT_SAMPLES = 4096
"""Outputs of a channel on which candidate scales are measured."""


@dataclass(frozen=True)
class Budget:
    """The bits that a layer may use. output_bits: None for the scores, which stay accumulators."""

    weight_bits: int
    lane_bits: int
    output_bits: int | None
    samples: int
    compensate: bool
    correct_bias: bool
    refit: float | None

    @property
    def weight_limit(self) -> int:
        """Largest magnitude of a weight."""
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def high(self) -> int | None:
        """Largest output."""
        return None if self.output_bits is None else (1 << self.output_bits) - 1


@dataclass(frozen=True)
class Source:
    """A tensor the layer reads: its integers on the calibration data `[N, C, H, W]`, the real value of one
    step in each channel, the integer that stands for zero (a fraction where dropped bits count half), and its
    largest value."""

    whole: NDArray[np.float32]
    scale: FloatArray
    zero: float
    high: int


@dataclass(frozen=True)
class _Term:
    """A term on integers with its calibration inputs: weight `[groups, O/groups, K]` real, mean `[groups, K]`
    and centred second moments `[groups, K, K]` of the inputs (of a uniform term their sum alone, `[groups, 1, 1]`, for
    an average may be over a whole image), rows `[R, groups, K]`."""

    term: Term
    weight: FloatArray
    rows: FloatArray
    mean: FloatArray
    moments: FloatArray
    uniform: bool

    @property
    def flat(self) -> FloatArray:
        """The weight as `[O, K]`."""
        return self.weight.reshape(-1, self.weight.shape[2])


def fit_layer(
    layer: FloatLayer, total: FloatArray, sources: dict[str, Source], importance: FloatArray, budget: Budget
) -> IntegerLayer:
    """The integer layer nearest to `layer`. total: the float accumulators on the calibration data, `[N, O, H, W]`.
    importance: how strongly later layers weigh each output, `[O]`. Raises RangeError if no scale fits the lane.
    """
    at = sample_positions((len(total), *total.shape[2:]), budget.samples)
    target = total[at.sample, :, at.row, at.column]  # [R, O]
    terms = []
    for term in layer.terms:
        source = sources[term.source]
        absorbed = _absorb(term, source)
        rows = term_rows(absorbed, source.whole, at)
        mean = rows.mean(axis=0)
        centred, uniform = (rows - mean).transpose(1, 0, 2), is_uniform(absorbed)
        if uniform:
            moments = np.square(centred.sum(axis=2)).sum(axis=1)[:, None, None]
        elif centred.shape[2] > MOST_READ:
            raise UnsupportedOperator(
                f"layer {layer.name}: each output is a sum of {centred.shape[2]:,} products, more than {MOST_READ:,}; "
                "use smaller inputs, or pool before it"
            )
        else:
            moments = centred.transpose(0, 2, 1) @ centred
        terms.append(_Term(absorbed, grouped_weight(absorbed), rows, mean, moments, uniform))
    trained = _trained(layer, terms, sources, budget, target)
    if trained is not None:
        return trained
    if budget.refit is not None and any(term.source != INPUT for term in layer.terms):
        terms = _follow(terms, target, budget.refit)
    pooled = max_pool(layer.pool, total)
    while True:
        try:
            return _fit_to(_Fit(layer, tuple(terms), sources, budget, target), pooled, importance)
        except _NoScale as error:
            # A bounded activation fixes scale · high, so that coarser steps need fewer of them.
            if (
                budget.output_bits is None
                or budget.output_bits == 1
                or not isinstance(layer.activation, tuple)
            ):
                raise RangeError(
                    f"layer {layer.name}: no scale fits its accumulators into {budget.lane_bits} bits; raise "
                    "lane_bits or lower the activation bits of the layers it reads"
                ) from error
            budget = replace(budget, output_bits=budget.output_bits - 1)


def _trained(
    layer: FloatLayer, terms: list[_Term], sources: dict[str, Source], budget: Budget, target: FloatArray
) -> IntegerLayer | None:
    """Exactly the integer layer that was trained, if the weights are on a grid that fits the budget."""
    exact = replace(budget, compensate=False, correct_bias=False)
    fit = _Fit(layer, tuple(terms), sources, exact, target)
    weights = [term.flat for term in terms]
    grid = trained_grid(layer, weights, fit.bias_on_steps(weights), budget.weight_limit, budget.output_bits)
    if grid is None:
        return None
    result = replace(fit, budget=replace(exact, output_bits=grid.output_bits)).rounded(grid.scales)
    return None if fit.too_wide(result).any() else result


class _NoScale(Exception):
    """No scale satisfies the budget."""


def _fit_to(fit: _Fit, pooled: FloatArray, importance: FloatArray) -> IntegerLayer:
    """The integer layer within the budget; repeated while rounding makes some accumulator too wide."""
    fit.check_alive()
    choose = _ScaleChoice(fit, pooled, importance)
    tight = np.ones(len(fit.layer.bias))
    for _ in range(ATTEMPTS):
        result = fit.rounded(choose.scales(fit.largest_multiplier() * tight))
        wide = fit.too_wide(result)
        if not wide.any():
            fit.check_alive(result)
            return result
        tight = np.where(wide, tight * 0.97, tight)
    raise RangeError(
        f"layer {fit.layer.name}: its accumulators do not fit {fit.budget.lane_bits} bits; "
        "raise lane_bits or lower the activation bits of the layers it reads"
    )


def is_uniform(term: Term) -> bool:
    """Whether the term is a shortcut or an average: depthwise, with equal weights within each channel."""
    return (
        isinstance(term, Conv)
        and term.groups == len(term.weight)
        and term.weight.shape[1] == 1
        and bool((term.weight == term.weight[:, :, :1, :1]).all())
    )


def _absorb(term: Term, source: Source) -> Term:
    """The term on integers: the source's scales go into the weights, and padding holds its zero."""
    weight = grouped_weight(term)
    repeats = weight.shape[2] * len(weight) // len(source.scale)
    scale = np.repeat(source.scale, repeats).reshape(len(weight), 1, -1)
    scaled = (weight * scale).reshape(term.weight.shape)
    if isinstance(term, Conv):
        padding = (
            int(source.zero)
            if term.source != INPUT
            # All channels of a term are padded with the same byte, the nearest to the value they need.
            else int(np.rint(np.clip(np.ravel(term.pad_value)[0], 0, 255))) >> (8 - source.high.bit_length())
        )
        return replace(term, weight=scaled, pad_value=padding)
    return replace(term, weight=scaled)


def _follow(terms: list[_Term], target: FloatArray, strength: float) -> list[_Term]:
    """Weights that compensate for the quantization errors of earlier layers. Only the first ordinary term is corrected;
    two would correct the same error twice.
    """
    error = target - sum(_apply(term.weight, term.rows) for term in terms)
    error = error - error.mean(axis=0)
    for i, term in enumerate(terms):
        if term.uniform or term.term.source == INPUT:
            continue
        weight = term.weight.copy()
        outputs = weight.shape[1]
        for g in range(len(weight)):
            cross = error[:, g * outputs : (g + 1) * outputs].T @ (term.rows[:, g] - term.mean[g])
            weight[g] = refit(weight[g], term.moments[g], cross, strength)
        return [*terms[:i], replace(term, weight=weight), *terms[i + 1 :]]
    return terms


@dataclass(frozen=True)
class _Fit:
    """A layer's real weights for integer inputs, and how they are rounded to integers."""

    layer: FloatLayer
    terms: tuple[_Term, ...]
    sources: dict[str, Source]
    budget: Budget
    target: FloatArray  # [R, O]

    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Interval of the real accumulators `[O]` over all inputs."""
        low = high = self.bias_on_steps([term.flat for term in self.terms])
        for term in self.terms:
            top = self.sources[term.term.source].high
            low = low + np.minimum(term.flat, 0).sum(axis=1) * top
            high = high + np.maximum(term.flat, 0).sum(axis=1) * top
        return low, high

    def largest_multiplier(self) -> FloatArray:
        """Largest factor `[O]` for which the weights fit their bits and the accumulators their lane."""
        lane = (1 << self.budget.lane_bits) - 1
        peak = np.full(len(self.layer.bias), LEAST)
        for term in self.terms:
            peak = np.maximum(peak, np.abs(term.flat).max(axis=1))
        low, high = self.interval()
        reach = np.maximum(np.maximum(high, 0) - np.minimum(low, 0), LEAST)
        largest: FloatArray = np.minimum(self.budget.weight_limit / peak, lane / reach)
        return largest

    def rounded(self, scales: Scales) -> IntegerLayer:
        """The integer layer for these scales; its bias makes the mean error zero on the calibration data."""
        multiplier = scales.multiplier
        weights = []
        mean = np.zeros(len(multiplier))
        for term in self.terms:
            scaled = term.weight * multiplier.reshape(len(term.weight), -1, 1)
            whole = np.empty_like(scaled)
            for g in range(len(scaled)):
                if self.budget.compensate and not term.uniform:
                    whole[g] = compensated_round(scaled[g], term.moments[g], self.budget.weight_limit)
                else:
                    whole[g] = nearest_round(scaled[g], self.budget.weight_limit)
            mean += np.concatenate([whole[g] @ term.mean[g] for g in range(len(whole))])
            weights.append(whole.reshape(len(multiplier), -1))
        if self.budget.correct_bias:
            bias = self.target.mean(axis=0) * multiplier - mean
        else:
            bias = self.layer.bias * multiplier - self._zeros(weights)
        half = np.where(scales.shift > 0, 2.0 ** (scales.shift - 1.0), 0.0)  # floor then rounds to nearest
        bias = np.rint(bias + scales.zero * 2.0**scales.shift + half)
        terms = tuple(
            replace(term.term, weight=weight.reshape(term.term.weight.shape).astype(np.int64))
            for term, weight in zip(self.terms, weights, strict=True)
        )
        return IntegerLayer(
            name=self.layer.name,
            terms=terms,
            bias=bias.astype(np.int64),
            shift=scales.shift,
            shape=self.layer.shape,
            scale=scales.scale,
            zero=scales.zero,
            high=self.budget.high,
            pool=self.layer.pool,
        )

    def too_wide(self, layer: IntegerLayer) -> NDArray[np.bool_]:
        """Which outputs' accumulators do not fit the lane or float32, `[O]`.

        In a lane a multiple of 2^shift is added to them, so that they are never negative and the shift is exact.
        """
        low = high = layer.bias
        magnitude = np.abs(layer.bias)
        for term in layer.terms:
            weight = np.asarray(term.weight, np.int64).reshape(len(low), -1)
            top = self.sources[term.source].high
            low = low + np.minimum(weight, 0).sum(axis=1) * top
            high = high + np.maximum(weight, 0).sum(axis=1) * top
            magnitude = magnitude + np.abs(weight).sum(axis=1) * top
        raised = -(np.minimum(low, 0) >> layer.shift) << layer.shift
        width = np.maximum(high, 0) + raised
        wide: NDArray[np.bool_] = (width >= 1 << self.budget.lane_bits) | (magnitude >= 1 << EXACT_BITS)
        return wide

    def check_alive(self, result: IntegerLayer | None = None) -> None:
        """Raise RangeError if the lane is so narrow that all weights of the layer round to 0: for any scale, or as they
        are in `result`."""
        peaks = [np.abs(term.flat).max(axis=1) for term in self.terms]
        peak = np.max(peaks, axis=0)
        if result is None:
            dead = bool((peak * self.largest_multiplier() < 0.5).all())
        else:
            dead = not any(np.any(term.weight) for term in result.terms)
        if peak.any() and dead:
            raise RangeError(
                f"layer {self.layer.name}: {self.budget.lane_bits} lane bits round all its weights to zero; "
                "raise lane_bits or lower the activation bits of the layers it reads"
            )

    def bias_on_steps(self, weights: list[FloatArray]) -> FloatArray:
        """Real bias `[O]` for inputs counted from their integer 0, for weights `[O, K]` a term."""
        return self.layer.bias - self._zeros(weights)

    def _zeros(self, weights: list[FloatArray]) -> FloatArray:
        """What the sources' zeros add to the accumulators, for weights `[O, K]` a term."""
        total = np.zeros(len(self.layer.bias))
        for term, weight in zip(self.terms, weights, strict=True):
            total += weight.sum(axis=1) * self.sources[term.term.source].zero
        return total


class _ScaleChoice:
    """Measures candidate scales once, then chooses for whatever multipliers fit."""

    def __init__(self, fit: _Fit, pooled: FloatArray, importance: FloatArray) -> None:
        self._fit, self._importance = fit, importance
        high = fit.budget.high
        if high is None:
            return
        at = sample_positions((len(pooled), *pooled.shape[2:]), OUTPUT_SAMPLES)
        values = pooled[at.sample, :, at.row, at.column]
        goal = activate(fit.layer, values)
        self._zero = _zero_point(fit, goal, high, importance)
        # An output that is always 0 on the calibration data keeps some range for other data.
        quiet = np.abs(values).max(axis=0) / high / 16
        cap = _cap(fit.layer, high, self._zero)
        full = np.minimum(np.maximum(_full_scale(goal, high, self._zero), quiet), cap)
        full = np.where(full > 0, full, SILENT)
        grid = scale_grid(full)
        noise = [_squared_error(goal, grid[:, j], self._zero, high) for j in range(grid.shape[1])]
        linear = fit.layer.activation == "linear"
        active = np.ones(len(full)) if linear else np.maximum((goal != 0).mean(axis=0), 0.05)
        spread, units, powers = np.zeros(len(full)), [], []
        for term in fit.terms:
            outputs = term.weight.shape[1]
            if term.uniform:
                units.append(term.flat[:, 0])
                powers.append(term.moments.sum(axis=(1, 2)) / len(term.rows) * active)
            else:
                # Independent errors of variance 1/12 per weight; compensation roughly halves their effect.
                variance = np.trace(term.moments, axis1=1, axis2=2) / len(term.rows)
                spread += np.repeat(variance, outputs) / 24 * active
        shape = (len(units), len(full))
        self._loss = Loss(
            grid, np.stack(noise, axis=1), spread, np.reshape(units, shape), np.reshape(powers, shape),
            cap,
        )  # fmt: skip

    def scales(self, largest: FloatArray) -> Scales:
        """Scales with multipliers of at most `largest` `[O]`; `_NoScale` if there are none."""
        layer = self._fit.layer
        if self._fit.budget.high is None:
            mantissa, exponent = math.frexp(float(largest.min()))
            common = math.ldexp(math.floor(mantissa * 4096) / 4096, exponent)
            return Scales(np.full(len(largest), 1 / common), np.zeros(len(largest), np.int64), 0)
        if any(isinstance(term, Dense) for term in layer.terms):
            # Dense outputs share words, which are shifted as a whole, so they share one shift.
            scales = scales_common_shift(self._loss, largest, self._zero, self._importance)
        else:
            scales = scales_per_channel(self._loss, largest, self._zero)
        if scales is None:
            raise _NoScale
        return scales


def _zero_point(fit: _Fit, goal: FloatArray, high: int, importance: FloatArray) -> int:
    """Integer that stands for 0: 0 unless the output can be negative."""
    activation = fit.layer.activation
    low_end, high_end = fit.interval()
    noise = NEGATIVE * min(1.0, max(0.0, float(high_end.max())))
    if activation == "relu" or (low_end >= -noise).all():
        return 0
    if isinstance(activation, tuple):
        low = activation[1] if activation[1] > -math.inf else float(goal.min())
        top = activation[2] if activation[2] < math.inf else float(goal.max())
    else:
        return _shared_zero(goal, high, importance)
    low, top = min(low, 0.0), max(top, 0.0)
    share = -low / (top - low) if top > low else 0.5
    return int(np.clip(round(share * high), 0, high))


def _shared_zero(goal: FloatArray, high: int, importance: FloatArray) -> int:
    """The zero point that all outputs share: the mean of the positions of 0 in the outputs' ranges, each measured in
    its output's standard deviations.

    An output that is always far from 0 compared with its deviation would move that mean to one end and leave the others
    no steps. If the mean costs more than a bit of precision compared with the zero point of least rounding error,
    weighted by `importance`, the latter is used.
    """
    low = np.minimum(np.quantile(goal, 0.001, axis=0), 0)
    top = np.maximum(np.quantile(goal, 0.999, axis=0), 0)
    zeros = np.arange(high + 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        down = np.where(low < 0, -low / zeros, 0.0)
        up = np.where(top > 0, top / (high - zeros), 0.0)
    scale = np.maximum(down, up)
    # If the zero point leaves no steps for one end of a range, no scale covers that end: all of it is lost.
    error = np.where(np.isfinite(scale), np.square(scale) / 12, np.square(np.maximum(top, -low)))
    cost = (error * importance).sum(axis=1)
    spread = goal.std(axis=0) + 1e-12
    ends = [float(np.mean(np.quantile(goal, q, axis=0) / spread)) for q in (0.001, 0.999)]
    low_end, top_end = min(ends[0], 0.0), max(ends[1], 0.0)
    share = -low_end / (top_end - low_end) if top_end > low_end else 0.5
    mean = int(np.clip(round(share * high), 0, high))
    return mean if cost[mean] <= BIT * cost.min() else int(np.argmin(cost))


def _cap(layer: FloatLayer, high: int, zero: int) -> float:
    """Largest scale at which saturation does not come later than the activation's own upper bound."""
    if not isinstance(layer.activation, tuple) or high <= zero:
        return math.inf
    return layer.activation[2] / (high - zero)


def _full_scale(goal: FloatArray, high: int, zero: int) -> FloatArray:
    """Scale `[O]` that just covers every value of `goal`."""
    up = np.maximum(goal.max(axis=0), 0) / max(1, high - zero)
    down = np.maximum(-goal.min(axis=0), 0) / max(1, zero) if zero else 0.0
    full: FloatArray = np.maximum(up, down)
    return full


def _squared_error(goal: FloatArray, scale: FloatArray, zero: int, high: int) -> FloatArray:
    """Mean squared error `[O]` of quantizing `goal` `[M, O]`."""
    steps = np.clip(np.floor(goal / scale + 0.5) + zero, 0, high) - zero
    error: FloatArray = np.square(steps * scale - goal).mean(axis=0)
    return error


def _apply(weight: FloatArray, rows: FloatArray) -> FloatArray:
    """Grouped product: weight `[g, O/g, K]`, rows `[R, g, K]` to `[R, O]`."""
    parts: list[Any] = [rows[:, g] @ weight[g].T for g in range(len(weight))]
    return np.concatenate(parts, axis=1)
