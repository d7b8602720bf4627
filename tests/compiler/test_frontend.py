"""The float graph computes what the ONNX file computes, and refuses what it cannot."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from models import CASES, export, graph_model, keras_like, random_bytes, randomise, run_float, run_graph
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fedvm.compiler.errors import CompileError, ModelError, UnsupportedOperator
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import Conv, Dense

SHARED = Path(__file__).parents[2] / ".." / "shared" / "models"
node = helper.make_node


def check(model, shape, *, scale=1.0, offset=0.0, tolerance=2e-4, **options):
    """The lowered graph agrees with ONNX Runtime on noise; returns the graph."""
    graph = load_graph(model, **options)
    inputs = random_bytes(shape, 6)
    # a constant image may sit on a tie of max pooling, but never changes a value by that
    wanted = run_float(model, (inputs * np.float32(scale) + np.float32(offset)).astype(np.float32))
    got = run_graph(graph, inputs)
    wanted = wanted.reshape(got.shape)
    assert np.abs(got - wanted).max() <= tolerance * (np.abs(wanted).max() + 1e-3)
    return graph


@pytest.mark.parametrize("name", CASES)
def test_pytorch_models(name):
    make, shape = CASES[name]
    check(export(randomise(make(), 3), shape), shape)


@pytest.mark.parametrize("name", ["pre_activation", "shuffle"])
def test_pytorch_models_of_the_newer_exporter(name):
    make, shape = CASES[name]
    check(export(randomise(make(), 3), shape, dynamo=True), shape)


def test_preprocess_is_folded():
    model = export(randomise(CASES["lenet"][0](), 1), (3, 14, 14))
    check(model, (3, 14, 14), scale=1 / 127.5, offset=-1.0, preprocess=(1 / 127.5, -1.0))
    graph = check(model, (3, 14, 14), scale=2 / 255, offset=-1.0, input_range=(-1.0, 1.0))
    assert graph.input.float_input and graph.input.offset.tolist() == [-1.0] * 3


def test_padding_is_exact_where_the_range_is_ours_to_choose():
    model = export(randomise(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten()), 1), (2, 4, 4))
    graph = load_graph(model, input_range=([5.0, -1.0], [10.0, 1.0]))
    zero = -graph.input.offset / graph.input.scale
    assert np.allclose(zero, np.rint(zero), atol=1e-9) and (zero >= 0).all()
    assert (graph.input.offset <= [0, -1]).all() and (graph.input.high >= [10, 1 - 1 / 127]).all()
    again = load_graph(model, input_range=(graph.input.offset, graph.input.high))
    assert np.array_equal(again.input.scale, graph.input.scale)
    assert np.array_equal(again.input.offset, graph.input.offset)


def test_padding_far_outside_the_bytes_makes_a_layer_that_can_hold_zero():
    model = export(randomise(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten()), 1), (1, 4, 4))
    graph = check(model, (1, 4, 4), scale=1 / 255, offset=5.0, preprocess=(1 / 255, 5.0))
    assert [layer.name for layer in graph.layers] == ["scale1", "conv1"]
    constants = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "nine": np.float32(9)}
    padded = graph_model(
        [node("Pad", ["x", "pads", "nine"], ["p"]), node("Conv", ["p", "w"], ["y"], name="first")],
        constants | {"w": np.ones((1, 1, 3, 3), np.float32)},
        (1, 1, 4, 4),
    )
    with pytest.raises(UnsupportedOperator, match=r"first.*pads the input with 9"):
        load_graph(padded, preprocess=(1 / 255, 0.0))
    check(padded, (1, 4, 4))


def test_preprocess_per_channel_with_padding_uses_each_channels_byte():
    model = export(randomise(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten()), 1), (3, 4, 4))
    graph = load_graph(model, preprocess=([0.01, 0.02, 0.01], [-1.0, -1.0, -0.5]))
    values = sorted((round(term.pad_value, 9), np.flatnonzero(term.weight.any(axis=(0, 2, 3))).tolist())
                    for term in graph.layers[0].terms)  # fmt: skip
    assert values == [(50, [1, 2]), (100, [0])]


def test_keras_layout():
    graph = check(keras_like(), (8, 8, 3))
    assert graph.input.layout == "HWC" and graph.input.shape == (3, 8, 8) and graph.head == "softmax"
    assert [layer.name for layer in graph.layers] == ["conv1", "conv2", "dense1"]


def test_flat_input_reshaped_to_an_image():
    module = nn.Sequential(
        nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )
    graph = check(export(randomise(module, 2), (36,)), (36,))
    assert graph.input.onnx_shape == (36,) and graph.input.shape == (1, 6, 6)


def test_residual_sum_is_one_layer():
    graph = load_graph(export(randomise(CASES["residual"][0](), 3), (3, 8, 8)))
    shapes = {layer.name: [(type(t), t.source) for t in layer.terms] for layer in graph.layers}
    assert [kind for kind, _ in shapes["conv4"]] == [Conv, Conv]
    for layer in graph.layers:
        strides = {term.stride for term in layer.terms if isinstance(term, Conv)}
        assert len(layer.terms) == 1 or strides == {(1, 1)}


def test_dense_shortcut_is_dense():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.b(torch.relu(self.a(x) + x))

    graph = check(export(randomise(Block(), 1), (6,)), (6,))
    assert all(isinstance(term, Dense) for layer in graph.layers for term in layer.terms)


def test_explicit_padding_and_constants():
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32), "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1]),
        "half": np.float32(0.5), "shift": rng.normal(0, 5, (4, 1, 1)).astype(np.float32),
        "six": np.float32(6), "zero": np.float32(0), "q": np.arange(-6, 6, dtype=np.int8).reshape(4, 3),
        "s": np.float32(0.1), "z": np.int8(1),
    }  # fmt: skip
    nodes = [
        node("Pad", ["x", "pads"], ["p"]),
        node("Conv", ["p", "w"], ["c"], strides=[2, 2]),
        node("Mul", ["half", "c"], ["m"]),
        node("Sub", ["shift", "m"], ["s1"]),
        node("Clip", ["s1", "zero", "six"], ["r"]),
        node("ReduceMean", ["r"], ["mean"], axes=[2, 3], keepdims=0),
        node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
        node("MatMul", ["mean", "dq"], ["y"]),
    ]
    check(graph_model(nodes, constants), (3, 8, 8))


def test_positive_lower_bound_of_a_clip():
    constants = {
        "w": np.eye(3, dtype=np.float32)[:, :, None, None] / 100,
        "lo": np.float32(0.5),
        "hi": np.float32(2),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Clip", ["c", "lo", "hi"], ["r"]),
        node("Conv", ["r", "w"], ["d"], pads=[1, 1, 1, 1]),
        node("Flatten", ["d"], ["y"]),
    ]
    check(graph_model(nodes, constants), (3, 8, 8))


def test_argmax_and_softmax_of_the_same_scores():
    model = keras_like()
    model.graph.node.append(node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    assert load_graph(model).head == "argmax"


def test_uint8_input_takes_bytes():
    nodes = [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), node("Flatten", ["f"], ["v"]),
             node("Gemm", ["v", "w"], ["y"])]  # fmt: skip
    model = graph_model(nodes, {"w": np.ones((4, 2), np.float32)}, (1, 4), dtype=TensorProto.UINT8)
    assert load_graph(model).input.shape == (4, 1, 1)
    with pytest.raises(ModelError, match="bytes already"):
        load_graph(model, preprocess=(1.0, 0.0))


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
@pytest.mark.parametrize("name", ["lenet_cifar10_trained", "mlperf_tiny_resnet8", "workshop_lenet_untrained"])
def test_shared_models(name):
    model = (SHARED / f"{name}.onnx").read_bytes()
    shape = (32, 32, 3) if "resnet" in name else (3, 32, 32)
    check(model, shape)


# --- refusals ---------------------------------------------------------------------------------


def linear_model(**changes):
    weight = changes.pop("weight", np.ones((4, 2), np.float32))
    return graph_model(
        [node("MatMul", ["x", "w"], ["y"])], {"w": weight}, changes.pop("shape", (1, 4)), **changes
    )


@pytest.mark.parametrize("cut", [1, 10, 100, -1, -20])
def test_truncated_files(cut):
    data = export(randomise(CASES["lenet"][0](), 1), (3, 14, 14))
    with pytest.raises(ModelError):
        load_graph(data[:cut])


def test_every_flipped_byte_is_read_or_refused():
    data = linear_model().SerializeToString()
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x55
        with contextlib.suppress(CompileError):
            load_graph(bytes(broken))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"", "0 bytes"),
        (b"not a model at all", "not an ONNX file|no nodes|default operator set"),
        (linear_model(weight=np.full((4, 2), np.nan, np.float32)), "NaN"),
        (linear_model(weight=np.full((4, 2), np.inf, np.float32)), "NaN or infinity"),
        (graph_model([node("Relu", ["x"], ["y"])], {}, (1, 0)), "positive"),
        (linear_model(shape=("N", "F")), "positive"),
        (linear_model(opset=99), "opset"),
        (linear_model(dtype=TensorProto.STRING), "STRING|valid"),
        (linear_model(weight=np.ones((5, 2), np.float32)), "valid|fit"),
        (linear_model(output="missing"), "valid|missing"),
    ],
)
def test_malformed_models(model, message):
    with pytest.raises(ModelError, match=message):
        load_graph(model)


def test_cycles_are_refused():
    nodes = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]
    with pytest.raises(ModelError):
        load_graph(graph_model(nodes, {}))


def test_custom_domains_are_refused():
    model = graph_model([node("Relu", ["x"], ["y"], domain="my.ops")], {})
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    with pytest.raises(UnsupportedOperator, match=r"my\.ops"):
        load_graph(model)
    del model.opset_import[0]
    with pytest.raises(ModelError, match="operator set"):
        load_graph(model)


def test_claimed_sizes_are_not_believed():
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    del tensor.dims[:]
    tensor.dims.extend([1 << 40, 1 << 20])
    model = linear_model()
    model.graph.initializer[0].CopyFrom(tensor)
    with pytest.raises(ModelError, match="shape"):
        load_graph(model)


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_constants_that_would_fill_the_memory(op):
    big = np.array([1 << 20, 1 << 20])
    one = np.ones((1, 1), np.float32)
    made = {
        "ConstantOfShape": node("ConstantOfShape", ["big"], ["c"]),
        "Expand": node("Expand", ["one", "big"], ["c"]),
        "Tile": node("Tile", ["one", "big"], ["c"]),
        "Range": node("Range", ["a", "b", "d"], ["c"]),
    }[op]
    constants = {"big": big, "one": one, "a": np.int64(0), "b": np.int64(1 << 50), "d": np.int64(1)}
    model = graph_model([made, node("Add", ["x", "c"], ["y"])], constants)
    with pytest.raises(ModelError):
        load_graph(model)


def test_unknown_operators_are_named():
    model = graph_model([node("Det", ["x"], ["y"], name="det_1")], {})
    with pytest.raises(UnsupportedOperator, match=r"det_1.*Det.*Supported:.*MaxPool.*Tanh"):
        load_graph(model)


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([node("Pad", ["x", "pads"], ["p"]), node("MaxPool", ["p"], ["y"], kernel_shape=[1, 2], strides=[1, 2])],
         {"pads": np.array([0, 0, 0, 0, 0, 0, 0, 2])}, "pads.*window|could win"),
        ([node("Relu", ["x"], ["r"]), node("Pad", ["r", "pads"], ["p"]),
          node("MaxPool", ["p"], ["y"], kernel_shape=[1, 2], strides=[1, 2])],
         {"pads": np.array([0, 0, 0, 0, 0, 0, 0, 2])}, "as wide as the window"),
        ([node("Pad", ["x", "pads"], ["p"]), node("Slice", ["p", "at", "end", "axis"], ["y"])],
         {"pads": np.array([0, 0, 0, 0, 0, 0, 0, 2]), "at": np.array([8]), "end": np.array([10]),
          "axis": np.array([3])}, "node .*padding alone"),
        ([node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2])], {}, "dilated"),
        ([node("Pow", ["x", "c"], ["y"])], {"c": np.arange(8, dtype="f4")}, "one number each"),
        ([node("Softmax", ["x"], ["s"], axis=1), node("ArgMax", ["s"], ["a"], axis=3),
          node("Cast", ["a"], ["y"], to=1)], {}, "another axis than"),
        ([node("GlobalMaxPool", ["x"], ["m"]), node("Softmax", ["m"], ["y"], axis=3)], {}, "over one score"),
        ([node("ArgMax", ["x"], ["a"], axis=1, select_last_index=1), node("Cast", ["a"], ["y"], to=1)], {},
         "takes the first"),
    ],
)  # fmt: skip
def test_unsupported_forms(nodes, constants, reason):
    with pytest.raises(UnsupportedOperator, match=reason):
        load_graph(graph_model(nodes, constants, opset=19))


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        load_graph(tmp_path / "absent.onnx")


@pytest.mark.parametrize("model", [None, 3, ["a.onnx"], "x" * 5000])
def test_what_is_no_path_and_no_model(model):
    with pytest.raises(ModelError, match=r"give a path|give the path"):
        load_graph(model)


def test_bad_preprocess():
    for options in (
        {"preprocess": (0.0, 1.0)},
        {"preprocess": ([1.0, 2.0, 3.0], 0.0)},
        {"preprocess": (float("nan"), 0.0)},
        {"preprocess": (1, 0), "input_range": (0, 1)},
        {"input_range": (1, 0)},
    ):
        with pytest.raises(ModelError):
            load_graph(linear_model(), **options)


def test_model_is_not_changed():
    model = keras_like()
    before = model.SerializeToString(deterministic=True)
    load_graph(model)
    assert model.SerializeToString(deterministic=True) == before
    assert onnx.load_model_from_string(before) == model


# --- shapes that change ---------------------------------------------------------------------------


class Steps(nn.Module):
    """Functions and modules one after the other, with views in between."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = steps
        self.parts = nn.ModuleList(step for step in steps if isinstance(step, nn.Module))

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x


