"""Quantization keeps to its budgets, is reproducible, and loses little."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from models import CASES, export, graph_model, keras_like, random_bytes, randomise, run_graph
from onnx import helper

from fedvm.compiler.calibration import evaluate, sample_positions
from fedvm.compiler.errors import CalibrationError, CompileError, RangeError, UnsupportedOperator
from fedvm.compiler.fitted_terms import is_uniform
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import INPUT, Conv, Dense
from fedvm.compiler.interpreter import accumulator_bounds, as_chw, run, run_all
from fedvm.compiler.policy import lane_budget
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.rounding import compensated_round

SHARED = Path(__file__).parents[2] / ".." / "shared"


def float_graph(name, seed=5):
    make, shape = CASES[name]
    return load_graph(export(randomise(make(), seed), shape), preprocess=(1 / 64, -2.0)), shape


def relative_error(graph, integer, inputs):
    """Root mean square error of the scores, relative to their spread."""
    wanted = evaluate(graph.layers, {INPUT: as_chw(graph.input, inputs).astype(np.float64)})
    wanted = wanted[graph.layers[-1].name].reshape(len(inputs), -1)
    got = run(integer, inputs).reshape(len(inputs), -1) * integer.layers[-1].scale.repeat(
        wanted.shape[1] // len(integer.layers[-1].scale)
    )
    return np.sqrt(np.square(got - wanted).mean()) / wanted.std()


@pytest.mark.parametrize("name", CASES)
def test_scores_are_close_to_float(name):
    graph, shape = float_graph(name)
    integer = quantize(graph, random_bytes(shape, 200))
    assert relative_error(graph, integer, random_bytes(shape, 100, 9)) < 0.05


def test_every_tensor_means_what_its_scale_and_zero_say():
    graph, shape = float_graph("residual")
    data = random_bytes(shape, 100)
    integer = quantize(graph, data)
    wanted = evaluate(graph.layers, {INPUT: as_chw(graph.input, data).astype(np.float64)})
    tensors = run_all(integer, data)
    assert any(layer.zero for layer in integer.layers)
    for layer in integer.layers:
        real = (tensors[layer.name] - layer.zero) * layer.scale[None, :, None, None]
        error = np.sqrt(np.square(real - wanted[layer.name]).mean()) / wanted[layer.name].std()
        assert error < 0.05, layer.name


def test_better_than_plain_rounding():
    graph, shape = float_graph("lenet")
    data, test = random_bytes(shape, 300), random_bytes(shape, 200, 9)
    options = {"weight_bits": 4, "activation_bits": 8}
    plain = QuantizeOptions(rounding="nearest", bias_correction=False, refit=None, **options)
    errors = [
        relative_error(graph, quantize(graph, data, o), test) for o in (QuantizeOptions(**options), plain)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_fewer_bits_cost_accuracy_in_order():
    graph, shape = float_graph("lenet")
    data, test = random_bytes(shape, 200), random_bytes(shape, 200, 9)
    errors = [
        relative_error(graph, quantize(graph, data, QuantizeOptions(activation_bits=b)), test)
        for b in (8, 5, 2)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_averages_over_whole_images_take_little_memory():
    """Second moments of 40,000 inputs would take 13 GB a channel."""
    pooled = graph_model([helper.make_node("GlobalAveragePool", ["x"], ["y"])], {}, (1, 2, 200, 200))
    data = random_bytes((2, 200, 200), 24)
    graph = load_graph(pooled)
    assert relative_error(graph, quantize(graph, data), data) < 0.01


def test_averages_over_whole_images_have_the_lanes_they_take():
    """6,400 values of 6 bits need 19 bits: with 18 all weights of the average were 0, and the scores constant."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "d"], ["y"]),
    ]
    constants = {
        "w": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "d": rng.normal(size=(4, 3)).astype(np.float32),
    }
    graph = load_graph(graph_model(nodes, constants, (1, 1, 82, 82)))
    data = random_bytes((1, 82, 82), 24)
    options = QuantizeOptions(activation_bits=6, lane_bits=lane_budget(graph, 6))
    assert relative_error(graph, quantize(graph, data, options), data) < 0.05
    with pytest.raises(RangeError, match="round all its weights to zero"):
        quantize(graph, data, QuantizeOptions(activation_bits=6, lane_bits=18))


