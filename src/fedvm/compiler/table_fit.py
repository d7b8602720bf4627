"""Fits a layer whose activation becomes a table: the steps of its sums, and the entries.

The sums are cut into 256 steps of one size for all outputs, since all share the table. The range that the steps cover
is the one with the least squared error of the entries on the calibration data: a function that saturates needs no steps
where it is flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedvm.compiler.errors import CalibrationError
from fedvm.compiler.graph import FloatArray, Grid, IntArray, Pointwise
from fedvm.compiler.scales import MAX_SHIFT, Scales, scale_grid

INDEX_BITS = 8
"""Bits of the sums that a table looks at, at most: its length is a word's bytes eight times."""
LAST = (1 << INDEX_BITS) - 1
TAILS = (0.0, 1e-4, 1e-3, 5e-3, 0.02, 0.05, 0.1)
"""Shares of the values that the steps may leave out at either end."""
VALUES = 1 << 15
"""Values that candidates are measured on."""
TIE = 1e-6
"""Added before rounding, so that the last digit of a function does not decide on a tie."""


@dataclass(frozen=True)
class Table:
    """entries: `[T]`; the entry q stands for scale · (q − zero)."""

    entries: IntArray
    scale: float
    zero: int


@dataclass(frozen=True)
class TableFit:
    """The steps of the sums: index q stands for steps · (q − origin), and what the outputs are on calibration data.

    values: float sums, pooled, `[M, O]`; weights: how strongly later layers weigh each output, `[O]`.
    """

    function: Pointwise
    steps: float
    origin: int
    values: FloatArray
    weights: FloatArray
    high: int

    def scales(self, largest: FloatArray, *, common: bool) -> Scales:
        """The scales of the sums with multipliers of at most `largest` `[O]`. common: one shift for all outputs."""
        steps = max(self.steps, float((1 / largest).max()))  # coarser where the sums do not fit their lanes
        shift = np.clip(np.floor(np.log2(steps * largest) + 1e-9), 0, MAX_SHIFT).astype(np.int64)
        if common:
            shift = np.full_like(shift, shift.min())
        middle = (LAST / 2 - self.origin) * self.steps
        return Scales(np.full(len(largest), steps), shift, round(LAST / 2 - middle / steps))

    def table(self, scales: Scales, grid: Grid | None = None) -> Table:
        """The entries for those scales, with the output steps of `grid`, else of least squared error."""
        steps = float(scales.scale[0])
        real = _defined(self.function.of(steps * (np.arange(LAST + 1.0) - scales.zero)))
        if grid is not None:
            zero = grid.zero - grid.low
            entries = np.clip(np.rint(real / grid.step) + zero, 0, grid.high - grid.low).astype(np.int64)
            return Table(entries, grid.step, zero)
        index = self._index(scales)
        goal = self.function.of(self.values)
        reached = real if self.function.margin else goal
        low, top = min(0.0, float(reached.min())), max(0.0, float(reached.max()))
        real = np.clip(real, low, top)
        if low == top:  # the function is 0 on all calibration data
            return Table(np.zeros(LAST + 1, np.int64), 1.0, 0)
        best: tuple[float, Table] | None = None
        whole = np.array([(top - low) / self.high])
        for scale in whole if self.function.margin else scale_grid(whole)[0]:
            zero = int(np.clip(np.floor(-low / (top - low) * self.high + 0.5), 0, self.high))
            entries = np.clip(np.floor(real / scale + 0.5 + TIE) + zero, 0, self.high).astype(np.int64)
            error = np.square((entries[index] - zero) * scale - goal).mean(axis=0)
            loss = float((error * self.weights).sum())
            if best is None or loss < best[0] * (1 - 1e-9):
                best = loss, Table(entries, float(scale), zero)
        assert best is not None
        return best[1]

    def error(self, scales: Scales, table: Table) -> float:
        """Root mean square error of the entries on the calibration data."""
        off = (table.entries[self._index(scales)] - table.zero) * table.scale - self.function.of(self.values)
        return float(np.sqrt(np.square(off).mean()))

    def _index(self, scales: Scales) -> IntArray:
        """The index of each value."""
        index: IntArray = np.clip(
            np.floor(self.values / float(scales.scale[0]) + 0.5) + scales.zero, 0, LAST
        ).astype(np.int64)
        return index


def fit_table(function: Pointwise, pooled: FloatArray, importance: FloatArray, high: int) -> TableFit:
    """The steps of least error. pooled: float sums `[M, O]` on calibration data; importance: how strongly later layers
    weigh each output, `[O]`; high: largest entry."""
    values = pooled[:: max(1, pooled.size // VALUES)]
    weights = importance / importance.sum() if importance.any() else np.ones_like(importance)
    goal = function.of(values)
    if not np.isfinite(goal).all():
        raise CalibrationError(
            f"on the calibration inputs {function.name} gives NaN or infinity; check that they are what the model "
            "expects (preprocess, input_range)"
        )
    ends = np.quantile(values, [*TAILS, *(1 - tail for tail in TAILS)])
    lows, tops = ends[: len(TAILS)], ends[len(TAILS) :]
    if function.margin:
        beyond = function.margin / 2 * (tops[0] - lows[0])
        lows, tops = lows[:1] - beyond, tops[:1] + beyond
    best: tuple[float, float, int] | None = None
    for low in lows:
        for top in tops:
            steps, origin = _steps(float(low), float(top))
            index = np.clip(np.floor(values / steps + 0.5) + origin, 0, LAST)
            real = _defined(function.of(steps * (np.arange(LAST + 1.0) - origin)))
            error = np.square(real[index.astype(np.int64)] - goal).mean(axis=0)
            loss = float((error * weights).sum())
            if best is None or loss < best[0] * (1 - 1e-9):
                best = loss, steps, origin
    assert best is not None
    return TableFit(function, best[1], best[2], values, weights, high)


def _defined(real: FloatArray) -> FloatArray:
    """The function's values at all steps; where it has none (a logarithm below 0), that of the nearest step."""
    places = np.flatnonzero(np.isfinite(real))
    if not len(places):
        return np.zeros_like(real)
    return np.asarray(np.interp(np.arange(len(real)), places, real[places]))


def _steps(low: float, top: float) -> tuple[float, int]:
    """Size of the steps that cover a range, and the index of 0 (which may lie outside), kept to few digits so that the
    last digits of a sum do not decide anything."""
    size = ((top - low) or abs(top) or 1.0) / LAST
    mantissa, exponent = np.frexp(size)
    size = float(np.ldexp(np.ceil(mantissa * 64) / 64, exponent))
    return size, round(-(low + top) / 2 / size + LAST / 2)
