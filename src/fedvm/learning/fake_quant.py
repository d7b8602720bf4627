"""Layers that compute in training what integer hardware computes: integers carried in float32.

A network of these layers is the integer network. Activations are whole steps 0..high, weights are whole numbers,
and layer o rescales by a right shift::

    acc[o] = bias[o] + Σ weight[o, k] · input[k],    out = clip(floor(acc / 2^shift[o] + 1/2), 0, high)

What is learned are real weights, biases and the size of one output step (B. Jacob et al., "Quantization and
training", arXiv:1712.05877). Rounding passes gradients straight through (Y. Bengio et al., arXiv:1308.3432); the
step is learned with the weights (S. Esser et al., "Learned step size", arXiv:1902.08153), as its logarithm so that
it stays positive (S. Jain et al., "Trained quantization thresholds", arXiv:1903.08066), and with it the clip of the
activation, high · step (J. Choi et al., "PACT", arXiv:1805.06085). Sums stay in a lane of `lane_bits` bits
whatever the input because the weights' L1 norm is kept under a bound (I. Colbert et al., "A2Q",
arXiv:2308.13504), here for rounding to nearest.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedvm.learning.data import Normalisation

_HALVINGS = 30


@dataclass(frozen=True)
class LayerGrid:
    """The integers a layer may use: `input_high` is the largest of its inputs, `lane_bits` the width of its sums
    (1..22, so that float32 adds them exactly), `weight_bits` that of its signed weights."""

    input_high: int
    lane_bits: int
    weight_bits: int

    @property
    def weight_limit(self) -> int:
        """Largest magnitude of a weight."""
        return int(2 ** (self.weight_bits - 1) - 1)


class TruncatedInput(nn.Module):
    """Normalised pixels, float [N, C, H, W], to the top `bits` of their bytes, 0..2^bits − 1."""

    def __init__(self, bits: int, normalisation: Normalisation) -> None:
        super().__init__()
        self.bits, self.normalisation = bits, normalisation

    def forward(self, pixels: Tensor) -> Tensor:
        """Integers in float, same shape; no gradient passes."""
        bytes_ = torch.round((pixels.detach() - self.normalisation.offset) / self.normalisation.scale)
        return torch.floor(bytes_.clamp(0, 255) / 2 ** (8 - self.bits))

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"bits={self.bits}, {self.normalisation}"


class QuantizedReLU(nn.Module):
    """Round to nearest (halves up), clip to 0..high; straight-through within the clip."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.high = 2**bits - 1

    def forward(self, steps: Tensor) -> Tensor:
        """Integers in float, same shape as `steps` (real multiples of one output step)."""
        return straight_through(
            steps.clamp(0, self.high), torch.floor(steps.detach() + 0.5).clamp(0, self.high)
        )

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"bits={self.bits}"


