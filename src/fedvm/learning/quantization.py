"""Quantization-aware training: turns an ordinary network into one that trains the integers it will be deployed with.

`quantize_aware(model, settings, images)` gives a module that `training.train` trains like any other, in a federation
too: its parameters are floating-point tensors. `plain(model)` folds it back to an ordinary float network whose
weights lie on the trained grid and whose activations are clipped to it, for `export.export_onnx`; compiled with the
same bits, it becomes exactly the integer network that was trained (`fedvm.compiler.layer_fit`). The layers are in
`fake_quant`.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fedvm.learning.data import Images, Normalisation
from fedvm.learning.device import deterministic
from fedvm.learning.errors import QuantizationError
from fedvm.learning.fake_quant import (
    LayerGrid,
    QuantizedConv2d,
    QuantizedLayer,
    QuantizedLinear,
    QuantizedReLU,
    TruncatedInput,
)

Bits = int | Mapping[str, int]

MAX_LANE_BITS = 22
"""Sums and biases together then stay under 2^24, below which float32 is exact."""
MAX_SHIFT = 20
CLIPPED = 0.002
"""Share of a channel's positive outputs on the calibration images that the first clip cuts off."""
_CLIP = {2: 1.22, 3: 1.96, 4: 2.48, 5: 2.90, 6: 3.26, 7: 3.62}
"""By bits: where a symmetric uniform quantizer clips normally distributed weights for the least mean square error, in
standard deviations (J. Max, "Quantizing for minimum distortion", IRE Trans. Information Theory 6, 1960)."""
_PASSED = (nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout)


@dataclass(frozen=True)
class QuantizationSettings:
    """The integers to train for. Mappings are by layer, named as the compiler names them: conv1, conv2, … and
    dense1, … in order; layers left out take the default. The same values are the compiler's options.

    input_bits: top bits of each input byte that the network sees, 1..8. weight_bits: 2..8 (default 8).
    activation_bits: of each layer's output, 1..8 (default 4). lane_bits: width of each layer's sums, 8..22
    (default 22). row_sparsity: share of a layer's kernel rows (Σ over a row of taps of one channel; of a dense
    layer, single weights) that are set to zero, those of least effect, 0 ≤ share < 1: a convolution's cost is
    one multiplication a kernel row that is not zero.

    Raises:
        QuantizationError: a value is out of range.
    """

    input_bits: int = 8
    weight_bits: Bits = 8
    activation_bits: Bits = 4
    lane_bits: Bits = MAX_LANE_BITS
    row_sparsity: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_bits("input_bits", self.input_bits, 1, 8)
        _check_bits("weight_bits", self.weight_bits, 2, 8)
        _check_bits("activation_bits", self.activation_bits, 1, 8)
        _check_bits("lane_bits", self.lane_bits, 8, MAX_LANE_BITS)
        for name, share in self.row_sparsity.items():
            if not 0 <= share < 1:
                raise QuantizationError(f"row_sparsity of {name} is {share!r}; give a share 0 ≤ share < 1")

    def check_layers(self, names: list[str]) -> None:
        """Raise QuantizationError if a mapping names a layer that is not among `names`."""
        for option in ("weight_bits", "activation_bits", "lane_bits", "row_sparsity"):
            value = getattr(self, option)
            unknown = sorted(set(value) - set(names)) if isinstance(value, Mapping) else []
            if unknown:
                raise QuantizationError(
                    f"{option} names {', '.join(unknown)}; the layers are {', '.join(names)}"
                )


class QuantizedNetwork(nn.Sequential):
    """What `quantize_aware` makes: normalised float32 [N, C, H, W] to logits float32 [N, classes].

    In training and evaluation it computes the integer network, exactly; only gradients are approximate.
    """

    def __init__(self, stages: OrderedDict[str, nn.Module], settings: QuantizationSettings) -> None:
        super().__init__(stages)
        self.settings = settings


