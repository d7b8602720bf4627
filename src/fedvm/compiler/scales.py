"""Chooses the scale and the shift of every output channel of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedvm.compiler.graph import FloatArray, IntArray

OCTAVES, GRID_STEPS = 3, 8
"""Candidate scales reach this far around the full range, in so many steps an octave."""
MAX_SHIFT = 23


@dataclass(frozen=True)
class Scales:
    """Rescaling of one layer: `scale` and `shift` `[O]`, and the integer `zero` that stands for 0."""

    scale: FloatArray
    shift: IntArray
    zero: int

    @property
    def multiplier(self) -> FloatArray:
        """The factors by which real weights are multiplied, `[O]`."""
        multiplier: FloatArray = 2.0**self.shift / self.scale
        return multiplier


@dataclass(frozen=True)
class Loss:
    """Expected squared error of a layer's outputs.

    grid: candidate scales `[O, J]`, ascending; noise: measured error `[O, J]` of clipping and rounding the
    outputs with them; spread: `[O]`, error of rounding the weights with a multiplier of 1; units, powers:
    `[T, O]`, weight of each shortcut or average and the mean square of what it multiplies; cap: largest scale
    allowed.
    """

    grid: FloatArray
    noise: FloatArray
    spread: FloatArray
    units: FloatArray
    powers: FloatArray
    cap: float

    def of(self, o: int, scale: FloatArray, multiplier: FloatArray) -> FloatArray:
        """Error of output o for arrays of scales and multipliers."""
        total = np.interp(np.log2(scale), np.log2(self.grid[o]), self.noise[o])
        total = total * np.square(np.maximum(1, scale / self.grid[o, -1]))
        total = total + self.spread[o] / np.square(multiplier)
        for unit, power in zip(self.units[:, o], self.powers[:, o], strict=True):
            total = total + power * np.square((np.rint(unit * multiplier) - unit * multiplier) / multiplier)
        return np.asarray(total)

    def best(self, o: int, largest: float, shift: int) -> tuple[float, float] | None:
        """`(loss, scale)` of the best scale for a shift and multipliers up to `largest`; None if none
        fits."""
        smallest = 2.0**shift / largest
        if smallest > self.cap:
            return None
        scale = self.grid[o][(self.grid[o] >= smallest) & (self.grid[o] <= self.cap)]
        ends = [end for end in (smallest, self.cap) if self.grid[o, 0] <= end < np.inf]
        scale = np.concatenate([scale, ends])
        if not len(scale):
            return None
        loss = self.of(o, scale, 2.0**shift / scale)
        i = int(np.argmin(loss))
        return float(loss[i]), float(scale[i])

    def exact(self, o: int, largest: float) -> tuple[float, int, float] | None:
        """`(loss, shift, scale)` of the best multiplier that makes a shortcut's weight an integer."""
        multipliers: list[float] = []
        for unit in np.abs(self.units[:, o]):
            if unit > 0:
                top = int(largest * unit * (1 + 1e-12))
                multipliers += [n / unit for n in range(max(1, top // 3), top + 1)]
        if not multipliers:
            return None
        multiplier, shift = (a.ravel() for a in np.meshgrid(multipliers, np.arange(MAX_SHIFT + 1)))
        scale = 2.0**shift / multiplier
        fits = (scale >= self.grid[o, 0]) & (scale <= min(self.grid[o, -1], self.cap))
        if not fits.any():
            return None
        loss = self.of(o, scale[fits], multiplier[fits])
        i = int(np.argmin(loss))
        return float(loss[i]), int(shift[fits][i]), float(scale[fits][i])


def scale_grid(start: FloatArray) -> FloatArray:
    """Candidate scales `[O, J]` around `start` `[O]`, which is kept to six bits so that the last digits of a
    sum do not decide anything."""
    mantissa, exponent = np.frexp(start)
    snapped = np.ldexp(np.rint(mantissa * 64) / 64, exponent)
    steps = np.arange(-OCTAVES * GRID_STEPS, OCTAVES * GRID_STEPS + 1)
    grid: FloatArray = snapped[:, None] * 2.0 ** (steps / GRID_STEPS)
    return grid


def scales_per_channel(loss: Loss, largest: FloatArray, zero: int) -> Scales | None:
    """The best shift and scale for each output on its own; None if some output has none."""
    scale, shift = np.empty(len(largest)), np.empty(len(largest), np.int64)
    for o in range(len(largest)):
        choices = []
        top = int(np.clip(np.log2(largest[o] * loss.grid[o, -1]), 0, MAX_SHIFT))
        for candidate in range(max(0, top - 2 * OCTAVES - 1), top + 1):
            found = loss.best(o, float(largest[o]), candidate)
            if found is not None:
                choices.append((found[0], candidate, found[1]))
        exact = loss.exact(o, float(largest[o]))
        if exact is not None:
            choices.append(exact)
        if not choices:
            return None
        _, shift[o], scale[o] = min(choices)
    return Scales(scale, shift, zero)


def scales_common_shift(loss: Loss, largest: FloatArray, zero: int, importance: FloatArray) -> Scales | None:
    """Like `scales_per_channel` with one shift, of the least total error weighted by `importance` `[O]`."""
    best: tuple[float, int, list[float]] | None = None
    for shift in range(MAX_SHIFT + 1):
        found = [loss.best(o, float(largest[o]), shift) for o in range(len(largest))]
        fitting = [choice for choice in found if choice is not None]
        if len(fitting) < len(found):
            continue
        total = float(sum(weight * choice[0] for weight, choice in zip(importance, fitting, strict=True)))
        if best is None or total < best[0]:
            best = total, shift, [choice[1] for choice in fitting]
    if best is None:
        return None
    return Scales(np.array(best[2]), np.full(len(largest), best[1], np.int64), zero)
