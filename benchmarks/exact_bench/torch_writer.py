"""A recipe as a PyTorch module, exported to ONNX as PyTorch's users do."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from exact_bench.recipe import INPUT, Recipe, Step, groups_of, sizes
from exact_bench.weights import numbers_of

OPSET = 17


def write_torch(recipe: Recipe) -> bytes:
    """The model of a recipe whose operations PyTorch has. Impossible if the steps do not fit each other."""
    torch.set_num_threads(1)
    module = _Network(recipe).eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(1, *recipe.onnx_size),), buffer,  # type: ignore[arg-type]
            dynamo=False, opset_version=OPSET,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}} if recipe.seed % 3 else None,
        )  # fmt: skip
    return buffer.getvalue()


class _Network(nn.Module):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe, self._sizes = recipe, sizes(recipe)
        for step in recipe.steps:
            for name, value in numbers_of(recipe, step, self._sizes[step.reads[0]]).items():
                self.register_buffer(f"{name}{step.number}", torch.from_numpy(np.array(value)))

    def forward(self, x: Tensor) -> Tensor:
        recipe = self._recipe
        if recipe.data == "bytes":
            x = x / 64 - 1.75
        if recipe.layout == "flat":
            x = x.view(-1, *recipe.size)
        elif recipe.layout == "last":
            x = x.permute(0, x.dim() - 1, *range(1, x.dim() - 1))
        known = {INPUT: x}
        for step in recipe.steps:
            known[step.number] = self._step(step, [known[n] for n in step.reads])
        return known[recipe.output]

    def _of(self, step: Step, name: str) -> Tensor:
        return self.get_buffer(f"{name}{step.number}")

    def _bias(self, step: Step) -> Tensor | None:
        return self._of(step, "bias") if step.settings.get("bias") else None

    def _step(self, step: Step, given: list[Tensor]) -> Tensor:
        x, s = given[0], step.settings
        space = tuple(range(2, x.dim()))
        match step.op:
            case "conv":
                return self._conv(step, x)
            case "dense":
                return functional.linear(x, self._of(step, "weight"), self._bias(step))
            case "batchnorm":
                mean, variance = self._of(step, "mean"), self._of(step, "variance")
                return functional.batch_norm(
                    x, mean, variance, self._of(step, "gamma"), self._of(step, "beta")
                )
            case "scale":
                return x * self._of(step, "factor") + self._of(step, "shift")
            case "max_pool" | "average_pool":
                return _pool(step, x)
            case "pad":
                return functional.pad(x, _torch_pads(s["pads"]))
            case "slice":
                return x[:, s["start"] : s["end"]]
            case "clip":
                return x.clamp(s["low"], s["high"])
            case "leaky":
                return functional.leaky_relu(x, 0.1)
            case "hard_sigmoid":
                return functional.hardsigmoid(x)
            case "global_max" | "reduce_max":
                return x.amax(space, keepdim=step.op == "global_max")
            case "global_average" | "reduce_mean":
                return x.mean(space, keepdim=step.op == "global_average")
            case "add":
                return given[0] + given[1]
            case "concat":
                return torch.cat(given, 1)
            case "flatten":
                return x.flatten(1)
            case "softmax":
                return x.softmax(-1)
            case "argmax":
                return x.argmax(1, keepdim=True)
            case "negate":
                return -x
            case "round_trip":
                last = x.permute(0, *space, 1).relu()
                return last.permute(0, x.dim() - 1, *range(1, x.dim() - 1))
            case _:
                return x.relu()

    def _conv(self, step: Step, x: Tensor) -> Tensor:
        s = step.settings
        axes = len(s["kernel"])
        pads = s["pads"]
        if pads[:axes] != pads[axes:]:
            x, padding = functional.pad(x, _torch_pads(pads)), (0,) * axes
        else:
            padding = tuple(pads[:axes])
        conv = functional.conv1d if axes == 1 else functional.conv2d
        groups = groups_of(step, x.shape[1])
        return conv(x, self._of(step, "weight"), self._bias(step), tuple(s["stride"]), padding, 1, groups)  # type: ignore[operator]


def _pool(step: Step, x: Tensor) -> Tensor:
    s = step.settings
    kernel, stride, pads, axes = s["kernel"], s["stride"], s["pads"], len(s["kernel"])
    shape = (tuple(kernel), tuple(stride), tuple(pads[:axes]))
    ceil = bool(s.get("ceil"))
    if step.op == "max_pool":
        pool = functional.max_pool1d if axes == 1 else functional.max_pool2d
        return pool(x, *shape, ceil_mode=ceil)
    average = functional.avg_pool1d if axes == 1 else functional.avg_pool2d
    return average(x, *shape, ceil, s["include_pad"])  # type: ignore[operator]


def _torch_pads(pads: tuple[int, ...]) -> list[int]:
    """ONNX's order (all begins, then all ends) as PyTorch's (last axis first, begin and end)."""
    axes = len(pads) // 2
    return [pads[axis + side * axes] for axis in reversed(range(axes)) for side in (0, 1)]