def quantize_aware(
    model: nn.Module,
    settings: QuantizationSettings,
    images: Images,
    *,
    normalisation: Normalisation | None = None,
) -> QuantizedNetwork:
    """A network that starts from the weights of `model` and trains on the integers of `settings`.

    Args:
        model: `nn.Sequential` of Conv2d and Linear, each but the last followed by ReLU, with MaxPool2d, Flatten,
            Dropout and Identity between them. It is not changed.
        images: uint8 [N, C, H, W], some hundred typical inputs: the first clips and shifts are measured on them.
        normalisation: of the pixels, as the model was trained with.

    Raises:
        QuantizationError: the network has something else in it, or the settings name layers it does not have.
    """
    if not isinstance(model, nn.Sequential):
        raise QuantizationError(
            f"quantization-aware training needs an nn.Sequential, got {type(model).__name__}"
        )
    if not len(images):
        raise QuantizationError("there are no images to measure the first clips on; give some hundred")
    names = _layer_names(model)
    settings.check_layers(list(names.values()))
    how = normalisation or Normalisation()
    stages: OrderedDict[str, nn.Module] = OrderedDict(quantize_input=TruncatedInput(settings.input_bits, how))
    entry = _Entry.of_bytes(settings.input_bits, how)
    last = list(names)[-1]
    with deterministic(), torch.inference_mode(False), torch.no_grad():
        real = torch.from_numpy(np.ascontiguousarray(images)).float() * how.scale + how.offset
        steps = stages["quantize_input"](real)
        for child, module in copy.deepcopy(model).cpu().eval().named_children():
            real = module(real)
            if isinstance(module, nn.Conv2d | nn.Linear):
                layer = _quantized(module, names[child], entry, real, steps, settings, scores=child == last)
                entry = _Entry.of_layer(layer, _of(settings.activation_bits, names[child], 4))
                stages[child] = layer
            else:
                stages[child] = QuantizedReLU(entry.bits) if isinstance(module, nn.ReLU) else module
            steps = stages[child].eval()(steps)
    return QuantizedNetwork(stages, settings)


def settle(model: QuantizedNetwork) -> None:
    """Choose the shifts again, in place, for the weights and steps that the network has now.

    So a network follows from its floating-point tensors alone. Weights that outgrow their bits or lane lose resolution,
    weights that shrink gain some. Apart from rounding the network computes the same as before.
    """
    with torch.no_grad():
        for layer in (module for module in model if isinstance(module, QuantizedLayer)):
            if layer.scores:
                continue
            weight = torch.where(layer.kept, layer.weight * layer.input_step, 0.0).double()
            step = torch.exp2(layer.log2_step.double())
            common = isinstance(layer, QuantizedLinear)
            layer.shift.copy_(_steps_and_shifts(weight, step, layer.grid, common)[1])