def test_sums_of_too_many_products_are_refused():
    weight = np.ones((1, 1, 130, 130), np.float32)
    weight[0, 0, 0, 0] = 2
    model = graph_model([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight}, (1, 1, 131, 131))
    with pytest.raises(UnsupportedOperator, match="sum of 16,900 products"):
        quantize(load_graph(model), random_bytes((1, 131, 131), 24))


def test_lane_budgets_of_the_fewest_bits_are_lanes():
    for name in CASES:
        graph, _ = float_graph(name)
        for optimize in ("run", "deploy"):
            lanes = lane_budget(graph, activation_bits=1, input_bits=1, weight_bits=2, optimize=optimize)
            assert QuantizeOptions(lane_bits=lanes).lane_bits == lanes


@pytest.mark.parametrize("lane_bits", [14, 17, 20])
def test_lane_budget_holds(lane_bits):
    graph, shape = float_graph("residual")
    integer = quantize(
        graph, random_bytes(shape, 64), QuantizeOptions(lane_bits=lane_bits, activation_bits=6)
    )
    bounds = accumulator_bounds(integer).values()
    widths = [int((np.maximum(high, 0) - np.minimum(low, 0)).max()) for low, high in bounds]
    assert 1 << (lane_bits - 2) < max(widths) < 1 << lane_bits  # kept to, and made use of


def test_per_layer_options():
    graph, shape = float_graph("lenet")
    options = QuantizeOptions(activation_bits={"conv2": 5}, lane_bits={"conv1": 16, "dense2": 18})
    integer = quantize(graph, random_bytes(shape, 64), options)
    assert [layer.high for layer in integer.layers] == [255, 31, 255, None]
    bounds = accumulator_bounds(integer)
    assert (bounds["conv1"][1] - bounds["conv1"][0] < 1 << 16).all()
    with pytest.raises(CompileError, match=r"conv9.*conv1, conv2"):
        quantize(graph, random_bytes(shape, 64), QuantizeOptions(lane_bits={"conv9": 20}))


def test_dense_layers_share_one_shift_and_scores_one_scale():
    graph, shape = float_graph("lenet")
    integer = quantize(graph, random_bytes(shape, 64))
    for layer in integer.layers:
        if isinstance(layer.terms[0], Dense):
            assert len(set(layer.shift.tolist())) == 1
    last = integer.layers[-1]
    assert last.high is None and not last.shift.any() and len(set(last.scale.tolist())) == 1


def test_shortcuts_are_exact_multipliers():
    graph, shape = float_graph("residual")
    integer = quantize(graph, random_bytes(shape, 100))
    checked = 0
    for layer in integer.layers:
        sources = {other.name: other for other in integer.layers}
        for term in layer.terms:
            if isinstance(term, Conv) and is_uniform(term) and len(layer.terms) > 1:
                wanted = sources[term.source].scale * 2.0**layer.shift / layer.scale
                off = np.abs(term.weight.reshape(-1) - wanted) / np.maximum(wanted, 1e-9)
                assert np.median(off) < 0.01
                checked += 1
    assert checked >= 2


def test_relu6_saturates_no_later_than_six():
    graph, shape = float_graph("normalising")
    integer = quantize(graph, random_bytes(shape, 64))
    clipped = next(x for x in graph.layers if x.activation == ("clip", 0.0, 6.0))
    layer = next(x for x in integer.layers if x.name == clipped.name)
    assert (layer.scale * layer.high <= 6 + 1e-9).all()


def test_reproducible():
    graph, shape = float_graph("residual")
    data = random_bytes(shape, 64)
    a, b = quantize(graph, data), quantize(graph, data.copy())
    for x, y in zip(a.layers, b.layers, strict=True):
        assert np.array_equal(x.bias, y.bias) and np.array_equal(x.shift, y.shift)
        assert all(np.array_equal(s.weight, t.weight) for s, t in zip(x.terms, y.terms, strict=True))


def test_calibration_must_fit():
    graph = load_graph(keras_like())
    for bad in (np.zeros((0, 8, 8, 3), np.uint8), np.zeros((4, 3, 8, 8), np.uint8), np.zeros((4, 8, 8, 3))):
        with pytest.raises(CalibrationError):
            quantize(graph, bad)


