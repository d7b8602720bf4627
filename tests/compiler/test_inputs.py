"""Inputs as files have them: fixed batches, open axes, no batch axis, whole numbers, old operator sets."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from evm import Machine
from models import export, graph_model, random_bytes, randomise
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fedvm.compiler import CompiledModel, CompileError, ModelError, compile_model
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.probe import reference_scores

node = helper.make_node


def exact(compiled: CompiledModel, x: np.ndarray) -> np.ndarray:
    """The contract's scores, which are the reference's, as real numbers `[N, O]`."""
    q = compiled.quantize_input(x)
    scores = Machine(compiled).predict(q)
    assert (scores == reference_scores(compiled.reference.SerializeToString(), q)).all()
    scale = np.asarray(compiled.manifest["output"]["scale"])
    return scores * np.repeat(scale, scores.shape[1] // len(scale))


def follows(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether scores `[N, O]` are those of the file up to what quantization loses."""
    return float(np.corrcoef(got.ravel(), wanted.ravel())[0, 1]) > 0.98


def run(model: bytes | onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of `x`, fed as it is."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def fixed_batch(module: nn.Module, shape: tuple[int, ...], batch: int) -> bytes:
    """PyTorch's export with an example of so many inputs and no dynamic axes."""
    import io
    import warnings

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), torch.zeros(batch, *shape), buffer, dynamo=False, opset_version=17)
    return buffer.getvalue()


class Viewed(nn.Module):
    """Reshapes with sizes that a tracer writes down as numbers, the batch among them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4 * 6 * 6, 3)

    def forward(self, x):
        x = torch.relu(self.conv(x.view(x.size(0), 2, 8, 8)))
        return self.head(x.reshape(x.shape[0], 4 * 6 * 6))


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize("dynamo", [False, True])
def test_a_fixed_batch_is_compiled_for_one_input(batch, dynamo):
    module, x = randomise(Viewed(), 1), random_bytes((2, 8, 8), 40)
    if dynamo:
        program = torch.onnx.export(module.eval(), (torch.zeros(batch, 2, 8, 8),), dynamo=True, verbose=False)
        model = program.model_proto.SerializeToString()
    else:
        model = fixed_batch(module, (2, 8, 8), batch)
    compiled = compile_model(model, x, min_agreement=0)
    wanted = np.concatenate([run(model, x[i : i + batch].astype(np.float32)) for i in range(0, 40, batch)])
    assert follows(exact(compiled, x), wanted)
    assert compiled.manifest["input"]["shape"] == [2, 8, 8]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), node("Add", ["x", "m"], ["y"])], {}),
        ([node("Reshape", ["x", "s"], ["r"]), node("MatMul", ["r", "w"], ["y"])],
         {"s": np.array([1, 8]), "w": np.ones((8, 2), "f4")}),
        ([node("Transpose", ["x"], ["t"], perm=[1, 0]), node("Reshape", ["t", "s"], ["r"]),
          node("Relu", ["r"], ["y"])], {"s": np.array([2, 4])}),
    ],
)  # fmt: skip
def test_a_batch_whose_inputs_are_mixed_is_refused(nodes, constants):
    with pytest.raises(ModelError, match=r"batch"):
        load_graph(graph_model(nodes, constants, (2, 4)))


def free_axes() -> onnx.ModelProto:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    proto = onnx.load_model_from_string(export(randomise(module, 2), (3, 8, 8)))
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "HW"[axis - 2]
    pool = next(n for n in proto.graph.node if n.op_type == "GlobalAveragePool")
    assert pool.name
    return proto


def test_open_axes_come_from_the_calibration_data():
    model, x = free_axes(), random_bytes((3, 10, 7), 40)
    compiled = compile_model(model, x, min_agreement=0)
    assert compiled.manifest["input"]["shape"] == [3, 10, 7]
    assert follows(exact(compiled, x), run(model, x.astype(np.float32)))
    assert load_graph(model, input_shape=(3, 6, 5)).input.shape == (3, 6, 5)


def test_open_axes_without_a_size_are_refused_with_what_to_do():
    with pytest.raises(ModelError, match=r"axis 2 is H; give calibration data .* or input_shape"):
        load_graph(free_axes())


class Alone(nn.Module):
    """Takes an image without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).flatten())


