"""Constants that vary over positions: divisors of averages, mean images, normalisation along the last axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import export, graph_model, randomise
from onnx import helper
from test_quantized import exact, run
from torch import nn

from fedvm.compiler import UnsupportedOperator, compile_model
from fedvm.compiler.frontend import load_graph

node = helper.make_node
f32 = np.float32


def correct(model, x: np.ndarray, bar: float = 0.99, **options) -> None:
    """The contract is its reference, and its scores follow ONNX Runtime's on the model."""
    compiled = compile_model(model, x, min_agreement=0, **options)
    scale = np.asarray(compiled.manifest["output"]["scale"])
    scores = exact(compiled, x)
    got, wanted = scores * np.repeat(scale, scores.shape[1] // len(scale)), run(model, x)
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > bar


def images(*shape: int, count: int = 80) -> np.ndarray:
    return np.random.default_rng(1).normal(0.3, 1, (count, *shape)).astype(f32)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d((2, 3), (2, 1), (0, 1), ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(5, 1, 2, count_include_pad=False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("last", ["dense", "global"])
def test_averages_with_several_divisors(pool, last):
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if last == "global" else [nn.Flatten(), nn.LazyLinear(3)]
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), pool, *head)
    module(torch.zeros(1, 2, 9, 8))
    correct(export(randomise(module, 1), (2, 9, 8)), images(2, 9, 8))


def test_one_dimension_and_what_follows():
    module = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AvgPool1d(3, 1, 1, count_include_pad=False), nn.ReLU(),
                           nn.Flatten(), nn.Linear(4 * 9, 3))  # fmt: skip
    correct(export(randomise(module, 1), (2, 11)), images(2, 11))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_keras_same_averages(mode):
    weight = np.random.default_rng(0).normal(0, 0.3, (2 * 4 * 5, 3)).astype(f32)
    nodes = [node("AveragePool", ["x"], ["p"], kernel_shape=[3, 2], strides=[2, 2], auto_pad=mode),
             node("Flatten", ["p"], ["v"]), node("MatMul", ["v", "w"], ["y"])]  # fmt: skip
    correct(graph_model(nodes, {"w": weight}, ("N", 2, 7, 9)), images(2, 7, 9))


def test_an_average_whose_divisor_varies_before_a_convolution_is_refused():
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(4, 3, 1)
    )
    with pytest.raises(
        UnsupportedOperator, match=r"varies over positions \(an average without count_include_pad"
    ):
        load_graph(export(randomise(module, 1), (2, 24, 24)))


def normalised(shape: tuple[int, ...], constants: tuple[int, ...], *after) -> object:
    """(x − mean) / deviation with constants of a shape, then the nodes."""
    rng = np.random.default_rng(0)
    c = {"m": rng.normal(0, 1, constants).astype(f32), "s": (rng.random(constants) + 0.5).astype(f32),
         "w": rng.normal(0, 0.3, (int(np.prod(shape)), 3)).astype(f32),
         "k": rng.normal(0, 0.3, (4, 3, 3, 3)).astype(f32)}  # fmt: skip
    nodes = [node("Sub", ["x", "m"], ["c"]), node("Div", ["c", "s"], ["n"]), *after]
    used = {name for n in nodes for name in n.input}
    return graph_model(nodes, {name: value for name, value in c.items() if name in used}, ("N", *shape))


DENSE = (node("Flatten", ["n"], ["v"]), node("MatMul", ["v", "w"], ["y"]))
CONVOLUTION = (
    node("Transpose", ["n"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "k"], ["h"]), node("Relu", ["h"], ["r"]),
    node("ReduceMean", ["r"], ["y"], axes=[2, 3], keepdims=0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "constants", "after"),
    [
        ((6, 5, 3), (1, 1, 1, 3), CONVOLUTION),
        ((6, 5, 3), (3,), CONVOLUTION),
        ((6, 5, 3), (1, 1, 1, 3), DENSE),
        ((12, 4), (1, 1, 4), DENSE),
        ((3, 6, 5), (1, 3, 6, 5), DENSE),
        ((1, 6, 5), (6, 5), DENSE),
        ((3, 6, 5), (6, 1), DENSE),
    ],
)
def test_normalisation_of_the_input(shape, constants, after):
    model = normalised(shape, constants, *after)
    correct(model, images(*shape))
    x = np.random.default_rng(2).integers(0, 256, (60, *shape)).astype(np.uint8)
    correct(model, x.astype(f32), preprocess=(1.0, 0.0))


def test_a_mean_image_before_a_convolution_is_refused_with_what_to_do():
    after = (node("Conv", ["n", "k"], ["h"]), node("ReduceMean", ["h"], ["y"], axes=[2, 3], keepdims=0))
    with pytest.raises(
        UnsupportedOperator, match=r"vary over positions \(node c \(Sub\)\).*take them out of the model"
    ):
        load_graph(normalised((3, 40, 40), (1, 3, 40, 40), *after))