def test_constant_calibration_data_still_gives_a_network():
    graph = load_graph(keras_like())
    integer = quantize(graph, np.full((8, 8, 8, 3), 7, np.uint8))
    assert run(integer, random_bytes((8, 8, 3), 4)).shape == (4, 3)


def test_impossible_lane():
    graph, shape = float_graph("lenet")
    with pytest.raises(RangeError, match=r"conv1.*lane_bits"):
        quantize(graph, random_bytes(shape, 32), QuantizeOptions(lane_bits=8))


def test_clipped_outputs_take_fewer_bits_where_the_lane_is_narrow():
    make, shape = CASES["shuffle"]
    graph = load_graph(export(randomise(make(), 5), shape))
    clipped = next(layer.name for layer in graph.layers if isinstance(layer.activation, tuple))
    integer = quantize(graph, random_bytes(shape, 64), QuantizeOptions(activation_bits=6, lane_bits=16))
    layer = next(layer for layer in integer.layers if layer.name == clipped)
    assert layer.high < 63 and (layer.scale * (layer.high - layer.zero) <= 1.5 + 1e-9).all()


@pytest.mark.parametrize(
    "options",
    [{"weight_bits": 9}, {"weight_bits": 1}, {"activation_bits": 0}, {"activation_bits": {"conv1": 9}},
     {"lane_bits": 25}, {"samples": 0}, {"rounding": "up"}, {"refit": -1.0}, {"weight_bits": True}],
)  # fmt: skip
def test_bad_options(options):
    with pytest.raises(CompileError):
        QuantizeOptions(**options)


def test_compensated_rounding_beats_nearest_on_correlated_inputs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1)) + 0.3 * rng.normal(size=(500, 12))
    x -= x.mean(axis=0)
    weight = rng.normal(0, 2, (6, 12))
    moments = x.T @ x
    better = np.square(x @ (compensated_round(weight, moments, 127) - weight).T).sum()
    assert better < 0.5 * np.square(x @ (np.rint(weight) - weight).T).sum()


def test_sampled_positions_are_spread_over_all_columns():
    at = sample_positions((10, 32, 32), 1024)
    assert len(at.row) <= 1024 and len(set(at.column.tolist())) == 32 and len(set(at.sample.tolist())) == 10


# --- real networks ----------------------------------------------------------------------------


def cifar(split, count):
    parquet = pytest.importorskip("pyarrow.parquet")
    image = pytest.importorskip("PIL.Image")
    table = parquet.read_table(SHARED / "data" / "cifar10" / f"{split}.parquet").slice(0, count)
    pictures = [np.asarray(image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB"))
                for row in table.select(["img"]).to_pylist()]  # fmt: skip
    return np.stack(pictures), np.array(table["label"].to_pylist())


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_lenet_keeps_its_accuracy_in_narrow_lanes():
    graph = load_graph(SHARED / "models" / "lenet_cifar10_trained.onnx", preprocess=(1 / 127.5, -1.0))
    calibration = cifar("train", 1000)[0].transpose(0, 3, 1, 2)
    lanes = {"conv1": 18, "conv2": 18, "dense1": 21, "dense2": 21, "dense3": 21}
    integer = quantize(graph, calibration, QuantizeOptions(activation_bits=6, lane_bits=lanes))
    images, labels = cifar("test", 1000)
    inputs = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    right = (run(integer, inputs).argmax(axis=1) == labels).mean()
    assert right >= (run_graph(graph, inputs).argmax(axis=1) == labels).mean() - 0.01


def test_an_output_that_hardly_varies_leaves_the_others_their_steps():
    """One channel of a linear layer stands still below zero, the others vary above it."""
    scale = np.array([1e-4, 1.0, 2.0], np.float32)
    constants = {
        "w": np.diag(scale)[:, :, None, None], "b": np.array([-0.4, -0.2, 3.0], np.float32),
        "v": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Identity", ["c"], ["i"]),
        helper.make_node("Conv", ["i", "v"], ["d"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "v"], ["e"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["d", "e"], ["y"]),
    ]
    graph = load_graph(graph_model(nodes, constants))
    data = random_bytes((3, 8, 8), 40)
    assert relative_error(graph, quantize(graph, data, QuantizeOptions(activation_bits=6)), data) < 0.05