SHAPES = {
    "frames in the batch": (
        lambda: (lambda x: x.reshape(-1, 1, 6, 6), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2),
                 lambda x: x.reshape(-1, 48), nn.Linear(48, 2)),
        (3, 6, 6),
    ),
    "frames through a dense layer": (
        lambda: (lambda x: x.reshape(-1, 12), nn.Linear(12, 4), nn.ReLU(), lambda x: x.reshape(-1, 16),
                 nn.Linear(16, 2)),
        (4, 12),
    ),
    "rank five": (lambda: (nn.BatchNorm3d(2), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)), (2, 2, 3, 4)),
    "a mean over channels": (lambda: (nn.Conv2d(3, 4, 3), lambda x: x.mean(1).flatten(1)), (3, 5, 5)),
    "a mean over rows": (lambda: (nn.Conv2d(3, 4, 3), lambda x: x.mean(2).flatten(1)), (3, 5, 6)),
    "a sum of a vector": (lambda: (nn.Linear(6, 5), nn.ReLU(), lambda x: x.sum(1, keepdim=True)), (6,)),
    "a channel of a flat input": (
        lambda: (lambda x: x.reshape(-1, 2, 3, 3)[:, 1:], nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 2)), (18,)
    ),
    "a transposed input, joined": (
        lambda: (lambda x: torch.cat([x.transpose(1, 2)] * 2, 1), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(20, 2)),
        (10, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_change(name):
    make, shape = SHAPES[name]
    torch.manual_seed(0)
    check(export(randomise(Steps(*make()), 2), shape), shape)


def test_reductions_of_padded_tensors():
    constants = {"pads": np.array([0, 0, 1, 2, 0, 0, 0, 1])}
    nodes = [node("Pad", ["x", "pads"], ["p"]), node("ReduceMean", ["p"], ["y"], axes=[2, 3], keepdims=0)]
    check(graph_model(nodes, constants), (3, 8, 8))


def test_tensors_that_no_contract_holds_are_refused_at_once():
    """A small file may ask for gigabytes: by padding, for example."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1100), nn.ReLU(), nn.MaxPool2d(500), nn.Flatten())
    with pytest.raises(UnsupportedOperator, match=r"layer 'conv1' makes 8,000,000 values of one input"):
        load_graph(export(module, (1, 8, 8)))
