"""Products of two tensors and what is made of them, in the file's arithmetic and in the contract's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from models import export, graph_model, randomise
from onnx import helper
from test_varying import correct
from torch import nn
from torch.nn import functional as F

from fedvm.compiler import CompileError, compile_model
from fedvm.compiler.fidelity import check_fidelity
from fedvm.compiler.frontend import load_lowered
from fedvm.compiler.graph import SQUARE

node = helper.make_node


class Of(nn.Module):
    """A function over a dense layer or a convolution."""

    def __init__(self, of: Any, layer: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.of, self.layer, self.head = of, layer, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.of(self.layer(x / 64 - 2))
        return y if self.head is None else self.head(y)


def rows(*shape: int, count: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def lowered_right(module: nn.Module, shape: tuple[int, ...], seed: int = 1) -> Any:
    """The layers, which compute what the file does: `check_fidelity` would raise."""
    model = export(randomise(module, seed), shape)
    lowered = load_lowered(model, probe=rows(*shape))
    check_fidelity(lowered, rows(*shape))
    return lowered


FORMS = {
    "halves": (lambda y: y[:, :4] * y[:, 4:], nn.Linear(6, 8), (6,)),
    "a column for all": (lambda y: y * y[:, :1], nn.Linear(6, 8), (6,)),
    "quotient": (lambda y: y[:, :4] / (y[:, 4:].abs() + 1), nn.Linear(6, 8), (6,)),
    "maximum": (lambda y: torch.maximum(y[:, :4], y[:, 4:]), nn.Linear(6, 8), (6,)),
    "minimum": (lambda y: torch.minimum(y[:, :4], y[:, 4:]), nn.Linear(6, 8), (6,)),
    "a number a channel": (lambda y: y * torch.sigmoid(y.mean((2, 3), True)), nn.Conv2d(2, 3, 3), (2, 6, 7)),
    "a number a place": (lambda y: y * torch.sigmoid(y.mean(1, True)), nn.Conv2d(2, 3, 3), (2, 6, 7)),
    "a number a row": (lambda y: y + y.mean(3, True), nn.Conv2d(2, 3, 3), (2, 6, 7)),
    "of maps": (lambda y: y[:, :2] * y[:, 2:].tanh(), nn.Conv2d(2, 4, 3), (2, 6, 6)),
    "matrices": (lambda y: y.view(-1, 2, 4) @ y.view(-1, 4, 2), nn.Linear(6, 8), (6,)),
    "softmax inside": (lambda y: y * torch.softmax(y, 1), nn.Linear(6, 8), (6,)),
    "LayerNorm": (lambda y: F.layer_norm(y, (8,)), nn.Linear(6, 8), (6,)),
    "InstanceNorm": (F.instance_norm, nn.Conv2d(2, 3, 3), (2, 6, 6)),
    "GroupNorm": (lambda y: F.group_norm(y, 2), nn.Conv2d(2, 4, 3), (2, 6, 6)),
    "L2": (lambda y: F.normalize(y, dim=1), nn.Linear(6, 8), (6,)),
    "log-sum-exp": (lambda y: torch.logsumexp(y, 1, True), nn.Linear(6, 8), (6,)),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_lowered_to_what_they_compute(name: str) -> None:
    of, layer, shape = FORMS[name]
    lowered_right(Of(of, layer), shape)


@pytest.mark.parametrize("name", ["halves", "a number a channel", "LayerNorm"])
def test_the_contract_computes_them(name: str) -> None:
    of, layer, shape = FORMS[name]
    module = Of(of, layer, nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))
    module(torch.zeros(1, *shape))
    correct(export(randomise(module, 2), shape), rows(*shape).astype(np.float32))


def test_operands_of_any_size_are_brought_to_one() -> None:
    """A gate of thousandths times activations of thousands."""
    module = Of(lambda y: (y[:, :4] * 1e-3) * (y[:, 4:] * 1e3 + 500), nn.Linear(6, 8))
    compiled = compile_model(export(randomise(module, 3), (6,)), rows(6, count=400))
    assert compiled.manifest["quality"]["correlation"] > 0.99


def test_squares_have_eight_bits_and_so_have_the_other_layers() -> None:
    module = Of(lambda y: y[:, :4] * y[:, 4:], nn.Linear(6, 8), nn.Linear(4, 3))
    lowered = lowered_right(module, (6,))
    assert sum(layer.activation is SQUARE for layer in lowered.layers) == 2
    compiled = compile_model(export(module, (6,)), rows(6))
    assert set(compiled.manifest["options"]["activation_bits"].values()) == {8}
    fewer = compile_model(
        export(module, (6,)), rows(6), activation_bits=5, min_correlation=0, min_agreement=0
    )
    bits = fewer.manifest["options"]["activation_bits"]
    names = [layer.name for layer in lowered.layers if layer.activation is SQUARE]
    assert {bits[name] for name in names} == {8}


def test_a_mask_takes_part_in_no_softmax() -> None:
    def causal(y: torch.Tensor) -> torch.Tensor:
        y = y.view(-1, 3, 3)
        return y.masked_fill(torch.ones(3, 3, dtype=torch.bool).triu(1), -1e9).softmax(-1) @ y

    lowered_right(Of(causal, nn.Linear(6, 9)), (6,))


def test_what_is_too_large_is_refused() -> None:
    module = Of(lambda y: y.view(-1, 40, 2) @ y.view(-1, 2, 40), nn.Linear(6, 80))
    lowered_right(module, (6,))
    large = Of(lambda y: y.view(-1, 200, 8) @ y.view(-1, 8, 200), nn.Linear(6, 1600))
    with pytest.raises(CompileError, match="elements"):
        load_lowered(export(large, (6,)), probe=rows(6))


def test_a_softmax_of_scores_and_constants_is_refused() -> None:
    nodes = [
        node("Where", ["c", "one", "x"], ["m"]),
        node("Softmax", ["m"], ["s"]),
        node("Mul", ["s", "x"], ["y"]),
    ]
    constants = {"c": np.array([True, False, False]), "one": np.array(1.0, np.float32)}
    with pytest.raises(CompileError, match="activations and constants"):
        load_lowered(graph_model(nodes, constants, ("N", 3)))


@pytest.mark.parametrize("form", [lambda y: y * y, lambda y: y.pow(2)], ids=["product", "power"])
def test_squares_of_channels_of_unlike_ranges(form: Any) -> None:
    """One table serves all channels, so that they are stretched; one that never varies is left out of that."""
    scale = torch.tensor([300.0, 1.0, 0.02, 0.0])

    def of(y: torch.Tensor) -> torch.Tensor:
        return form(y * scale) * torch.tensor([1 / 9e4, 1.0, 2500.0, 1.0])

    model = export(randomise(Of(of, nn.Linear(6, 4), nn.Linear(4, 3)), 3), (6,))
    quality = compile_model(model, rows(6)).manifest["quality"]
    assert quality["correlation"] > 0.995
