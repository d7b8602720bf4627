"""Models that were quantized elsewhere: their integers are kept, and the contract answers as they do."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from evm import Machine
from models import export, graph_model, randomise
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

from fedvm.compiler import CompiledModel, UnsupportedOperator, compile_model
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.frontend.quantized import with_float_operators
from fedvm.compiler.frontend.runner import run_rows
from fedvm.compiler.graph import Conv
from fedvm.compiler.probe import reference_scores
from fedvm.compiler.quantize import quantize

node = helper.make_node
f32 = np.float32


def exact(compiled: CompiledModel, x: np.ndarray) -> np.ndarray:
    """The contract's scores, which are the reference's to the bit."""
    q = compiled.quantize_input(x)
    scores = Machine(compiled).predict(q)
    assert (scores == reference_scores(compiled.reference.SerializeToString(), q)).all()
    return scores


def run(model: onnx.ModelProto | bytes | Path, x: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of `x`, as `[N, O]`."""
    proto = onnx.load(model) if isinstance(model, Path) else model
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(data, options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: row[None]})[0].reshape(1, -1) for row in x])


class Network(nn.Module):
    """Convolutions, a shortcut, pooling of both kinds and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6 * 4, 5)

    def forward(self, x):
        x = torch.relu(self.a(x))
        x = torch.relu(self.norm(self.b(x)) + x)
        x = torch.max_pool2d(x, 2)
        return self.head(torch.flatten(torch.nn.functional.avg_pool2d(x, 2), 1))


class Reader(CalibrationDataReader):
    def __init__(self, x: np.ndarray) -> None:
        self._rows = iter([{"x": x}])

    def get_next(self):
        return next(self._rows, None)


def inputs(count: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.2, 1.0, (count, 3, 8, 8)).astype(f32)


@pytest.fixture(scope="module")
def floats(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("float") / "float.onnx"
    path.write_bytes(export(randomise(Network(), 5), (3, 8, 8)))
    return path


@pytest.mark.parametrize("aim", ["run", "deploy"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_onnx_runtimes_quantizer(floats, tmp_path, form, per_channel, aim):
    path, x = tmp_path / "quantized.onnx", inputs()
    quantize_static(floats, path, Reader(inputs(64, 1)), quant_format=QuantFormat[form], per_channel=per_channel,
                    activation_type=QuantType.QInt8 if per_channel else QuantType.QUInt8,
                    weight_type=QuantType.QInt8)  # fmt: skip
    compiled = compile_model(path, x, optimize=aim)
    kept = compiled.manifest["kept"]
    assert len(kept) == len([row for row in compiled.manifest["layers"] if row["op"]]) - 1
    assert 0 < max(kept.values()) <= 0.1
    scores = exact(compiled, x)
    wanted = run(path, x)
    steps = np.rint(wanted / compiled.manifest["output"]["scale"][0])
    assert np.abs(scores - steps).max() <= 2 and (scores == steps).mean() > 0.6
    if form == "QDQ":  # ONNX Runtime's own integer kernels saturate on some processors
        assert (scores.argmax(1) == wanted.argmax(1)).mean() > 0.95


@pytest.mark.parametrize("per_channel", [False, True])
def test_integer_operators_as_float_ones(floats, tmp_path, per_channel):
    paths, x = {}, inputs(12)
    for form in ("QDQ", "QOperator"):
        paths[form] = tmp_path / f"{form}.onnx"
        quantize_static(floats, paths[form], Reader(inputs(64, 1)), quant_format=QuantFormat[form],
                        per_channel=per_channel)  # fmt: skip
    integers = onnx.load(paths["QOperator"])
    written = with_float_operators(integers)
    assert not [n.op_type for n in written.graph.node if n.op_type.startswith(("QLinear", "QGemm"))]
    wanted, got = run(paths["QDQ"], x), run(written, x)
    assert np.abs(got - wanted).max() <= 0.02 * np.abs(wanted).max()


def powers_of_two(seed: int = 0, form: str = "QDQ") -> onnx.ModelProto:
    """A network whose scales are powers of two. No sum lies between two integers: weights are even, biases odd."""
    rng = np.random.default_rng(seed)
    w1 = (2 * rng.integers(-40, 41, (4, 2, 3, 3))).astype(np.int8)
    w2 = (2 * rng.integers(-40, 41, (3, 4 * 9))).astype(np.int8)
    c = {
        "w1": w1, "s1": f32(2**-6), "b1": (2 * rng.integers(-500, 500, 4) + 1).astype(np.int32), "z8": np.int8(0),
        "w2": w2, "s2": f32(2**-5), "b2": (2 * rng.integers(-500, 500, 3) + 1).astype(np.int32),
        "sx": f32(2**-5), "zx": np.uint8(110), "sh": f32(2**-2), "zh": np.uint8(0),
        "sy": f32(2**2), "zy": np.uint8(120), "sb1": f32(2**-11), "sb2": f32(2**-7), "z32": np.int32(0),
    }  # fmt: skip
    first, last = (
        node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        node("DequantizeLinear", ["q3", "sy", "zy"], ["y"]),
    )
    if form == "QOperator":
        c["w2t"] = np.ascontiguousarray(w2.T)
        nodes = [
            first,
            node("QLinearConv", ["q", "sx", "zx", "w1", "s1", "z8", "sh", "zh", "b1"], ["q1"], pads=[1, 1, 1, 1]),
            node("MaxPool", ["q1"], ["q2"], kernel_shape=[2, 2], strides=[2, 2]), node("Flatten", ["q2"], ["v"]),
            node("QGemm", ["v", "sh", "zh", "w2", "s2", "z8", "b2", "sy", "zy"], ["q3"], transB=1,
                 domain="com.microsoft"), last,
        ]  # fmt: skip
    else:
        nodes = [
            first, node("DequantizeLinear", ["q", "sx", "zx"], ["d"]),
            node("DequantizeLinear", ["w1", "s1", "z8"], ["f1"]),
            node("DequantizeLinear", ["b1", "sb1", "z32"], ["c1"]),
            node("Conv", ["d", "f1", "c1"], ["h"], pads=[1, 1, 1, 1]), node("Relu", ["h"], ["r"]),
            node("QuantizeLinear", ["r", "sh", "zh"], ["q1"]), node("DequantizeLinear", ["q1", "sh", "zh"], ["d1"]),
            node("MaxPool", ["d1"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            node("QuantizeLinear", ["m", "sh", "zh"], ["q2"]), node("DequantizeLinear", ["q2", "sh", "zh"], ["d2"]),
            node("Flatten", ["d2"], ["v"]),
            node("DequantizeLinear", ["w2", "s2", "z8"], ["f2"]),
            node("DequantizeLinear", ["b2", "sb2", "z32"], ["c2"]),
            node("Gemm", ["v", "f2", "c2"], ["g"], transB=1), node("QuantizeLinear", ["g", "sy", "zy"], ["q3"]), last,
        ]  # fmt: skip
    model = graph_model(nodes, c, ("N", 2, 6, 6))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_powers_of_two_are_exact(form):
    x = np.random.default_rng(1).normal(0, 1.2, (120, 2, 6, 6)).astype(f32)
    compiled = compile_model(powers_of_two(form=form), x, activation_bits=4, min_agreement=0)
    assert set(compiled.manifest["kept"].values()) == {0.0}
    wanted = run(powers_of_two(), x)  # the same network in floats, which no integer kernel spoils
    scores = exact(compiled, x)
    assert (scores * np.asarray(compiled.manifest["output"]["scale"]) == wanted).all()
    assert len(np.unique(scores)) > 30


def test_weights_are_the_files_own():
    model, x = powers_of_two(), np.random.default_rng(1).normal(0, 1.2, (50, 2, 6, 6)).astype(f32)
    graph = load_graph(model, samples=x)
    layers = {layer.name: layer for layer in quantize(graph, np.zeros((4, 2, 6, 6), np.uint8)).layers}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    conv, dense = layers["conv1"], layers["dense1"]
    assert isinstance(conv.terms[0], Conv) and (conv.terms[0].weight == weights["w1"]).all()
    assert (dense.terms[0].weight == weights["w2"]).all()
    assert conv.high == dense.high == 255 and dense.zero == 120 and conv.terms[0].pad_value == 110
    assert (conv.shift == 9).all() and (dense.shift == 9).all()


def test_the_program_can_be_compiled_again_from_its_bytes():
    x = np.random.default_rng(1).normal(0, 1.2, (50, 2, 6, 6)).astype(f32)
    first = compile_model(powers_of_two(), x, min_agreement=0)
    again = compile_model(powers_of_two(), first.quantize_input(x), min_agreement=0,
                          input_range=first.manifest["options"]["input_range"])  # fmt: skip
    assert first.codes == again.codes


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_integer_inputs_without_a_quantization(kind):
    model = powers_of_two()
    nodes = [n for n in model.graph.node if n.output[0] != "q"]
    for n in nodes:
        n.input[:] = ["x" if name == "q" else name for name in n.input]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.input[0].type.tensor_type.elem_type = (
        TensorProto.UINT8 if kind == "uint8" else TensorProto.INT8
    )
    if kind == "int8":
        for tensor in model.graph.initializer:
            if tensor.name == "zx":
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.int8(-18), "zx"))
    info = np.iinfo(kind)
    x = np.random.default_rng(1).integers(info.min, info.max + 1, (80, 2, 6, 6)).astype(kind)
    compiled = compile_model(model, x, min_agreement=0)
    assert (exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"]) == run(model, x)).all()


# --- PyTorch ----------------------------------------------------------------------------------


def test_pytorchs_fake_quantization():
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver, PerChannelMinMaxObserver

    class Trained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5 * 9, 4)
            act = {"observer": MovingAverageMinMaxObserver, "dtype": torch.quint8}
            weight = {"observer": PerChannelMinMaxObserver, "dtype": torch.qint8, "quant_min": -128, "quant_max": 127,
                      "qscheme": torch.per_channel_symmetric}  # fmt: skip
            self.qx = FakeQuantize(quant_min=0, quant_max=255, **act)
            self.qh = FakeQuantize(quant_min=0, quant_max=127, **act)
            self.qw, self.qv = FakeQuantize(**weight), FakeQuantize(**weight)

        def forward(self, x):
            h = nn.functional.conv2d(self.qx(x), self.qw(self.conv.weight), self.conv.bias)
            h = torch.max_pool2d(self.qh(torch.relu(h)), 2)
            return nn.functional.linear(h.flatten(1), self.qv(self.head.weight), self.head.bias)

    module, x = randomise(Trained(), 2), inputs()
    module(torch.from_numpy(inputs(64, 3)))
    module.apply(torch.ao.quantization.disable_observer)
    model = export(module, (3, 8, 8))
    compiled = compile_model(model, x)
    assert list(compiled.manifest["kept"]) == ["conv1"]
    scores = exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"])
    wanted = run(model, x)
    assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > 0.9999
    assert (scores.argmax(1) == wanted.argmax(1)).mean() > 0.95


def test_pytorchs_quantized_modules():
    from torch.ao import quantization as q

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quant, self.dequant = q.QuantStub(), q.DeQuantStub()
            self.conv, self.relu, self.head = nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Linear(5 * 9, 4)

        def forward(self, x):
            x = torch.max_pool2d(self.relu(self.conv(self.quant(x))), 2)
            return self.dequant(self.head(torch.flatten(x, 1)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = randomise(Wrapped(), 2).eval()
        module.qconfig = q.get_default_qconfig("fbgemm")
        module = q.prepare(q.fuse_modules(module, [["conv", "relu"]]))
        module(torch.from_numpy(inputs(64, 3)))
        model = export(q.convert(module), (3, 8, 8))
    x = inputs()
    compiled = compile_model(model, x)
    assert {"conv1", "dense1"} <= set(compiled.manifest["kept"])
    scores, wanted = exact(compiled, x), run(model, x)
    steps = np.rint(wanted / compiled.manifest["output"]["scale"][0])
    assert np.abs(scores - steps).max() <= 2 and (scores == steps).mean() > 0.6


# --- Brevitas and QONNX -----------------------------------------------------------------------


def few_bits(
    domain: str, *, bits: float = 4, bipolar: bool = False, imported: bool = True
) -> onnx.ModelProto:
    """Weights and activations of few bits, as Brevitas writes them."""
    rng = np.random.default_rng(4)
    c = {
        "w1": rng.normal(0, 0.4, (5, 2, 3, 3)).astype(f32), "w2": rng.normal(0, 0.4, (3, 5 * 16)).astype(f32),
        "b1": rng.normal(0, 0.3, 5).astype(f32), "zero": f32(0), "bits": f32(bits), "eight": f32(8),
        "sx": f32(2**-5), "sw": f32(2**-3), "sh": f32(2**-2), "sv": (rng.random((3, 1)) / 8 + 0.1).astype(f32),
    }  # fmt: skip

    def quant(x, scale, width, y, **given):
        return node("Quant", [x, scale, "zero", width], [y], domain=domain, **given)

    hidden = [node("Relu", ["h"], ["r"]), quant("r", "sh", "bits", "a", signed=0, narrow=0)]
    weight = quant("w1", "sw", "bits", "f1", signed=1, narrow=1)
    if bipolar:
        hidden = [node("BipolarQuant", ["h", "sh"], ["a"], domain=domain)]
        weight = node("BipolarQuant", ["w1", "sw"], ["f1"], domain=domain)
    nodes = [
        quant("x", "sx", "eight", "d", signed=1, narrow=0, rounding_mode="ROUND"),
        weight, node("Conv", ["d", "f1", "b1"], ["h"]), *hidden, node("Flatten", ["a"], ["v"]),
        quant("w2", "sv", "bits", "f2", signed=1, narrow=1), node("Gemm", ["v", "f2"], ["y"], transB=1),
    ]  # fmt: skip
    model = graph_model(nodes, c, ("N", 2, 6, 6))
    if imported:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


@pytest.mark.parametrize("domain", ["onnx.brevitas", "qonnx.custom_op.general"])
@pytest.mark.parametrize("imported", [True, False])
def test_quant_nodes(domain, imported):
    model, x = (
        few_bits(domain, imported=imported),
        np.random.default_rng(1).normal(0, 1, (80, 2, 6, 6)).astype(f32),
    )
    compiled = compile_model(model, x)
    assert 0 < compiled.manifest["kept"]["conv1"] < 0.01  # a bias between two integers
    wanted = np.stack([row[0].ravel() for row in run_rows(few_bits(domain), ["y"], "x", x[:, None])])
    scores = exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"])
    assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > 0.999


def test_bipolar_nodes():
    model, x = (
        few_bits("onnx.brevitas", bipolar=True),
        np.random.default_rng(1).normal(0, 1, (80, 2, 6, 6)).astype(f32),
    )
    compiled = compile_model(model, x)
    assert compiled.manifest["kept"] == {"conv1": 0.0}
    wanted = np.stack([row[0].ravel() for row in run_rows(model, ["y"], "x", x[:, None])])
    scores = exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"])
    assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > 0.999


def test_ends_that_are_no_power_of_two():
    """Values -7..7 take two layers: one whose upper end is right, then one whose lower end is."""
    c = {"w": np.array([[1, 0], [0, -1]], f32), "s": f32(0.5), "z": f32(0), "four": f32(4)}
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Quant", ["h", "s", "z", "four"], ["a"], domain="onnx.brevitas", signed=1, narrow=1),
        node("Gemm", ["a", "w"], ["y"]),
    ]
    x = np.stack(np.meshgrid(np.arange(-25, 26), [-9, 3]), -1).reshape(-1, 2).astype(f32) / 4
    compiled = compile_model(
        graph_model(nodes, c, ("N", 2)), x, input_range=(-16.0, 15.875), min_correlation=0
    )
    assert compiled.manifest["kept"] == {"dense1": 0.0, "scale1": 0.0}
    scores = exact(compiled, x) * np.asarray(compiled.manifest["output"]["scale"])
    halves = np.clip(np.floor(x * [1, -1] / 0.5 + 0.5), -7, 7) * 0.5 * [1, -1]
    assert (scores == halves).all() and scores.max() == 3.5 and scores.min() == -3.5


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])], {},
         r"DynamicQuantizeLinear.*quantize statically"),
        ([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
         {"s": f32(1), "z": np.int16(0)}, r"int16 have no kernel; quantize them with 8 bits"),
        ([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
         {"s": np.array([1, 2, 3], f32), "z": np.zeros(3, np.int8)}, "scale for each channel"),
        ([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("Relu", ["q"], ["r"]),
          node("DequantizeLinear", ["r", "s", "z"], ["y"])], {"s": f32(1), "z": np.int8(3)},
         r"Relu.*dequantize them first"),
        ([node("Quant", ["x", "s", "z", "n"], ["y"], domain="onnx.brevitas", rounding_mode="FLOOR")],
         {"s": f32(1), "z": f32(0), "n": f32(4)}, "nearest only"),
        ([node("Quant", ["x", "s", "z", "n"], ["y"], domain="onnx.brevitas")],
         {"s": f32(1), "z": f32(0), "n": f32(16)}, "16 bits"),
        ([node("Trunc", ["x", "s", "z", "n", "n"], ["y"], domain="onnx.brevitas")],
         {"s": f32(1), "z": f32(0), "n": f32(4)}, "onnx.brevitas is not supported"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(nodes, constants, reason):
    with pytest.raises(UnsupportedOperator, match=reason):
        load_graph(graph_model(nodes, constants, ("N", 3, 2, 2), opset=21))
