"""PyTorch modules as ONNX files, by both exporters, with the weights of a trained network's size."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from coverage_bench.case import Case, Kind, built, rows_of, seed_of
from fedvm.compiler.frontend.bundle import self_contained

OPSET = 17
"""Of the older exporter."""
Make = Callable[[], nn.Module]


class Fn(nn.Module):
    """A function as a module."""

    def __init__(self, of: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.of(x)


def torch_case(
    name: str, make: Make, shape: tuple[int, ...], kind: Kind = "normal", *, older: bool = False
) -> Case:
    """A module over inputs of this shape, exported by `torch.onnx.export` with its defaults, the weights in a file
    beside, or by the older exporter."""

    def build() -> object:
        seed = seed_of(name.removesuffix(OLDER))
        torch.manual_seed(seed % 2**31)
        module = make().eval()
        rows = rows_of(kind, shape, seed)
        sample = torch.from_numpy(rows[:2].astype(np.int64 if kind == "tokens" else np.float32))
        module(sample)  # lazy layers take their sizes
        _train_size(module)
        return built(export(module, sample[:1], older=older), rows)

    return Case(name, build)  # type: ignore[arg-type]


OLDER = " (older exporter)"


def export(module: nn.Module, sample: torch.Tensor, *, older: bool = False) -> bytes:
    """The module as one file that holds its weights."""
    torch.set_num_threads(1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        if older:
            torch.onnx.export(
                module, (sample,), str(path), dynamo=False, opset_version=OPSET,
                input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}},
            )  # fmt: skip
        else:
            torch.onnx.export(module, (sample,), str(path), dynamo=True, external_data=True, verbose=False)
        return self_contained(path)


def _train_size(module: nn.Module) -> None:
    """Weights as large as in trained networks, and statistics of normalisations that are no identity."""
    for layer in module.modules():
        if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.normal_(layer.bias, 0, 0.1)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            if layer.weight is not None:
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, 0, 0.2)
