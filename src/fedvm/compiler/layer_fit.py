"""Fits one integer layer to its float layer, given the integer outputs of the layers before it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.calibration import activate, max_pool, sample_positions
from fedvm.compiler.errors import RangeError
from fedvm.compiler.fitted_terms import FittedTerm, Source, fit_terms, follow
from fedvm.compiler.graph import INPUT, Dense, FloatArray, FloatLayer, IntegerLayer, Pointwise
from fedvm.compiler.kept_grid import KEPT_BITS, keep, kept_bits
from fedvm.compiler.rounding import compensated_round, nearest_round
from fedvm.compiler.scales import Loss, Scales, scale_grid, scales_common_shift, scales_per_channel
from fedvm.compiler.table_fit import INDEX_BITS, LAST, fit_table
from fedvm.compiler.trained_grid import trained_grid

ATTEMPTS = 40
EXACT_BITS = 24
"""Accumulators stay exact in the float32 reference."""
BIT = 4.0
"""Squared error of one bit less."""
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


def fit_layer(
    layer: FloatLayer, total: FloatArray, sources: dict[str, Source], importance: FloatArray, budget: Budget
) -> IntegerLayer:
    """The integer layer nearest to `layer`. total: the float accumulators on the calibration data, `[N, O, H, W]`.
    importance: how strongly later layers weigh each output, `[O]`. Raises RangeError if no scale fits the lane.
    """
    at = sample_positions((len(total), *total.shape[2:]), budget.samples)
    target = total[at.sample, :, at.row, at.column]  # [R, O]
    terms = fit_terms(layer, sources, at)
    pooled = max_pool(layer.pool, total)
    kept = _kept(_Fit(layer, tuple(terms), sources, budget, target), pooled, importance)
    if kept is not None:
        return kept
    trained = _trained(layer, terms, sources, budget, target)
    if trained is not None:
        return trained
    if budget.refit is not None and any(term.source != INPUT for term in layer.terms):
        terms = follow(terms, target, budget.refit)
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


def _kept(fit: _Fit, pooled: FloatArray, importance: FloatArray) -> IntegerLayer | None:
    """The layer with the integers that the file gives for its outputs, or for what its function takes; None if it gives
    none, or its sums cannot be exact."""
    layer, function = fit.layer, fit.layer.activation
    budget = replace(
        fit.budget, weight_bits=KEPT_BITS, lane_bits=EXACT_BITS, compensate=False, correct_bias=False
    )
    if not isinstance(function, Pointwise):
        return (
            None
            if layer.grid is None
            else keep(replace(fit, budget=replace(budget, output_bits=kept_bits(layer))))
        )
    if function.grid is None:
        return None
    steps = replace(function.grid, high=function.grid.low + LAST)
    layer = replace(layer, activation=("clip", *steps.ends), grid=steps)
    index = keep(replace(fit, layer=layer, budget=replace(budget, output_bits=INDEX_BITS)))
    return None if index is None else _with_table(fit, function, pooled, importance, index)


def _trained(
    layer: FloatLayer, terms: list[FittedTerm], sources: dict[str, Source], budget: Budget, target: FloatArray
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
    if isinstance(fit.layer.activation, Pointwise):
        return _with_table(fit, fit.layer.activation, pooled, importance)
    return _narrow_enough(fit, _ScaleChoice(fit, pooled, importance).scales)[0]


def _with_table(
    fit: _Fit,
    function: Pointwise,
    pooled: FloatArray,
    importance: FloatArray,
    index: IntegerLayer | None = None,
) -> IntegerLayer:
    """The integer layer whose sums are cut into the steps of a table. index: the layer whose outputs are these steps,
    if they are given."""
    high, grid = fit.budget.high, fit.layer.grid
    assert high is not None, "the scores are linear"
    if grid is not None:
        high = (1 << kept_bits(fit.layer)) - 1
        function = replace(function, of=lambda x: activate(fit.layer, x))
    table = fit_table(function, _sampled(pooled), importance, high)
    if index is None:
        common = any(isinstance(term, Dense) for term in fit.layer.terms)
        wide = replace(fit, budget=replace(fit.budget, output_bits=INDEX_BITS))
        index, scales = _narrow_enough(wide, lambda largest: table.scales(largest, common=common))
    else:
        scales = Scales(index.scale, index.shift, index.zero)
    made = table.table(scales, grid)
    scale = np.full(len(index.bias), made.scale)
    error = table.error(scales, made) / made.scale if grid is not None else None
    return replace(index, high=high, table=made.entries, scale=scale, zero=made.zero, kept=error)


def _narrow_enough(fit: _Fit, scales_within: Callable[[FloatArray], Scales]) -> tuple[IntegerLayer, Scales]:
    """The integer layer with the scales for the largest multipliers `[O]` whose accumulators fit their lanes."""
    tight = np.ones(len(fit.layer.bias))
    for _ in range(ATTEMPTS):
        scales = scales_within(fit.largest_multiplier() * tight)
        result = fit.rounded(scales)
        wide = fit.too_wide(result)
        if not wide.any():
            fit.check_alive(result)
            return result, scales
        tight = np.where(wide, tight * 0.97, tight)
    raise RangeError(
        f"layer {fit.layer.name}: its accumulators do not fit {fit.budget.lane_bits} bits; "
        "raise lane_bits or lower the activation bits of the layers it reads"
    )


@dataclass(frozen=True)
class _Fit:
    """A layer's real weights for integer inputs, and how they are rounded to integers."""

    layer: FloatLayer
    terms: tuple[FittedTerm, ...]
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


def _sampled(pooled: FloatArray) -> FloatArray:
    """Some of the positions `[N, O, H, W]` as `[M, O]`."""
    at = sample_positions((len(pooled), *pooled.shape[2:]), OUTPUT_SAMPLES)
    values: FloatArray = pooled[at.sample, :, at.row, at.column]
    return values


class _ScaleChoice:
    """Measures candidate scales once, then chooses for whatever multipliers fit."""

    def __init__(self, fit: _Fit, pooled: FloatArray, importance: FloatArray) -> None:
        self._fit, self._importance = fit, importance
        high = fit.budget.high
        if high is None:
            return
        values = _sampled(pooled)
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
