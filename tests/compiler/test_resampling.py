"""Dilated kernels, repeated elements, and inputs whose code takes several contracts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import export, graph_model, randomise
from onnx import TensorProto, helper
from test_varying import correct, images
from torch import nn

from fedvm.compiler import UnsupportedOperator, compile_model
from fedvm.compiler.frontend import load_graph

node = helper.make_node
f32 = np.float32


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Conv2d(2, 4, 3, dilation=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)), (2, 8, 9)),
        (nn.Sequential(nn.Conv2d(2, 4, (3, 2), dilation=(1, 3), padding=(1, 3), stride=2), nn.ReLU(),
                       nn.Conv2d(4, 4, 3, dilation=2, padding=2, groups=4), nn.Flatten(), nn.LazyLinear(3)), (2, 9, 9)),
        (nn.Sequential(nn.Conv1d(2, 4, 3, dilation=4, padding=4), nn.ReLU(), nn.Conv1d(4, 4, 2, dilation=8), nn.ReLU(),
                       nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)), (2, 30)),
    ],
)  # fmt: skip
def test_dilated_convolutions(module, shape):
    module(torch.zeros(1, *shape))
    correct(export(randomise(module, 1), shape), images(*shape))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Upsample(scale_factor=2, mode="nearest"), nn.Upsample(size=(7, 5), mode="nearest"),
        nn.Upsample(scale_factor=1.5, mode="nearest"), nn.UpsamplingNearest2d(scale_factor=3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("last", ["dense", "global"])
def test_nearest_elements(layer, last):
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if last == "global" else [nn.Flatten(), nn.LazyLinear(3)]
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), layer, nn.ReLU(), *head)
    module(torch.zeros(1, 2, 6, 6))
    correct(export(randomise(module, 1), (2, 6, 6)), images(2, 6, 6))


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_forms_of_resize(coordinates, nearest):
    weight = np.random.default_rng(0).normal(0, 1, (2 * 7 * 3, 3)).astype(f32)
    nodes = [
        node("Resize", ["x", "", "", "sizes"], ["r"], coordinate_transformation_mode=coordinates, nearest_mode=nearest),
        node("Flatten", ["r"], ["v"]), node("MatMul", ["v", "w"], ["y"]),
    ]  # fmt: skip
    model = graph_model(nodes, {"w": weight, "sizes": np.array([1, 2, 7, 3])}, ("N", 2, 5, 5))
    load_graph(model, samples=images(2, 5, 5))
    compile_model(model, images(2, 5, 5), verify=False, min_agreement=0)  # compares with ONNX Runtime


def test_tiles_and_expansions():
    weight = np.random.default_rng(0).normal(0, 1, (2 * 3 * 8, 3)).astype(f32)
    nodes = [
        node("Tile", ["x", "repeats"], ["t"]), node("Expand", ["t", "shape"], ["e"]), node("Flatten", ["e"], ["v"]),
        node("MatMul", ["v", "w"], ["y"]),
    ]  # fmt: skip
    constants = {"w": weight, "repeats": np.array([1, 1, 1, 2]), "shape": np.array([1, 2, 3, 1])}
    correct(graph_model(nodes, constants, ("N", 2, 1, 4)), images(2, 1, 4))


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("Resize", ["x", "", "scales"], ["y"], mode="linear")], r"interpolation \(linear\)"),
        (
            [node("Resize", ["x", "", "scales"], ["u"]), node("Conv", ["u", "k"], ["y"], strides=[3, 3])],
            "stride of",
        ),
    ],
)
def test_what_has_no_kernel_is_refused_with_the_reason(nodes, reason):
    constants = {
        "k": np.ones((2, 2, 3, 3), f32),
        "scales": np.array([1, 1, 2, 2], f32),
    }
    used = {name for n in nodes for name in n.input}
    opset = 9 if nodes[0].op_type == "Upsample" else 17
    model = graph_model(nodes, {k: v for k, v in constants.items() if k in used}, (1, 2, 4, 4), opset=opset,
                        dtype=TensorProto.FLOAT)  # fmt: skip
    with pytest.raises(UnsupportedOperator, match=reason):
        load_graph(model)


@pytest.mark.timeout(300)
def test_long_sequences_with_channels_last_take_several_contracts():
    class Series(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv1d(9, 4, 3), nn.Linear(4 * 54, 3)

        def forward(self, x):
            return self.head(torch.flatten(torch.max_pool1d(torch.relu(self.conv(x.transpose(1, 2))), 2), 1))

    correct(export(randomise(Series(), 1), (110, 9)), images(110, 9, count=40))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("aim", ["run", "deploy"])
def test_a_dense_layer_of_which_one_block_fills_a_contract(aim):
    module = nn.Sequential(nn.Linear(7, 900), nn.ReLU(), nn.Linear(900, 2))
    correct(export(randomise(module, 1), (7,)), images(7, count=40), optimize=aim)
