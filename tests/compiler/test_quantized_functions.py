"""Quantized models with functions by table, an output that is chosen, or weights beside them: all of it together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from models import export, graph_model, randomise
from onnx import helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from test_quantized import Reader, exact, f32, inputs, node, run
from torch import nn

from fedvm.compiler import compile_model
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.frontend.runner import run_rows
from fedvm.compiler.graph import Pointwise


class Curved(nn.Module):
    """A function after a convolution, one in a chain of its own, and one that falls before a maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3), nn.Linear(6 * 9, 5)

    def forward(self, x):
        x = nn.functional.silu(self.a(x))
        x = nn.functional.leaky_relu(torch.max_pool2d(torch.tanh(self.b(x)), 2), 0.1)
        return self.head(torch.flatten(x, 1))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_onnx_runtimes_quantizer(tmp_path, form):
    source, path, x = tmp_path / "float.onnx", tmp_path / "quantized.onnx", inputs()
    source.write_bytes(export(randomise(Curved(), 5), (3, 8, 8)))
    quantize_static(source, path, Reader(inputs(64, 1)), quant_format=QuantFormat[form],
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)  # fmt: skip
    compiled = compile_model(path, x)
    assert compiled.manifest["kept"]
    scores, wanted = exact(compiled, x), run(path, x)
    # ONNX Runtime's own integer kernels saturate on some processors
    assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > (0.995 if form == "QDQ" else 0.99)


