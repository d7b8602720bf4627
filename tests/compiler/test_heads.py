"""The end of a network: what is left out after the scores, in which order they stand, and one output of several."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from evm import PREDICT, Machine, encode
from graphs import draw_input
from models import export, graph_model, random_bytes, randomise, run_float
from onnx import TensorProto, helper
from torch import nn

from fedvm.compiler import compile_integer, compile_model
from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.errors import CalibrationError, ModelError, UnsupportedOperator
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import INPUT, Conv, IntegerGraph, IntegerLayer, ScoreMap
from fedvm.compiler.interpreter import run
from fedvm.compiler.layout import plan_layers
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.probe import reference_scores

node = helper.make_node


class Ended(nn.Module):
    """A network on numbers from −2 to 2, and what follows its scores."""

    def __init__(self, body: nn.Module, end) -> None:
        super().__init__()
        self.body, self.end = randomise(body, 3), end

    def forward(self, x):
        return self.end(self.body(x / 64 - 2))


def vector(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, outputs))


def image(size=(6, 7)) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 1))


def softmax_last(y):
    return torch.softmax(y.permute(0, 2, 3, 1), 3)


ENDS = {
    "softmax": (vector(5), lambda y: torch.softmax(y, 1), "softmax", (5,), 0),
    "log_softmax": (vector(5), lambda y: torch.log_softmax(y, 1), "log_softmax", (5,), 0),
    "argmax": (vector(5), lambda y: y.argmax(1), "argmax", (5,), 0),
    "argmax_kept": (vector(5), lambda y: y.argmax(1, keepdim=True), "argmax", (5,), 0),
    "softmax_argmax": (vector(5), lambda y: torch.softmax(y, 1).argmax(1), "argmax", (5,), 0),
    "log_softmax_argmax": (vector(5), lambda y: torch.log_softmax(y, 1).argmax(1), "argmax", (5,), 0),
    "sigmoid": (vector(5), torch.sigmoid, "sigmoid", (5,), None),
    "sigmoid_argmax": (vector(5), lambda y: torch.sigmoid(y).argmax(1), "argmax", (5,), 0),
    "tanh": (vector(2), torch.tanh, "tanh", (2,), None),
    "none": (vector(2), lambda y: 3 * y + 1, "", (2,), None),
    "frames": (vector(12), lambda y: torch.softmax(y.reshape(-1, 3, 4), 2), "softmax", (3, 4), 1),
    "frames_across": (vector(12), lambda y: torch.softmax(y.reshape(-1, 3, 4), 1), "softmax", (3, 4), 0),
    "pixels": (image(), lambda y: torch.softmax(y, 1), "softmax", (4, 6, 7), 0),
    "pixels_last": (image(), softmax_last, "softmax", (6, 7, 4), 2),
    "pixels_last_argmax": (image(), lambda y: softmax_last(y).argmax(3), "argmax", (6, 7, 4), 2),
    "pixels_in_a_row": (image(), lambda y: torch.softmax(y.flatten(2).permute(0, 2, 1), 2), "softmax", (42, 4), 1),
    "pixels_turned": (image(), lambda y: y.permute(0, 3, 1, 2), "", (7, 4, 6), None),
}  # fmt: skip


def shape_of(body: nn.Module) -> tuple[int, ...]:
    return (20,) if isinstance(body[0], nn.Linear) else (3, 6, 7)


@pytest.mark.parametrize("name", ENDS)
def test_scores_are_what_the_head_takes(name):
    body, end, head, shape, axis = ENDS[name]
    module = Ended(body, end)
    inputs = shape_of(body)
    model = export(module, inputs)
    compiled = compile_model(model, random_bytes(inputs, 200))
    output = compiled.manifest["output"]
    assert (output["head"], tuple(output["shape"]), output["axis"]) == (head, shape, axis)
    noise = random_bytes(inputs, 24, seed=5)
    machine = Machine(compiled)
    scores = machine.predict(noise)
    assert np.array_equal(scores, reference_scores(compiled.reference.SerializeToString(), noise))
    assert machine.cold(encode(PREDICT, noise[0].tobytes())).gas == compiled.manifest["gas"]["evm"]
    real, wanted = compiled.real_scores(scores), run_float(model, noise.astype(np.float32))
    assert real.shape == (24, *shape)
    assert_agrees(name, real, wanted, axis)


def assert_agrees(name, real, wanted, axis) -> None:
    """The scores, with the head computed outside of the contract, are the model's outputs."""
    wanted = wanted.squeeze() if name == "argmax_kept" else wanted
    if "argmax" in name:
        assert (real.argmax(axis=axis + 1) == wanted).mean() > 0.9
    elif axis is not None:
        shares = np.exp(real - real.max(axis=axis + 1, keepdims=True))
        shares /= shares.sum(axis=axis + 1, keepdims=True)
        shares = np.log(shares) if name == "log_softmax" else shares
        assert np.corrcoef(shares.ravel(), wanted.ravel())[0, 1] > 0.98
    else:
        real = {"sigmoid": lambda y: 1 / (1 + np.exp(-y)), "tanh": np.tanh}.get(name, lambda y: y)(real)
        assert np.abs(real - wanted).max() < 0.15 * np.abs(wanted).max()