class DeployableNetwork(nn.Module):
    """The form of a `QuantizedNetwork` for `export.export_onnx`: the ordinary network that `plain` makes, but with the
    parameters as they were trained, from which the file itself computes the weights on their grid. So anyone with the
    file can compare its parameters, which keep their names, with those that a federation agreed on.
    """

    def __init__(self, model: QuantizedNetwork) -> None:
        super().__init__()
        truncated = cast(TruncatedInput, model[0])
        self._entry = _Entry.of_bytes(truncated.bits, truncated.normalisation)
        for name, module in list(model.named_children())[1:]:
            self.add_module(name, module)
        self._shrink = {
            name: module.shrink()
            for name, module in self.named_children()
            if isinstance(module, QuantizedLayer)
        }

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised float32 [N, C, H, W] to logits float32 [N, classes]; activations in steps, not rounded."""
        values: Tensor = pixels
        entry: _Entry | None = self._entry
        for name, module in self.named_children():
            if isinstance(module, QuantizedLayer):
                weight, bias = _real(module, self._shrink[name], entry)
                values = module.apply_to(values, weight.float(), bias.float())
                entry = None
            elif isinstance(module, QuantizedReLU):
                values = values.clamp(0.0, float(module.high))
            else:
                values = module(values)
        return values


def plain(model: QuantizedNetwork) -> nn.Sequential:
    """The ordinary float network with the weights of `model` on their grid.

    It takes normalised pixels like the network it came from; its activations are in steps, clipped to 0..high but not
    rounded, and its input is not truncated: the compiler does both. (Exported, `nn.Hardtanh` is ONNX's Clip.)

    Raises:
        QuantizationError: `model` is not what `quantize_aware` makes.
    """
    if not isinstance(model, QuantizedNetwork):
        raise QuantizationError(f"plain needs what quantize_aware makes, got {type(model).__name__}")
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    truncated = cast(TruncatedInput, model[0])
    entry: _Entry | None = _Entry.of_bytes(truncated.bits, truncated.normalisation)
    with torch.no_grad():
        for name, module in list(model.named_children())[1:]:
            if isinstance(module, QuantizedLayer):
                stages[name] = _folded(module, entry)
                entry = None
            elif isinstance(module, QuantizedReLU):
                stages[name] = nn.Hardtanh(0.0, float(module.high))
            else:
                stages[name] = module
    return nn.Sequential(stages)


@dataclass(frozen=True)
class _Entry:
    """What a layer reads: real = scale[c] · (step + offset) in channel c (or in all), steps of `bits`."""

    scale: Tensor
    offset: float
    bits: int

    @classmethod
    def of_bytes(cls, bits: int, how: Normalisation) -> _Entry:
        # A byte without its low bits stands for the mean of the bytes that it can have been.
        dropped = 2 ** (8 - bits)
        offset = (dropped - 1) / 2 / dropped + how.offset / (how.scale * dropped)
        return cls(torch.tensor([how.scale * dropped]), offset, bits)

    @classmethod
    def of_layer(cls, layer: QuantizedLayer, bits: int) -> _Entry:
        return cls(torch.exp2(layer.log2_step.detach()), 0.0, bits)

    def spread(self, module: nn.Conv2d | nn.Linear) -> Tensor:
        """The scale of each input of `module`, broadcast against its weight."""
        if len(self.scale) == 1:
            return self.scale
        if isinstance(module, nn.Linear):  # flattened in (C, H, W) order
            return self.scale.repeat_interleave(module.in_features // len(self.scale))
        per_output = self.scale.view(module.groups, -1).repeat_interleave(
            module.out_channels // module.groups, dim=0
        )
        return per_output[:, :, None, None]


def _quantized(
    module: nn.Conv2d | nn.Linear, name: str, entry: _Entry, real: Tensor, steps: Tensor,
    settings: QuantizationSettings, scores: bool,
) -> QuantizedLayer:  # fmt: skip
    """The layer on integers, with its first step and shift. real: its outputs on the calibration images; steps: its
    integer inputs."""
    if isinstance(module, nn.Conv2d):
        _check_convolution(module, name, padded_bytes=entry.offset != 0)
    input_step = entry.spread(module)
    weight = module.weight * input_step
    grid = LayerGrid(
        2**entry.bits - 1, _of(settings.lane_bits, name, MAX_LANE_BITS), _of(settings.weight_bits, name, 8)
    )
    high = 2 ** _of(settings.activation_bits, name, 4) - 1
    first = torch.ones(1) if scores else _first_step(real, high)
    kept = _kept(
        weight / first.view(-1, *[1] * (weight.ndim - 1)), steps, settings.row_sparsity.get(name, 0.0)
    )
    weight = torch.where(kept, weight, 0.0)
    if scores:
        step, shift = _score_step(weight, grid)
    else:
        step, shift = _steps_and_shifts(weight, first, grid, isinstance(module, nn.Linear))
    kind = QuantizedLinear if isinstance(module, nn.Linear) else QuantizedConv2d
    return kind(
        module,  # type: ignore[arg-type]  # the kind is the module's
        input_step=input_step, input_offset=entry.offset, log2_step=torch.log2(step), shift=shift, kept=kept, grid=grid,
        scores=scores,
    )  # fmt: skip


def _first_step(real: Tensor, high: int) -> Tensor:
    """Size of an output step [O] such that few positive outputs are clipped."""
    values = real.transpose(0, 1).flatten(1).clamp_min(0)
    top = torch.from_numpy(np.quantile(values.numpy(), 1 - CLIPPED, axis=1)).float()
    quiet = values.amax(1).clamp_min(float(values.amax()) / 16).clamp_min(1e-6)
    return torch.where(top > 0, top, quiet) / high


def _steps_and_shifts(weight: Tensor, step: Tensor, grid: LayerGrid, common: bool) -> tuple[Tensor, Tensor]:
    """The largest shift [O] for which the weights fit their lane and bits, and the steps [O] enlarged to fit.

    A step may grow by half for one more bit of weights. common: the outputs share one shift (words of dense outputs
    are shifted as a whole).
    """
    rows = weight.flatten(1).abs()
    choice = torch.zeros(len(rows), dtype=torch.int64)
    grown = step
    for shift in range(MAX_SHIFT + 1):
        room = (2.0**grid.lane_bits - 2.0**shift) / grid.input_high
        if room < 1:
            break
        least = 2.0**shift * torch.maximum(rows.sum(1) / room, _widest(rows, grid) / grid.weight_limit)
        fits = least <= 1.5 * step
        if common:
            fits = torch.full_like(fits, bool(fits.float().mean() >= 0.5))
        choice = torch.where(fits, shift, choice)
        grown = torch.where(fits, torch.maximum(step, least), grown)
    return grown, choice


def _widest(rows: Tensor, grid: LayerGrid) -> Tensor:
    """The magnitude [O] that is mapped to the largest whole weight, for magnitudes [O, K]; larger ones are clipped.
    With 8 bits it is that of the largest weight; with few bits it is smaller, or most weights would round to zero.
    """
    largest = rows.amax(1)
    if grid.weight_bits not in _CLIP:
        return largest
    kept = (rows > 0).sum(1).clamp_min(1)
    return torch.minimum(largest, _CLIP[grid.weight_bits] * (rows.square().sum(1) / kept).sqrt())


def _score_step(weight: Tensor, grid: LayerGrid) -> tuple[Tensor, Tensor]:
    """The smallest common step [1] of the scores with which all weights fit, and shifts [O] of zero."""
    rows = weight.flatten(1).abs()
    room = (2.0**grid.lane_bits - 1) / grid.input_high
    widest = _widest(rows.flatten()[None], grid)[0]
    step = torch.maximum(rows.sum(1).amax() / room, widest / grid.weight_limit).clamp_min(1e-12)
    return step[None], torch.zeros(len(rows), dtype=torch.int64)


def _kept(weight: Tensor, steps: Tensor, sparsity: float) -> Tensor:
    """The mask of the weights that are kept, broadcast against `weight`: all but the given share of rows, those of
    least norm."""
    groups = weight.abs() if weight.ndim == 2 else weight.square().sum(3).sqrt()
    if weight.ndim == 2:
        groups = groups * steps.square().mean(0).sqrt()
    elif weight.shape[1] == steps.shape[1]:
        groups = groups * steps.square().mean((0, 2, 3)).sqrt()[None, :, None]
    count = int(sparsity * groups.numel())
    kept = torch.ones(groups.numel(), dtype=torch.bool)
    kept[groups.flatten().argsort(stable=True)[:count]] = False
    return kept.view(groups.shape) if weight.ndim == 2 else kept.view(*groups.shape, 1)


def _real(layer: QuantizedLayer, shrink: Tensor | None, entry: _Entry | None) -> tuple[Tensor, Tensor]:
    """Weight and bias on their grid, float64, for inputs in steps, or in pixels of `entry`."""
    weight, bias = layer.deployed(shrink)
    unit = torch.pow(2.0, layer.log2_step.double() if layer.scores else -layer.shift.double())
    weight, bias = weight * unit.view(-1, *[1] * (weight.ndim - 1)), bias * unit
    if entry is not None:
        bias = bias - weight.flatten(1).sum(1) * entry.offset
        weight = weight / entry.scale.double()
    return weight, bias


def _folded(layer: QuantizedLayer, entry: _Entry | None) -> nn.Module:
    """An ordinary layer with the weights on their grid; `entry` if it reads pixels and not steps."""
    weight, bias = (part.cpu() for part in _real(layer, None, entry))
    made: nn.Conv2d | nn.Linear
    if isinstance(layer, QuantizedConv2d):
        outputs, inputs, *kernel = weight.shape
        made = nn.Conv2d(
            inputs * layer.groups,
            outputs,
            (kernel[0], kernel[1]),
            layer.stride,
            layer.padding,
            groups=layer.groups,
        )
    else:
        made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight = nn.Parameter(weight.float())
    made.bias = nn.Parameter(bias.float())
    return made


def _layer_names(model: nn.Sequential) -> dict[str, str]:
    """The compiler's name of each layer by its name in `model`; QuantizationError if it cannot be quantized."""
    counts = {"conv": 0, "dense": 0}
    names: dict[str, str] = {}
    before = ""  # the latest layer that no ReLU has followed yet
    for child, module in model.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if before:
                raise QuantizationError(f"layer '{before}' must be followed by ReLU to be quantized")
            kind = "conv" if isinstance(module, nn.Conv2d) else "dense"
            counts[kind] += 1
            names[child] = f"{kind}{counts[kind]}"
            before = child
        elif isinstance(module, nn.ReLU):
            before = ""
        elif not isinstance(module, _PASSED):
            raise QuantizationError(
                f"layer '{child}' is a {type(module).__name__}, which cannot be quantized; use Conv2d, Linear, ReLU, "
                "MaxPool2d, Flatten, Dropout or Identity (fold BatchNorm into its convolution first)"
            )
    if not before:
        raise QuantizationError(
            "the network must end in a dense or convolutional layer that gives the scores"
        )
    return names


def _check_convolution(module: nn.Conv2d, name: str, padded_bytes: bool) -> None:
    if isinstance(module.padding, str) or module.padding_mode != "zeros" or set(module.dilation) != {1}:
        raise QuantizationError(f"{name}: give its padding in numbers, of zeros, and no dilation")
    if padded_bytes and any(module.padding):
        raise QuantizationError(
            f"{name} pads normalised pixels with 0, which is no whole step of the input; pad in a later layer, or use "
            "8 input bits and a normalisation without offset"
        )


def _of(value: Bits, name: str, default: int) -> int:
    return value.get(name, default) if isinstance(value, Mapping) else value


def _values(value: Bits) -> Iterator[int]:
    yield from value.values() if isinstance(value, Mapping) else (value,)


def _check_bits(name: str, value: Bits, low: int, high: int) -> None:
    for bits in _values(value):
        if not isinstance(bits, int) or isinstance(bits, bool) or not low <= bits <= high:
            raise QuantizationError(f"{name} is {bits!r}; choose {low}..{high}")
