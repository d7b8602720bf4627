"""ONNX Runtime on the reference file and the plain interpreter agree to the bit, whatever the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from models import CASES, export, keras_like, random_bytes, randomise
from onnxruntime import InferenceSession, SessionOptions
from torch import nn

from fedvm.compiler.errors import RangeError
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import INPUT, Conv, Dense, Input, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import accumulator_bounds, run, run_all
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.reference import build_reference


def run_reference(graph, inputs):
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(build_reference(graph).SerializeToString(), options)
    return session.run(["scores"], {"input": inputs})[0]


def assert_exact(graph, inputs):
    """Both agree, every output lies in its range, and every accumulator in its proven interval."""
    scores = run_reference(graph, inputs)
    assert scores.dtype == np.int32
    assert np.array_equal(scores, run(graph, inputs))
    tensors = run_all(graph, inputs)
    for layer in graph.layers[:-1]:
        assert tensors[layer.name].min() >= 0 and tensors[layer.name].max() <= layer.high
    low, high = accumulator_bounds(graph)[graph.layers[-1].name]
    last = tensors[graph.layers[-1].name]
    assert (last >= low[:, None, None]).all() and (last <= high[:, None, None]).all()


@pytest.mark.parametrize("name", CASES)
def test_exact_on_quantized_models(name):
    make, shape = CASES[name]
    graph = load_graph(export(randomise(make(), 5), shape))
    data = random_bytes(shape, 64)
    assert_exact(
        quantize(graph, data, QuantizeOptions(activation_bits=6, lane_bits=20)), random_bytes(shape, 20, 1)
    )


def test_exact_on_channels_last_input():
    data = random_bytes((8, 8, 3), 64)
    assert_exact(quantize(load_graph(keras_like()), data), data)


@st.composite
def networks(draw):
    """A small random convolutional network, and the shape of its input."""
    size = draw(st.integers(5, 9))
    channels = draw(st.integers(1, 3))
    shape = (channels, size, size + draw(st.integers(0, 2)))
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        kernel = draw(st.integers(1, 3))
        groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
        out = groups * draw(st.integers(1, 3))
        padding = draw(st.integers(0, kernel // 2))
        layers.append(nn.Conv2d(channels, out, kernel, draw(st.integers(1, 2)), padding, groups=groups))
        channels = out
        if draw(st.booleans()):
            layers.append(nn.BatchNorm2d(channels))
        layers.append(draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-1.0, 1.0), nn.Identity()])))
        if draw(st.booleans()):
            inner = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
            layers.append(Shortcut(inner))
        pooling = [nn.Identity(), nn.MaxPool2d(2, 1, padding=1), nn.AvgPool2d(2, 1, padding=1)]
        layers.append(draw(st.sampled_from(pooling)))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)]
    return randomise(nn.Sequential(*layers), draw(st.integers(0, 1000))), shape


class Shortcut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.inner(x))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(3, 8), st.sampled_from([15, 18, 21, 24]), st.sampled_from([4, 6, 8]))
def test_random_networks(network, activation_bits, lane_bits, weight_bits):
    module, shape = network
    graph = load_graph(export(module, shape), preprocess=(1 / 64, -2.0))
    options = QuantizeOptions(weight_bits=weight_bits, activation_bits=activation_bits, lane_bits=lane_bits)
    try:
        integer = quantize(graph, random_bytes(shape, 32), options)
    except RangeError:
        assert lane_bits < 21
        reject()
    assert_exact(integer, random_bytes(shape, 8, 1))
    for low, high in accumulator_bounds(integer).values():
        assert (np.maximum(high, 0) - np.minimum(low, 0) < 1 << lane_bits).all()
    largest = max(int(np.abs(term.weight).max()) for layer in integer.layers for term in layer.terms)
    assert largest < 1 << (weight_bits - 1)


def hand_made() -> IntegerGraph:
    """A network whose result is worked out by hand below."""
    spec = Input((1, 2, 2), "CHW", (1, 2, 2), np.ones(1), np.zeros(1))
    first = IntegerLayer(
        "conv1", (Conv(INPUT, np.array([[[[1, -2]]]]), pads=(0, 1, 0, 0), pad_value=3),), np.array([5]),
        np.array([1]), (1, 1, 1), np.ones(1), 0, 15, MaxPool((2, 2), (2, 2)),
    )  # fmt: skip
    last = IntegerLayer(
        "dense1", (Dense("conv1", np.array([[2], [-3]])),), np.array([-1, 7]), np.zeros(2, np.int64),
        (2, 1, 1), np.ones(2), 0, None,
    )  # fmt: skip
    return IntegerGraph(spec, (first, last))


def test_hand_computed_values():
    # rows [1, 4], [9, 2], padded left with 3, give [3−2+5, 1−8+5], [3−18+5, 9−4+5] = [6, −2], [−10, 10];
    # the largest is 10, and 10 >> 1 = 5
    inputs = np.array([[[[1, 4], [9, 2]]]], np.uint8)
    graph = hand_made()
    assert run(graph, inputs).tolist() == [[2 * 5 - 1, -3 * 5 + 7]]
    assert run_reference(graph, inputs).tolist() == [[9, -8]]
    bounds = accumulator_bounds(graph)
    assert [b.tolist() for b in bounds["conv1"]] == [[5 - 510], [5 + 255]]
    assert [b.tolist() for b in bounds["dense1"]] == [[-1, 7 - 45], [-1 + 30, 7]]


def test_negative_accumulators_are_floored():
    graph = hand_made()
    first = replace(graph.layers[0], bias=np.array([-3]), pool=MaxPool((1, 2), (1, 2)), shape=(1, 2, 1))
    weight = np.array([[1, 0], [0, 1]])
    last = replace(graph.layers[1], terms=(Dense("conv1", weight),), bias=np.zeros(2, np.int64))
    graph = replace(graph, layers=(first, last))
    inputs = np.array([[[[1, 0], [4, 0]]], [[[255, 0], [0, 255]]]], np.uint8)
    # rows: max(3−2−3, 1−3) = −2 → 0; max(3−8−3, 4−3) = 1 → 0; max(−510, 252) >> 1 → 15; max(0, −510) = 0
    assert run(graph, inputs).tolist() == [[0, 0], [15, 0]]
    assert run_reference(graph, inputs).tolist() == [[0, 0], [15, 0]]


def test_reference_is_reproducible_and_standard():
    graph = hand_made()
    model = build_reference(graph)
    assert model.SerializeToString() == build_reference(graph).SerializeToString()
    assert {entry.domain for entry in model.opset_import} == {""}
    kind = model.graph.input[0].type.tensor_type
    assert kind.elem_type == onnx.TensorProto.UINT8 and kind.shape.dim[0].dim_param == "N"


def test_inexact_sums_are_refused():
    graph = hand_made()
    wide = replace(graph.layers[1], bias=np.array([1 << 24, 0]))
    with pytest.raises(RangeError, match="dense1"):
        build_reference(replace(graph, layers=(graph.layers[0], wide)))


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        run(hand_made(), np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match="1, 2, 2"):
        run(hand_made(), np.zeros((1, 4), np.uint8))