def test_one_sigmoid_is_a_choice_between_two():
    model = export(Ended(vector(1), torch.sigmoid), (20,))
    data = random_bytes((20,), 200)
    labels = (run_float(model, data.astype(np.float32))[:, 0] > 0.5).astype(int)
    assert 0 < labels.sum() < 200
    compiled = compile_model(model, data, labels=labels)
    machine = Machine(compiled)
    scores, classes = machine.predict(data[:40]), machine.classify(data[:40])
    assert (scores[:, 0] == 0).all() and np.array_equal(classes, scores[:, 1] > 0)
    assert (classes == labels[:40]).mean() > 0.95
    assert compiled.manifest["quality"]["accuracy"]["network"] == 1.0
    assert compiled.manifest["quality"]["decided_agreement"] > 0.95


def test_labels_do_not_fit_a_map_of_classes():
    model = export(Ended(image(), lambda y: torch.softmax(y, 1)), (3, 6, 7))
    with pytest.raises(CalibrationError, match="a class for each of 42 positions"):
        compile_model(model, random_bytes((3, 6, 7), 40), labels=[0] * 40)


# -- orders -----------------------------------------------------------------------------------------------------------


def map_graph(shape, order) -> IntegerGraph:
    rng = np.random.default_rng(1)
    weight = rng.integers(-9, 10, (shape[0], 2, 2, 2))
    bias, still = rng.integers(-99, 99, shape[0]), np.zeros(shape[0], np.int64)
    layer = IntegerLayer("scores", (Conv(INPUT, weight),), bias, still, shape, np.ones(shape[0]), 0, None)
    spec = draw_input((2, shape[1] + 1, shape[2] + 1), "CHW")
    return IntegerGraph(spec, (layer,), scores=ScoreMap(order))


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (5, 7, 9)])
def test_scores_in_any_order_of_axes(shape, order):
    graph = map_graph(shape, order)
    compiled = compile_integer(graph)
    inputs = random_bytes((2, shape[1] + 1, shape[2] + 1), 8)
    scores = Machine(compiled).predict(inputs)
    assert np.array_equal(scores, run(graph, inputs).reshape(8, -1))
    plain = run(map_graph(shape, (0, 1, 2)), inputs)
    assert np.array_equal(scores, plain.transpose(0, *(axis + 1 for axis in order)).reshape(8, -1))
    assert np.array_equal(scores, reference_scores(compiled.reference.SerializeToString(), inputs))


def test_the_order_is_proved(monkeypatch):
    plan = plan_layers(map_graph((3, 4, 5), (1, 2, 0)))
    prove_moves(plan)
    monkeypatch.setattr("fedvm.compiler.moves.steps_of", lambda shape, order: (640, 160, 32))
    with pytest.raises(AssemblyError, match="written to another place"):
        prove_moves(plan)


# -- outputs ----------------------------------------------------------------------------------------------------------


def two_outputs() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    constants = {name: rng.normal(size=(6, n)).astype(np.float32) for name, n in (("u", 3), ("v", 2))}
    nodes = [node("MatMul", ["x", "u"], ["a"]), node("Softmax", ["a"], ["label"]), node("MatMul", ["x", "v"], ["b"]),
             node("Det", ["b"], ["odd"]), node("Identity", ["b"], ["y"])]  # fmt: skip
    model = graph_model(nodes, constants, ("N", 6))
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.FLOAT, ["N", 3]))
    return model


def test_one_output_of_several_is_chosen_by_name():
    with pytest.raises(ModelError, match=r"several outputs \(y, label\).*--output NAME"):
        load_graph(two_outputs())
    with pytest.raises(ModelError, match=r"no output 'z'; it has y, label"):
        load_graph(two_outputs(), output="z")
    graph = load_graph(two_outputs(), output="label")
    assert graph.head == "softmax" and graph.layers[-1].shape == (3, 1, 1) and len(graph.layers) == 1
    compiled = compile_model(two_outputs(), random_bytes((6,), 64), output="y")
    assert compiled.manifest["options"]["output"] == "y" and compiled.manifest["output"]["scores"] == 2
    noise = random_bytes((6,), 8)
    wanted = run_float(two_outputs_only_y(), noise.astype(np.float32))
    got = compiled.real_scores(Machine(compiled).predict(noise))
    assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


def two_outputs_only_y() -> onnx.ModelProto:
    model = two_outputs()
    del model.graph.output[1:]
    kept = [n for n in model.graph.node if n.output[0] in ("b", "y")]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def test_what_no_output_needs_is_not_looked_at():
    model = two_outputs()
    del model.graph.output[1:]
    assert load_graph(model).layers[-1].shape == (2, 1, 1)


@pytest.mark.parametrize(("nodes", "reason"), [
    ([node("Transpose", ["x"], ["t"], perm=[1, 0]), node("Softmax", ["t"], ["y"], axis=1)], "over one score"),
    ([node("ArgMax", ["x"], ["a"]), node("Cast", ["a"], ["y"], to=1)], "always 0"),
])  # fmt: skip
def test_what_changes_the_order_is_refused(nodes, reason):
    with pytest.raises(UnsupportedOperator, match=reason):
        load_graph(graph_model(nodes, {}, (1, 6)))
