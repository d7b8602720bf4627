"""The float layers are the file's network on the calibration inputs, or the first node that differs is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from models import CASES, export, graph_model, keras_like, random_bytes, randomise
from onnx import TensorProto, helper
from torch import nn

from fedvm.compiler import FidelityError, ModelError, UnsupportedOperator, compile_model
from fedvm.compiler.fidelity import check_fidelity, real_input
from fedvm.compiler.frontend import load_lowered
from fedvm.compiler.frontend.lower import OPERATORS
from fedvm.compiler.frontend.pointwise import FUNCTIONS

node = helper.make_node


@pytest.mark.parametrize("name", CASES)
def test_networks_are_themselves(name):
    make, shape = CASES[name]
    lowered = load_lowered(export(randomise(make(), 3), shape), preprocess=(1 / 64, -2.0))
    check_fidelity(lowered, random_bytes(shape, 5))


def test_heads_are_looked_behind():
    model = keras_like()
    model.graph.node.append(node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    check_fidelity(load_lowered(model), random_bytes((8, 8, 3), 4))


def test_the_first_node_that_differs_is_named(monkeypatch):
    """A fault in one operator's lowering, in the middle of a network."""
    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="first"),
        node("LeakyRelu", ["c"], ["l"], name="leaky", alpha=0.3),
        node("Flatten", ["l"], ["f"], name="flat"),
        node("MatMul", ["f", "d"], ["y"], name="last"),
    ]
    model = graph_model(nodes, {"w": weights, "d": np.ones((72, 2), np.float32)})
    check_fidelity(load_lowered(model), random_bytes((3, 8, 8), 4))
    monkeypatch.setitem(FUNCTIONS, "LeakyRelu", FUNCTIONS["Relu"])
    with pytest.raises(FidelityError, match=r"node leaky \(LeakyRelu\).*report"):
        compile_model(model, random_bytes((3, 8, 8), 30))


def test_a_wrong_weight_is_found_in_the_layers():
    make, shape = CASES["lenet"]
    lowered = load_lowered(export(randomise(make(), 3), shape))
    layers = list(lowered.layers)
    layers[1] = dataclasses.replace(layers[1], bias=layers[1].bias + 100)
    with pytest.raises(FidelityError, match=r"Conv|Relu|MaxPool|Gemm"):
        check_fidelity(dataclasses.replace(lowered, layers=tuple(layers)), random_bytes(shape, 4))


def test_operators_that_crash_are_refused_by_name(monkeypatch):
    def broken(_node):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(OPERATORS, "Relu", broken)
    with pytest.raises(UnsupportedOperator, match=r"node r: operator Relu.*ZeroDivisionError"):
        load_lowered(graph_model([node("Relu", ["x"], ["y"], name="r")], {}))


def test_real_inputs_are_what_the_bytes_stand_for():
    x = np.random.default_rng(0).normal(size=(9, 4, 3)).astype(np.float32) * [1, 10, 100]
    spec = load_lowered(export(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (4, 3)), samples=x).graph.input
    data = np.random.default_rng(1).integers(0, 256, (2, 4, 3), dtype=np.uint8)
    assert spec.layout == "HWC"
    assert np.allclose(real_input(spec, data), data * spec.scale + spec.offset)


def test_half_precision_files():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(16, 4).half()

        def forward(self, x):
            return self.linear(x.half()).float()

    torch.manual_seed(0)
    lowered = load_lowered(export(Half(), (16,)), preprocess=(1 / 255, 0.0))
    check_fidelity(lowered, random_bytes((16,), 4))


def test_a_file_that_cannot_be_run():
    model = graph_model([node("Relu", ["x"], ["y"])], {})
    lowered = load_lowered(model)
    broken = onnx.ModelProto()
    broken.CopyFrom(lowered.proto)
    broken.graph.node[0].op_type = "Nothing"
    with pytest.raises(ModelError, match="cannot run"):
        check_fidelity(dataclasses.replace(lowered, proto=broken), random_bytes((3, 8, 8), 2))
