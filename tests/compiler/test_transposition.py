"""Lanes along the height of the maps: the same scores from the same bytes, at less gas where maps are tall."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from building import AIMS, compile_or_skip
from evm import Machine
from exact_bench.inputs import hard_inputs
from exact_bench.stages import cut_everywhere, staged_scores
from graphs import draw_input, networks
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from models import export, random_bytes, randomise
from test_program import assert_right
from torch import nn

from fedvm.compiler import CompileOptions, compile_integer, compile_model, planning
from fedvm.compiler.compiled import units_of
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool, ScoreMap
from fedvm.compiler.interpreter import run
from fedvm.compiler.transposition import is_symmetric, transposed

FEW = settings(
    max_examples=30, phases=(Phase.generate,), deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@contextmanager
def along(turn: Callable[[IntegerGraph], IntegerGraph]) -> Iterator[None]:
    """The compiler with lanes along the width of what `turn` makes of the network, whatever that costs."""
    with mock.patch.object(planning, "candidates", lambda graph, optimize: [(turn(graph), optimize)]):
        yield


def tall(layout: str, height: int = 30, width: int = 3, scores: ScoreMap | None = None) -> IntegerGraph:
    """Strides, uneven padding, a dilated kernel, a depthwise one, a pool and a flattened map, or a map of scores."""
    rng = np.random.default_rng(8)

    def layer(name, term, shape, high: int | None = 63, pool=None, shift=9):
        shifts = np.full(shape[0], shift if high else 0)
        bias = rng.integers(-99, 900, shape[0])
        return IntegerLayer(name, (term,), bias, shifts, shape, np.ones(shape[0]), 0, high, pool)

    def weights(*shape):
        return rng.integers(-60, 61, shape)

    dilated = np.zeros((3, 4, 5, 2), np.int64)
    dilated[:, :, ::2] = weights(3, 4, 3, 2)
    rows = height // 2 - 4
    layers = [
        layer("a", Conv(INPUT, weights(4, 2, 4, 2), (2, 1), (1, 0, 2, 1), 9), (4, height // 2, width)),
        layer("b", Conv("a", dilated, pads=(0, 1, 0, 0)), (3, rows, width)),
        layer("c", Conv("b", weights(3, 1, 3, 1), pads=(1, 0, 1, 0), groups=3), (3, rows // 2, width),
              pool=MaxPool((2, 1), (2, 1)), shift=5),
    ]  # fmt: skip
    if scores is None:
        dense = Dense("c", weights(4, 3 * (rows // 2) * width))
        return IntegerGraph(
            draw_input((2, height, width), layout), (*layers, layer("d", dense, (4, 1, 1), None))
        )
    last = layer("d", Conv("c", weights(2, 3, 1, 1)), (2, rows // 2, width), None)
    return IntegerGraph(draw_input((2, height, width), layout), (*layers, last), scores=scores)


@FEW
@given(networks(), st.permutations((0, 1, 2)), st.integers(0, 2**32 - 1))
def test_the_scores_stay_the_same(graph, order, seed):
    graph = replace(graph, scores=ScoreMap(tuple(order)))
    inputs = hard_inputs(graph, 12, seed)
    assert np.array_equal(run(transposed(graph), inputs), run(graph, inputs))
    back = transposed(transposed(graph))
    assert back.input.layout == graph.input.layout and back.scores == graph.scores
    for old, new in zip(graph.layers, back.layers, strict=True):
        assert (old.shape, old.pool) == (new.shape, new.pool)
        assert all(np.array_equal(a.weight, b.weight) for a, b in zip(old.terms, new.terms, strict=True))


@pytest.mark.slow
@FEW
@given(networks(), st.sampled_from(AIMS), st.integers(0, 2**32 - 1))
def test_random_networks_along_the_height(graph, optimize, seed):
    with along(transposed):
        model = compile_or_skip(graph, optimize)
    assert model.manifest["lanes_along"] == "height"
    inputs = hard_inputs(graph, 12, seed)
    assert_right(model, inputs, run(graph, inputs))


@pytest.mark.parametrize(
    ("layout", "scores"),
    [("CHW", None), ("HWC", None), ("HWC", ScoreMap((1, 2, 0))), ("CHW", ScoreMap((2, 0, 1)))],
)
def test_tall_maps_cost_less_along_the_height(layout, scores):
    graph = tall(layout, scores=scores)
    chosen = compile_integer(graph)
    with along(lambda graph: graph):
        across = compile_integer(graph)
    assert (chosen.manifest["lanes_along"], across.manifest["lanes_along"]) == ("height", "width")
    assert chosen.manifest["gas"]["evm"] < 0.7 * across.manifest["gas"]["evm"]
    # what a client sees is the same: the reference, the input, the output, the shapes of layers
    for key in ("reference_sha256", "input", "output", "macs"):
        assert chosen.manifest[key] == across.manifest[key]
    shapes = [[row["shape"] for row in model.manifest["layers"]] for model in (chosen, across)]
    assert shapes[0] == shapes[1]
    inputs = hard_inputs(graph, 24, 1)
    assert_right(chosen, inputs, run(graph, inputs))
    assert np.array_equal(Machine(across).predict(inputs), Machine(chosen).predict(inputs))


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_stages_along_the_height(layout):
    graph = tall(layout, 22, 2)
    inputs = hard_inputs(graph, 8, 2)
    with along(transposed):
        units = [units_of(stage.linked.contracts) for stage in cut_everywhere(graph, halve=True)]
    assert np.array_equal(staged_scores(units, inputs), run(graph, inputs).reshape(8, -1))


def test_wide_maps_keep_their_width():
    graph = transposed(tall("CHW"))
    wide = replace(graph, input=replace(draw_input(graph.input.shape, "CHW")))
    assert compile_integer(wide).manifest["lanes_along"] == "width"


def test_equal_axes_are_planned_once():
    square = tall("CHW", 22, 22)
    assert not is_symmetric(square)  # its kernels are taller than wide
    graph = IntegerGraph(draw_input((2, 5, 5), "CHW"), (
        IntegerLayer("s", (Conv(INPUT, np.ones((1, 2, 5, 5), np.int64)),), np.zeros(1, np.int64), np.zeros(1, np.int64),
                     (1, 1, 1), np.ones(1), 0, None),))  # fmt: skip
    assert is_symmetric(graph) and len(list(planning.candidates(graph, "run"))) == 1


def test_a_float_model_gets_lanes_for_its_height():
    """Bits are chosen for the axis along which lanes will lie, and the same file gives the same code."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, (6, 2), (2, 1)), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.ReLU(),
        nn.AvgPool2d((17, 3)), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    shape = (1, 38, 4)
    file, data = export(randomise(module, 4), shape), random_bytes(shape, 64)
    model = compile_model(file, data)
    assert model.manifest["lanes_along"] == "height"
    assert model.codes == compile_model(file, data, verify=False).codes
    lanes = {row["name"]: row["L"] for row in model.manifest["layers"]}
    assert lanes["conv3"] <= 19, "a row of 17 in lanes for the width of 3 takes twice the words"
    assert_right(model, random_bytes(shape, 24, 1))


def test_less_code_is_never_more_code():
    """With "deploy" a program is no longer than that for little gas."""
    for graph in (tall("CHW"), tall("HWC", 22, 5)):
        little, run_ = (
            compile_integer(graph, options=CompileOptions(optimize=aim)) for aim in ("deploy", "run")
        )
        assert little.manifest["code_bytes"] <= run_.manifest["code_bytes"]