def sums(function: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Integers, `function` of h with the result r, integers again, a dense layer; scales are powers of two."""
    rng = np.random.default_rng(0)
    c = {
        "w1": (2 * rng.integers(-20, 21, (4, 2, 3, 3))).astype(f32) / 64,
        "w2": rng.integers(-9, 10, (3, 64)).astype(f32),
        "b1": (2 * rng.integers(-50, 50, 4) + 1).astype(f32) / 2048, "sx": f32(2**-5), "zx": np.uint8(110),
        "sh": f32(2**-3), "zh": np.uint8(120), "st": f32(2**-6), "zt": np.uint8(80),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["q"]), node("DequantizeLinear", ["q", "sx", "zx"], ["d"]),
        node("Conv", ["d", "w1", "b1"], ["g"]),
        node("QuantizeLinear", ["g", "sh", "zh"], ["q1"]), node("DequantizeLinear", ["q1", "sh", "zh"], ["h"]),
        *function,
        node("QuantizeLinear", ["r", "st", "zt"], ["q2"]), node("DequantizeLinear", ["q2", "st", "zt"], ["d2"]),
        node("Flatten", ["d2"], ["v"]), node("Gemm", ["v", "w2"], ["y"], transB=1),
    ]  # fmt: skip
    return graph_model(nodes, c, ("N", 2, 6, 6), opset=21)


FUNCTIONS = {
    "tanh": [node("Tanh", ["h"], ["r"])],
    "silu": [node("Sigmoid", ["h"], ["g1"]), node("Mul", ["h", "g1"], ["r"])],
    "leaky": [node("LeakyRelu", ["h"], ["r"], alpha=0.3)],
    "two": [node("Tanh", ["h"], ["t"]), node("QuantizeLinear", ["t", "st", "zt"], ["t1"]),
            node("DequantizeLinear", ["t1", "st", "zt"], ["t2"]), node("Softplus", ["t2"], ["r"])],
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_between_integers_is_exact(function):
    """The table has an entry for every integer that the file gives its argument."""
    x = np.random.default_rng(1).normal(0, 1.2, (80, 2, 6, 6)).astype(f32)
    model = sums(FUNCTIONS[function])
    compiled = compile_model(model, x, activation_bits=4, min_agreement=0)
    assert compiled.manifest["kept"] and set(compiled.manifest["kept"].values()) == {0.0}
    wanted = run(model, x)
    assert np.allclose(
        exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"]), wanted, atol=1e-4
    )
    assert len(np.unique(wanted)) > 30


def test_a_function_of_integers_takes_no_layer_of_its_own():
    x = np.random.default_rng(1).normal(0, 1.2, (20, 2, 6, 6)).astype(f32)
    layers = load_graph(sums(FUNCTIONS["silu"]), samples=x).layers
    assert [layer.name for layer in layers] == ["conv1", "dense1"]
    assert isinstance(layers[0].activation, Pointwise) and layers[0].grid is not None


@pytest.mark.parametrize("end", ["softmax", "sigmoid", "argmax"])
def test_ends_of_quantized_models(end):
    rng = np.random.default_rng(0)
    outputs = 1 if end == "sigmoid" else 4
    c = {"w": rng.normal(0, 1, (outputs, 6)).astype(f32), "s": f32(1 / 32), "z": np.uint8(120),
         "p": f32(1 / 256), "o": np.uint8(0)}  # fmt: skip
    last = {
        "softmax": [node("Softmax", ["l"], ["e"], axis=1)],
        "sigmoid": [node("Sigmoid", ["l"], ["e"])],
        "argmax": [node("Softmax", ["l"], ["e"], axis=1)],
    }[end]
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Gemm", ["d", "w"], ["g"], transB=1), node("QuantizeLinear", ["g", "s", "z"], ["q1"]),
        node("DequantizeLinear", ["q1", "s", "z"], ["l"]), *last,
        node("QuantizeLinear", ["e", "p", "o"], ["q2"]), node("DequantizeLinear", ["q2", "p", "o"], ["f"]),
        *([node("ArgMax", ["f"], ["i"], axis=1), node("Cast", ["i"], ["y"], to=1)] if end == "argmax"
          else [node("Identity", ["f"], ["y"])]),
    ]  # fmt: skip
    x = rng.normal(0, 1, (80, 6)).astype(f32)
    model = graph_model(nodes, c, ("N", 6))
    compiled = compile_model(model, x, min_agreement=0)
    assert compiled.manifest["output"]["head"] == end
    wanted = run(model, x)
    scores = exact(compiled, x)
    if end == "argmax":
        assert (scores.argmax(1) == wanted[:, 0]).mean() > 0.95
    elif end == "sigmoid":
        assert ((scores[:, 1] > scores[:, 0]) == (wanted[:, 0] > 0.5)).mean() > 0.95
    else:
        assert (wanted[np.arange(80), scores.argmax(1)] == wanted.max(1)).mean() > 0.95


def test_operators_of_onnx_runtime_with_functions():
    rng = np.random.default_rng(0)
    c = {"w": rng.integers(-90, 90, (4, 6)).astype(np.int8), "sw": f32(1 / 64), "zw": np.int8(0), "s": f32(1 / 16),
         "z": np.uint8(120), "p": f32(1 / 256), "o": np.uint8(0), "l": f32(1 / 16), "m": np.uint8(40),
         "b": np.zeros(4, np.int32)}  # fmt: skip
    own = {"domain": "com.microsoft"}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("QGemm", ["q", "s", "z", "w", "sw", "zw", "b", "s", "z"], ["g"], transB=1, **own),
        node("QLinearLeakyRelu", ["g", "s", "z", "l", "m"], ["k"], alpha=0.25, **own),
        node("QLinearSigmoid", ["k", "l", "m", "p", "o"], ["t"], **own),
        node("QLinearSoftmax", ["t", "p", "o", "p", "o"], ["e"], axis=1, opset=13, **own),
        node("DequantizeLinear", ["e", "p", "o"], ["y"]),
    ]  # fmt: skip
    model = graph_model(nodes, c, ("N", 6))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    x = rng.normal(0, 2, (80, 6)).astype(f32)
    compiled = compile_model(model, x, min_agreement=0)
    assert compiled.manifest["output"]["head"] == "softmax"
    wanted, scores = run(model, x), exact(compiled, x)
    assert (wanted[np.arange(80), scores.argmax(1)] == wanted.max(1)).mean() > 0.95


@pytest.mark.parametrize("after", ["Quant", "BipolarQuant"])
def test_quant_nodes_after_a_function(after):
    rng = np.random.default_rng(4)
    c = {"w1": rng.normal(0, 0.7, (5, 6)).astype(f32), "w2": rng.normal(0, 0.4, (3, 5)).astype(f32), "s": f32(2**-3),
         "zero": f32(0), "bits": f32(4)}  # fmt: skip
    given = ["t", "s", "zero", "bits"] if after == "Quant" else ["t", "s"]
    nodes = [
        node("Gemm", ["x", "w1"], ["h"], transB=1), node("Tanh", ["h"], ["t"]),
        node(after, given, ["a"], domain="onnx.brevitas", **({"signed": 1, "narrow": 1} if after == "Quant" else {})),
        node("Gemm", ["a", "w2"], ["y"], transB=1),
    ]  # fmt: skip
    model, x = graph_model(nodes, c, ("N", 6)), rng.normal(0, 1, (120, 6)).astype(f32)
    compiled = compile_model(model, x, min_agreement=0)
    wanted = np.stack([row[0].ravel() for row in run_rows(model, ["y"], "x", x[:, None])])
    scores = exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"])
    assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > 0.98


def test_an_output_of_a_fixed_batch_whose_weights_lie_beside(tmp_path: Path):
    rng = np.random.default_rng(2)
    c = {"w": rng.normal(0, 0.4, (4, 2, 3, 3)).astype(f32), "v": rng.normal(0, 0.4, (3, 64)).astype(f32),
         "u": rng.normal(0, 0.4, (2, 64)).astype(f32), "to": np.array([5, 64])}  # fmt: skip
    nodes = [
        node("Conv", ["x", "w"], ["h"], dilations=[2, 2], pads=[1, 1, 1, 1]), node("Tanh", ["h"], ["t"]),
        node("Reshape", ["t", "to"], ["f"]), node("Gemm", ["f", "v"], ["a"], transB=1),
        node("Softmax", ["a"], ["first"]),
        node("Gemm", ["f", "u"], ["second"], transB=1),
    ]  # fmt: skip
    model = graph_model(nodes, c, (5, 2, 6, 6))
    del model.graph.output[:]
    for name, width in (("first", 3), ("second", 2)):
        model.graph.output.append(helper.make_tensor_value_info(name, 1, [5, width]))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=0)
    assert (tmp_path / "model.data").exists()
    x = rng.normal(0, 1, (40, 2, 6, 6)).astype(f32)
    wanted = np.concatenate(
        [run_rows(onnx.load(path), ["second"], "x", x[None, i : i + 5])[0][0] for i in range(0, 40, 5)]
    )
    compiled = compile_model(path, x, output="second")
    scores = exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"])
    assert compiled.manifest["options"]["output"] == "second"
    assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > 0.995


def test_a_function_after_an_average_whose_divisor_varies():
    rng = np.random.default_rng(2)
    nodes = [
        node("AveragePool", ["x"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Sigmoid", ["a"], ["s"]), node("Resize", ["s", "", "k"], ["r"], mode="nearest",
                                            coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("GlobalAveragePool", ["r"], ["p"]), node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1),
    ]  # fmt: skip
    c = {"w": rng.normal(0, 2, (3, 2)).astype(f32), "k": np.array([1, 1, 2, 2], f32)}
    model, x = graph_model(nodes, c, ("N", 2, 7, 7)), rng.normal(0, 2, (80, 2, 7, 7)).astype(f32)
    compiled = compile_model(model, x, min_agreement=0)
    scores = exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"])
    assert np.corrcoef(scores.ravel(), run(model, x).ravel())[0, 1] > 0.99