@pytest.mark.parametrize(
    ("module", "shape"),
    [(Alone(), (3, 8, 8)), (nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 3)), (12,))],
)
def test_a_file_without_a_batch_axis(module, shape):
    model, x = fixed_batch(randomise(module, 1), shape[1:], shape[0]), random_bytes(shape, 40)
    compiled = compile_model(model, x, min_agreement=0)
    wanted = np.stack([run(model, row.astype(np.float32)).ravel() for row in x])
    assert follows(exact(compiled, x), wanted)
    assert compiled.manifest["input"]["shape"] == list(shape)


@pytest.mark.parametrize(
    "kind", [TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT16]
)
def test_whole_numbers_with_a_cast(kind):
    rng = np.random.default_rng(3)
    weight = rng.normal(0, 0.01, (5, 12)).astype(np.float32)
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
             node("Flatten", ["f"], ["v"]), node("Gemm", ["v", "w"], ["y"], transB=1)]  # fmt: skip
    model = graph_model(nodes, {"w": weight}, ("N", 2, 2, 3), dtype=kind)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    x = rng.integers(0, 200 if kind == TensorProto.UINT8 else 256, (60, 2, 2, 3)).astype(dtype)
    for given in (x, x.astype(np.int64)):
        compiled = compile_model(model, given, min_agreement=0)
        assert follows(exact(compiled, x), run(model, x))
    if kind != TensorProto.UINT8:
        wide = rng.integers(0, 5000, (60, 2, 2, 3)).astype(dtype)
        assert follows(exact(compile_model(model, wide, min_agreement=0), wide), run(model, wide))


def test_whole_numbers_that_are_computed_with_are_refused():
    nodes = [node("Div", ["x", "two"], ["d"]), node("Cast", ["d"], ["y"], to=TensorProto.FLOAT)]
    model = graph_model(nodes, {"two": np.int32(2)}, ("N", 4), dtype=TensorProto.INT32)
    with pytest.raises(ModelError, match=r"Div.*computes with the input's whole numbers \(INT32\)"):
        load_graph(model)


