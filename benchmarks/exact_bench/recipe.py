"""What a random network is made of: steps from tensor to tensor, whose shapes follow from the input.

A recipe holds no weights. They are drawn from the seed and the number of their step when the model is written
(`onnx_writer.py`, `torch_writer.py`), so that a network from which a step was taken keeps the weights of all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Size: TypeAlias = tuple[int, ...]
"""Of a tensor without its batch axis: `(F,)`, `(C, L)` or `(C, H, W)`."""
Layout: TypeAlias = Literal["flat", "first", "last"]
"""Order of the ONNX input: one vector, channels first, channels last."""

INPUT = 0
"""Number of the network's input in `Step.reads`."""
UNARY = ("relu", "clip", "leaky", "hard_sigmoid", "batchnorm", "scale", "negate", "round_trip")
"""Operations that keep the size."""
HEADS = ("softmax", "argmax")


class Impossible(ValueError):
    """The steps do not fit each other, as can happen when one is taken out."""


@dataclass(frozen=True)
class Step:
    """One operation. number: its name and the seed of its weights; reads: numbers of steps, or INPUT."""

    number: int
    op: str
    reads: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A network, how it is compiled, and the inputs it is calibrated with.

    size: of the input as the network sees it; layout: as the ONNX input has it; data: "bytes" (the ONNX input takes
    0..255), "uint8" (and is of that type), "preprocess" (bytes that are scaled before), or what real numbers it takes;
    options: of `compile_model`; writer: "onnx" or "torch".
    """

    seed: int
    size: Size
    layout: Layout
    data: str
    steps: tuple[Step, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    writer: Literal["onnx", "torch"] = "onnx"

    @property
    def onnx_size(self) -> Size:
        """Of the ONNX input without its batch axis."""
        if self.layout == "flat":
            return (math.prod(self.size),)
        return self.size if self.layout == "first" else (*self.size[1:], self.size[0])

    @property
    def output(self) -> int:
        """Number of the step that gives the scores, or what follows them."""
        return self.steps[-1].number

    def weights(self, number: int) -> np.random.Generator:
        """The source of one step's weights."""
        return np.random.default_rng((self.seed, number))


def sizes(recipe: Recipe) -> dict[int, Size]:
    """Size of every tensor; Impossible if some step cannot read what it reads."""
    known: dict[int, Size] = {INPUT: recipe.size}
    for step in recipe.steps:
        known[step.number] = size_of(step, [known[n] for n in step.reads])
    return known


def size_of(step: Step, given: list[Size]) -> Size:
    """Size of what the step makes of tensors of these sizes; Impossible if it cannot read them."""
    first, s = given[0], step.settings
    if step.op in UNARY or step.op in HEADS:
        return first
    if step.op == "dense":
        _demand(len(first) == 1)
        return (s["outputs"],)
    if step.op == "flatten":
        return (math.prod(first),)
    if step.op == "add":
        _demand(len(set(given)) == 1)
        return first
    if step.op == "concat":
        _demand(len({one[1:] for one in given}) == 1)
        return (sum(one[0] for one in given), *first[1:])
    if step.op == "slice":
        _demand(s["end"] <= first[0])
        return (s["end"] - s["start"], *first[1:])
    _demand(len(first) > 1)
    if step.op in ("global_max", "global_average"):
        return (first[0], *[1] * (len(first) - 1))
    if step.op in ("reduce_mean", "reduce_max"):
        return (first[0],)
    if step.op == "pad":
        _demand(len(s["pads"]) == 2 * (len(first) - 1))
        half = len(first) - 1
        return (
            first[0],
            *(n + a + b for n, a, b in zip(first[1:], s["pads"][:half], s["pads"][half:], strict=True)),
        )
    return (_channels(step, first[0]), *_windows(step, first[1:]))


def groups_of(step: Step, channels: int) -> int:
    """Groups of a convolution over so many channels ("depthwise": as many)."""
    groups = step.settings.get("groups", 1)
    return channels if groups == "depthwise" else int(groups)


def reached(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps that the last one depends on."""
    wanted, kept = {steps[-1].number}, []
    for step in reversed(steps):
        if step.number in wanted:
            kept.append(step)
            wanted |= set(step.reads)
    return tuple(kept[::-1])


def macs(recipe: Recipe) -> int:
    """Multiply-accumulates, about: what a network costs to compile and to run."""
    known, total = sizes(recipe), 0
    for step in recipe.steps:
        size, source = known[step.number], known[step.reads[0]]
        if step.op == "conv":
            total += (
                math.prod(size) * source[0] // groups_of(step, source[0]) * math.prod(step.settings["kernel"])
            )
        elif step.op == "dense":
            total += size[0] * source[0]
        else:
            total += math.prod(size)
    return total


def _channels(step: Step, channels: int) -> int:
    if step.op != "conv":
        return channels
    groups = groups_of(step, channels)
    if step.settings.get("groups") == "depthwise":
        return channels * int(step.settings["multiple"])
    _demand(channels % groups == 0)
    return int(step.settings["outputs"])


def _windows(step: Step, source: Size) -> Size:
    kernel, stride, pads = (step.settings[name] for name in ("kernel", "stride", "pads"))
    axes = len(source)
    _demand(len(kernel) == axes)
    result = []
    for n, k, s, a, b in zip(source, kernel, stride, pads[:axes], pads[axes:], strict=True):
        length = n + a + b - k
        _demand(length >= 0)
        count = length // s + 1
        if step.settings.get("ceil") and length % s:
            _demand(count * s < n + a)  # readers of ONNX differ on a window that starts in the padding
            count += 1
        result.append(count)
    return tuple(result)


def _demand(fits: bool) -> None:
    if not fits:
        raise Impossible


def samples(recipe: Recipe, count: int, part: int) -> NDArray[Any]:
    """Inputs `[count, *onnx_size]` as a user has them: uint8, or float32 for a network of real numbers.

    part: another number, other samples of the same kind. Brightness, contrast and a pattern of low frequency differ
    from sample to sample, so that averages over whole images differ too.
    """
    rng = np.random.default_rng((recipe.seed, 1_000_003, part))
    size = recipe.size
    wide = (count, *[1] * len(size))
    x = rng.normal(0, 1, wide) + rng.uniform(0.2, 1.2, wide) * rng.normal(0, 1, (count, *size))
    x += rng.normal(0, 1, (count, size[0], *[1] * (len(size) - 1)))
    if len(size) > 1:
        place = np.linspace(0, 1, size[-1])
        x += rng.normal(0, 1.5, wide) * np.sin(
            2 * np.pi * (rng.uniform(0.3, 3, wide) * place + rng.random(wide))
        )
    x = _in_layout(recipe, x)
    if recipe.data in ("bytes", "uint8", "preprocess"):
        return np.clip(np.rint(110 + 45 * x), 0, 255).astype(np.uint8)
    if recipe.data == "normal":
        return x.astype(np.float32)
    if recipe.data == "unit":
        return np.clip(0.45 + 0.2 * x, 0, 1).astype(np.float32)
    if recipe.data == "offset":
        return (7.5 + 0.7 * x).astype(np.float32)
    # Features of different sizes, as a table has them.
    scale = np.exp(np.random.default_rng((recipe.seed, 7)).normal(0, 1, (1, *recipe.onnx_size)))
    return (x * scale).astype(np.float32)


def _in_layout(recipe: Recipe, x: NDArray[np.float64]) -> NDArray[np.float64]:
    if recipe.layout == "last":
        x = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x.reshape(len(x), *recipe.onnx_size))
