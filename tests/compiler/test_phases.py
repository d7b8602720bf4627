"""Transposed convolutions, and convolutions over enlarged maps: phases at the old size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import export, graph_model, randomise
from onnx import helper
from test_gates import lowered_right, rows
from test_varying import correct
from torch import nn

from fedvm.compiler.fidelity import check_fidelity
from fedvm.compiler.frontend import load_lowered

node = helper.make_node
S = nn.Sequential

TRANSPOSED = [
    (3, 1, 0, 0, 1, 1), (2, 2, 0, 0, 1, 1), (3, 2, 1, 1, 1, 1), (4, 2, 1, 0, 1, 1), (3, 3, 0, 0, 1, 1),
    (5, 2, 2, 1, 1, 1),
    (3, 2, 1, 1, 2, 1), (2, 3, 0, 1, 1, 1), (3, 2, 0, 0, 1, 2),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "padding", "extra", "groups", "dilation"), TRANSPOSED)
def test_transposed_convolutions(kernel, stride, padding, extra, groups, dilation):
    layer = nn.ConvTranspose2d(4, 2, kernel, stride, padding, extra, groups, dilation=dilation)
    torch.manual_seed(0)
    lowered_right(S(nn.Conv2d(2, 4, 2), nn.ReLU(), layer), (2, 6, 5))


@pytest.mark.parametrize("pads", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (4, 3)])
def test_padding_by_name(pads, kernel, stride):
    weight = np.random.default_rng(0).normal(size=(2, 3, kernel, kernel)).astype(np.float32)
    nodes = [node("ConvTranspose", ["x", "w"], ["y"], strides=[stride, stride], auto_pad=pads)]
    lowered = load_lowered(graph_model(nodes, {"w": weight}, ("N", 2, 5, 4)))
    check_fidelity(lowered, rows(2, 5, 4))


ENLARGED = {
    "nearest": nn.Upsample(scale_factor=2),
    "by three": nn.Upsample(scale_factor=3),
    "one axis": nn.Upsample(scale_factor=(1.0, 2.0)),
    "pixel shuffle": nn.PixelShuffle(2),
    "transposed": nn.ConvTranspose2d(4, 4, 2, 2),
}


@pytest.mark.parametrize("after", [(3, 1, 1), ((2, 5), 1, 0), (3, 6, 0)])
@pytest.mark.parametrize("name", ENLARGED)
def test_convolutions_over_enlarged_maps(name, after):
    module = S(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), ENLARGED[name], nn.LazyConv2d(3, *after))
    module(torch.zeros(1, 2, 4, 4))
    lowered_right(module, (2, 4, 4))


class Up(nn.Module):
    """A map beside the enlarged one, then two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(4, 3, 2, 2), nn.Conv2d(6, 3, 3, padding=1)
        self.last = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down(x / 128 - 1).relu()
        second = self.middle(torch.max_pool2d(first, 2)).relu()
        return self.last(self.out(torch.cat([first, self.up(second)], 1)).relu()).mean((2, 3))


def test_a_skip_beside_an_enlarged_map():
    lowered_right(Up(), (2, 6, 6))


@pytest.mark.timeout(300)
def test_the_contract_computes_them():
    module = S(nn.Conv2d(1, 2, 3, 2), nn.ReLU(), nn.ConvTranspose2d(2, 2, 3, 2, 1, 1), nn.ReLU(), nn.Conv2d(2, 2, 3),
               nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))  # fmt: skip
    module(torch.zeros(1, 1, 7, 7))
    correct(export(randomise(module, 1), (1, 7, 7)), rows(1, 7, 7, count=60).astype(np.float32))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_and_places(mode):
    nodes = [node("DepthToSpace", ["x"], ["d"], blocksize=2, mode=mode),
             node("SpaceToDepth", ["d"], ["s"], blocksize=2),
             node("Relu", ["s"], ["y"])]  # fmt: skip
    check_fidelity(load_lowered(graph_model(nodes, {}, ("N", 8, 3, 2))), rows(8, 3, 2))