def test_whole_numbers_beyond_bytes_are_no_bytes():
    nodes = [node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    model = graph_model(nodes, {}, ("N", 4), dtype=TensorProto.UINT8)
    with pytest.raises(CompileError, match="takes bytes"):
        compile_model(model, np.full((30, 4), 256))


def test_rank_five_is_taken_or_refused_by_name():
    x = np.random.default_rng(0).normal(size=(40, 2, 3, 4, 4)).astype(np.float32)
    flat = export(randomise(nn.Sequential(nn.Flatten(), nn.Linear(96, 3)), 1), (2, 3, 4, 4))
    assert follows(exact(compile_model(flat, x, min_agreement=0), x), run(flat, x))
    deep = export(
        randomise(nn.Sequential(nn.Conv3d(2, 3, 3), nn.Flatten(), nn.Linear(12, 3)), 1), (2, 3, 4, 4)
    )
    with pytest.raises(CompileError, match=r"Conv.*only 1-D and 2-D"):
        compile_model(deep, x)
    norm = export(
        randomise(nn.Sequential(nn.BatchNorm3d(2), nn.Flatten(), nn.Linear(96, 3)), 1), (2, 3, 4, 4)
    )
    assert follows(exact(compile_model(norm, x, min_agreement=0), x), run(norm, x))


def test_frames_in_the_batch_axis():
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(3 * 4 * 36, 3)

        def forward(self, x):
            return self.head(torch.relu(self.conv(x.reshape(-1, 1, 8, 8))).reshape(-1, 432))

    x = random_bytes((3, 8, 8), 40)
    for model in (
        export(randomise(Frames(), 1), (3, 8, 8)),
        fixed_batch(randomise(Frames(), 1), (3, 8, 8), 4),
    ):
        compiled = compile_model(model, x, min_agreement=0)
        wanted = np.concatenate([run(model, x[i : i + 4].astype(np.float32)) for i in range(0, 40, 4)])
        assert follows(exact(compiled, x), wanted)


def test_other_domains_may_be_imported():
    model = graph_model([node("Relu", ["x"], ["y"])], {}, (1, 4))
    for domain, version in (
        ("ai.onnx.ml", 3),
        ("com.microsoft", 1),
        ("org.pytorch.aten", 1),
        ("ai.onnx", 17),
    ):
        model.opset_import.append(helper.make_opsetid(domain, version))
    assert load_graph(model).input.shape == (4, 1, 1)


# --- old operator sets ------------------------------------------------------------------------


def old_model(nodes, constants, shape, opset: int, output) -> onnx.ModelProto:
    """A file as such exporters wrote it: weights among the inputs."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in stored]
    graph = helper.make_graph(
        list(nodes), "old", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape)), *inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(output))], stored,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)


@pytest.mark.parametrize("opset", [1, 2, 3, 4, 5, 6])
def test_old_forms(opset):
    rng = np.random.default_rng(0)
    f = np.float32
    c = {"w": rng.normal(0, 0.2, (4, 3, 3, 3)).astype(f), "b": rng.normal(0, 1, 4).astype(f),
         "g": (rng.random(4) + 0.5).astype(f), "v": (rng.random(4) + 0.5).astype(f),
         "d": rng.normal(0, 0.1, (5, 64)).astype(f), "e": rng.normal(0, 1, 5).astype(f)}  # fmt: skip
    used = {"consumed_inputs": [0]} if opset < 6 else {}
    held = {"consumed_inputs": [0, 0, 0, 1, 1]} if opset < 6 else {}
    reshape = [node("Reshape", ["p"], ["r"], shape=[1, -1])]
    if opset >= 5:
        reshape, c["s"] = [node("Reshape", ["p", "s"], ["r"])], np.array([1, -1])
    nodes = [
        node("Pad", ["x"], ["a"], **{"paddings" if opset == 1 else "pads": [0, 0, 1, 1, 0, 0, 1, 1]}),
        node("Conv", ["a", "w"], ["c"], kernel_shape=[3, 3]),
        node("Add", ["c", "b"], ["c1"], broadcast=1, axis=1),
        node("BatchNormalization", ["c1", "g", "b", "b", "v"], ["n"], is_test=1, **held),
        node("Relu", ["n"], ["r0"], **used),
        node("Dropout", ["r0"], ["r1"], is_test=1),
        node("MaxPool", ["r1"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        *reshape,
        node("Gemm", ["r", "d", "e"], ["y"], transB=1, broadcast=1),
    ]
    compiled = compile_model(old_model(nodes, c, (1, 3, 8, 8), opset, (1, 5)), x := random_bytes((3, 8, 8), 40),
                             min_agreement=0)  # fmt: skip
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                           nn.Flatten(), nn.Linear(64, 5)).eval()  # fmt: skip
    t = {name: torch.from_numpy(value) for name, value in c.items()}
    conv, norm, *_, head = module
    with torch.no_grad():
        conv.weight.copy_(t["w"])
        conv.bias.copy_(t["b"])
        for target, name in (
            (norm.weight, "g"),
            (norm.bias, "b"),
            (norm.running_mean, "b"),
            (norm.running_var, "v"),
        ):
            target.copy_(t[name])
        head.weight.copy_(t["d"])
        head.bias.copy_(t["e"])
        wanted = module(torch.from_numpy(x.astype(f))).numpy()
    assert follows(exact(compiled, x), wanted)


def test_old_casts_and_joins():
    nodes = [node("Cast", ["x"], ["f"], to="FLOAT"), node("Concat", ["f", "x"], ["y"])]
    graph = load_graph(old_model(nodes, {}, (1, 3), 1, (1, 6)))
    assert graph.layers[-1].shape == (6, 1, 1)
    with pytest.raises(ModelError, match="casts to BANANA"):
        load_graph(old_model([node("Cast", ["x"], ["y"], to="banana")], {}, (1, 3), 1, (1, 3)))


def test_old_forms_that_cannot_be_converted_are_refused():
    nodes = [node("Upsample", ["x"], ["y"], height_scale=2.0, width_scale=2.0)]
    assert load_graph(old_model(nodes, {}, (1, 1, 2, 2), 1, (1, 1, 4, 4))).layers[-1].shape == (16, 1, 1)
    nodes = [node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)]
    with pytest.raises(CompileError, match="broadcasts over an axis that its input does not have"):
        load_graph(old_model(nodes, {"b": np.ones((2, 3), np.float32)}, (1, 2), 6, (1, 2)))