class QuantizedLayer(nn.Module):
    """Weights and biases on their grid.

    Weight and bias are those of the ordinary layer that it stands for, in the same units, so that the same learning
    rates suit both.

    Args:
        module: the ordinary layer; its weight and bias are copied.
        input_step: real size of one step of the input, broadcast against `weight`.
        input_offset: the real input is input_step · (step + input_offset).
        log2_step: float32 [O], or [1] for scores: base-2 logarithm of the real size of one output step.
        shift: int64 [O]; zeros for scores, which stay accumulators.
        kept: bool, broadcast against `weight`; weights that are False stay zero.
        grid: the integers to use.
        scores: the outputs are accumulator · step (real), not whole steps of the next layer's input.
    """

    shift: Tensor
    kept: Tensor
    input_step_bits: Tensor

    def __init__(
        self, module: nn.Conv2d | nn.Linear, *, input_step: Tensor, input_offset: float, log2_step: Tensor,
        shift: Tensor, kept: Tensor, grid: LayerGrid, scores: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        # Constants of a federation, so they are not floating-point tensors, which would be averaged.
        self.register_buffer("input_step_bits", input_step.detach().float().contiguous().view(torch.int32))
        self.input_offset = input_offset
        bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias
        self.weight = nn.Parameter(module.weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())
        self.log2_step = nn.Parameter(log2_step.detach().clone())
        self.register_buffer("shift", shift)
        self.register_buffer("kept", kept)
        self.grid, self.scores = grid, scores

    @property
    def input_step(self) -> Tensor:
        """float32: real size of one step of the input."""
        if torch.onnx.is_in_onnx_export():  # ONNX cannot reinterpret bits, so this is a constant in a file
            return torch.from_numpy(self.input_step_bits.numpy().view("float32").copy())
        return self.input_step_bits.view(torch.float32)

    def deployed(self, shrink: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Weight [O, ...] and bias [O] to deploy: whole numbers in float64 of sums within the lane; no gradients.

        This function of weight, bias and step is simple enough for an ONNX file. It differs from `integers` by one in a
        few weights: at ties, in the last bits of floats, and in rows whose sum is too wide, which are multiplied by
        `shrink` [O] (by default what `shrink()` returns).
        """
        with torch.no_grad():
            target, unit = self._target()
            factor = self.shrink() if shrink is None else shrink
            weight = torch.floor(target * factor.view(-1, *[1] * (target.ndim - 1)) + 0.5)
            low, high = self._bias_range(weight.flatten(1))
            bias = self.bias.double() * unit
            if self.input_offset:
                bias = bias + weight.flatten(1).sum(1) * self.input_offset
            return weight, torch.minimum(torch.maximum(torch.floor(bias + 0.5), low), high)

    def shrink(self) -> Tensor:
        """The largest factor [O] in 0..1, float64, with which the rounded weights of each output fit its lane."""
        with torch.no_grad():
            target, bound = self._target()[0].flatten(1), self.l1_bound().double()

            def fits(factor: Tensor) -> Tensor:
                return torch.floor(target * factor[:, None] + 0.5).abs().sum(1) <= bound

            whole, low = torch.ones_like(bound), torch.zeros_like(bound)
            if bool(fits(whole).all()):
                return whole
            high = whole
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                low, high = (
                    torch.where(fits(middle), middle, low),
                    torch.where(fits(middle), high, middle),
                )
            return torch.where(fits(whole), whole, low)

    def _target(self) -> tuple[Tensor, Tensor]:
        """float64: weights [O, ...] in units of their grid, not yet rounded, and that unit's inverse [O]."""
        unit = torch.pow(2.0, self.shift.double() - self.log2_step.double())  # ONNX has no exp2
        limit = float(self.grid.weight_limit)
        weight = self.weight.double() * self.input_step.double()
        if not bool(self.kept.all()):
            weight = torch.where(self.kept, weight, 0.0)
        target = weight * unit.view(-1, *[1] * (weight.ndim - 1))
        return target.clamp(-limit, limit), unit

    def integers(self) -> tuple[Tensor, Tensor]:
        """Weight [O, ...] and bias [O], whole numbers in float32, of sums within the lane; differentiable."""
        rows = self.weight[0].numel()
        # The step's gradient sums over a row's weights (arXiv:1902.08153, section 2.2).
        log2_step = _scale_gradient(self.log2_step, rows**-0.5)
        factor = torch.exp2(self.shift - log2_step)
        target = torch.where(self.kept, self.weight * self.input_step, 0.0).flatten(1) * factor[:, None]
        limit, bound = self.grid.weight_limit, self.l1_bound()
        target = target.clamp(-limit, limit)
        norm = target.abs().sum(1).clamp_min(1e-12)
        target = target * (bound / norm).clamp(max=1.0)[:, None]
        weight = straight_through(target, round_within(target.detach(), bound))
        low, high = self._bias_range(weight.detach())
        wanted = self.bias * factor + weight.sum(1) * self.input_offset
        bias = straight_through(wanted, torch.round(wanted.detach()).clamp(low, high))
        return weight.view_as(self.weight), bias

    def _whole(self) -> tuple[Tensor, Tensor]:
        """The integers as float32: to train on, or those that are deployed."""
        if self.training:
            return self.integers()
        weight, bias = self.deployed()
        return weight.float(), bias.float()

    @abstractmethod
    def apply_to(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The layer's sums [N, O, ...] with other weights of the same shapes."""

    def l1_bound(self) -> Tensor:
        """Largest Σ|weight| [O] for which the sums, raised by a multiple of 2^shift to be positive, fit."""
        room = 2.0**self.grid.lane_bits - torch.exp2(self.shift.float())
        return torch.floor(room / self.grid.input_high)

    def _bias_range(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Biases [O] that keep the interval of the sums in the lane, for whole weights [O, K]."""
        up = weight.clamp_min(0).sum(1) * self.grid.input_high
        down = -weight.clamp_max(0).sum(1) * self.grid.input_high
        unit = torch.pow(2.0, self.shift.float())
        room = 2.0**self.grid.lane_bits - unit
        if self.scores:
            return down - room, room - up
        # Below −up an output is 0 whatever the input. Integer hardware adds half a step so that flooring rounds.
        half = torch.where(self.shift > 0, unit / 2, 0.0)
        return -up - half, room - up - half

    def _steps(self, accumulator: Tensor) -> Tensor:
        """Accumulators [N, O, ...] in output steps; scores in real units."""
        if self.scores:
            return accumulator * torch.exp2(_scale_gradient(self.log2_step, self.weight[0].numel() ** -0.5))
        factor = torch.exp2(-self.shift.float())
        return accumulator * factor.view(-1, *[1] * (accumulator.ndim - 2))

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"{tuple(self.weight.shape)}, {self.grid}"


class QuantizedLinear(QuantizedLayer):
    """Dense layer, [N, K] whole steps to [N, O]."""

    def forward(self, steps: Tensor) -> Tensor:
        """Sums in output steps, not yet rounded."""
        return self._steps(self.apply_to(steps, *self._whole()))

    def apply_to(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The layer's sums with weight [O, K] and bias [O]."""
        return functional.linear(values, weight, bias)


class QuantizedConv2d(QuantizedLayer):
    """Convolution, [N, C, H, W] whole steps to [N, O, H', W']; padding holds zeros."""

    def __init__(
        self, module: nn.Conv2d, *, input_step: Tensor, input_offset: float, log2_step: Tensor, shift: Tensor,
        kept: Tensor, grid: LayerGrid, scores: bool,
    ) -> None:  # fmt: skip
        super().__init__(
            module, input_step=input_step, input_offset=input_offset, log2_step=log2_step, shift=shift, kept=kept,
            grid=grid, scores=scores,
        )  # fmt: skip
        self.stride = cast(tuple[int, int], module.stride)
        self.padding = cast(tuple[int, int], module.padding)
        self.groups = module.groups

    def forward(self, steps: Tensor) -> Tensor:
        """Sums in output steps, not yet rounded."""
        return self._steps(self.apply_to(steps, *self._whole()))

    def apply_to(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The layer's sums with weight [O, I / groups, h, w] and bias [O]."""
        return functional.conv2d(values, weight, bias, self.stride, self.padding, groups=self.groups)


def straight_through(smooth: Tensor, exact: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth` (arXiv:1308.3432, section 3).

    Written so that the value is `exact` to the bit, which smooth + (exact − smooth) is not in floats.
    """
    return exact + (smooth - smooth.detach())


def round_within(target: Tensor, bound: Tensor) -> Tensor:
    """Whole numbers near `target` [O, K] with Σ|·| ≤ `bound` [O] in each row.

    The nearest whole numbers. If a row exceeds the bound, those that rounding moved farthest away from zero go one
    towards zero. Needs Σ|target| ≤ bound up to rounding errors of floats.
    """
    whole = torch.round(target)
    excess = whole.abs().sum(1) - bound
    if bool((excess <= 0).all()):
        return whole
    gained = torch.where(whole != 0, whole.abs() - target.abs(), -math.inf)
    order = gained.argsort(dim=1, descending=True, stable=True)
    first = torch.arange(whole.shape[1], device=whole.device) < excess[:, None]
    chosen = torch.zeros_like(first).scatter(1, order, first)
    return torch.where(chosen, whole - whole.sign(), whole)


def _scale_gradient(value: Tensor, factor: float) -> Tensor:
    return straight_through(value * factor, value.detach())
