"""Convolutions and pooling over what is no map: a vector that was folded into one, embeddings beside each other."""

from __future__ import annotations

import numpy as np
import pytest
from models import export, random_bytes, randomise, run_float, run_graph
from test_program import assert_right
from torch import nn

from fedvm.compiler import UnsupportedOperator, compile_model
from fedvm.compiler.frontend import load_graph

VECTOR = (12,)


def folded(shape: tuple[int, ...], *layers: nn.Module) -> nn.Module:
    size = int(np.prod(shape))
    return nn.Sequential(nn.Linear(*VECTOR, size), nn.ReLU(), nn.Unflatten(1, shape), *layers)


NETWORKS = {
    "convolution, pooling, convolution": folded(
        (8, 4, 4), nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 2),
        nn.ReLU(), nn.Flatten(), nn.Linear(5, 3),
    ),
    "averages": folded(
        (8, 4, 4), nn.AvgPool2d(2), nn.Conv2d(8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 3),
    ),
    "groups, strides, maxima of an odd number": folded(
        (4, 15), nn.Conv1d(4, 6, 3, groups=2, stride=2, padding=1), nn.ReLU(), nn.MaxPool1d(3, 2),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(6, 3),
    ),
    "decoder": folded(
        (4, 4, 4), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Sigmoid()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_the_networks_and_exact(name: str) -> None:
    model = export(randomise(NETWORKS[name], seed=3), VECTOR)
    data = random_bytes(VECTOR, 64, seed=1)
    graph = load_graph(model)
    wanted = run_float(model, data[:8].astype(np.float32))
    found = run_graph(graph, data[:8]).reshape(wanted.shape)
    if name == "decoder":  # whose sigmoid is left out
        found = 1 / (1 + np.exp(-found))
    assert np.allclose(found, wanted, atol=2e-4 * np.abs(wanted).max())
    assert_right(compile_model(model, data), random_bytes(VECTOR, 6, seed=2))


def test_what_would_be_too_large_a_product_is_refused_with_its_size() -> None:
    model = export(folded((16, 7, 7), nn.ConvTranspose2d(16, 8, 4, 2, 1)), VECTOR)
    with pytest.raises(UnsupportedOperator, match=r"as a matrix product it would have 2,032,128 weights"):
        compile_model(model, random_bytes(VECTOR, 16))


def test_a_maximum_over_padding_is_refused_by_name() -> None:
    model = export(folded((4, 4, 4), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(16, 3)), VECTOR)
    with pytest.raises(UnsupportedOperator, match=r"MaxPool.*not in channel, height, width order"):
        compile_model(model, random_bytes(VECTOR, 16))
