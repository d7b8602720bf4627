"""Emitted programs give the integer network's scores to the bit and cost the gas that was predicted, to the unit."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from building import AIMS, compile_or_skip
from evm import CLASSIFY, PREDICT, Machine, encode
from exact_bench.inputs import hard_inputs
from graphs import big_network, draw_input, networks
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from models import CASES, export, keras_like, random_bytes, randomise
from onnxruntime import InferenceSession, SessionOptions

from fedvm.compiler import (
    CompileError,
    CompileOptions,
    RangeError,
    UnsupportedOperator,
    compile_integer,
    compile_model,
)
from fedvm.compiler.compiled import CompiledModel
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import run

QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
}


def reference_scores(model: CompiledModel, inputs):
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = InferenceSession(model.reference.SerializeToString(), options)
    return session.run(["scores"], {"input": inputs})[0].reshape(len(inputs), -1)


def assert_gas(model: CompiledModel, machine: Machine, inputs):
    """The charged gas is the predicted one, whatever the input."""
    gas = model.manifest["gas"]
    for row in inputs:
        for selector, predicted in ((PREDICT, gas["evm"]), (CLASSIFY, gas["classify"])):
            outcome = machine.cold(encode(selector, row.tobytes()))
            assert outcome.returned and outcome.gas == predicted


def assert_right(model: CompiledModel, inputs, expected=None):
    """Program = ONNX Runtime (= interpreter), classes are the first largest scores, gas as predicted."""
    machine = Machine(model)
    scores = machine.predict(inputs)
    assert np.array_equal(scores, reference_scores(model, inputs))
    if expected is not None:
        assert np.array_equal(scores, expected.reshape(len(inputs), -1))
    few = inputs[: max(4, len(inputs) // 8)]
    assert np.array_equal(machine.classify(few), scores[: len(few)].argmax(axis=1))
    assert_gas(model, machine, inputs[:2])


# -- any network ----------------------------------------------------------------------------------------------------


def check_network(graph: IntegerGraph, optimize: str, seed: int) -> None:
    model = compile_or_skip(graph, optimize)
    inputs = hard_inputs(graph, 16, seed)
    assert_right(model, inputs, run(graph, inputs))


@settings(max_examples=40, phases=(Phase.generate, Phase.shrink), **QUIET)
@given(networks(), st.sampled_from(AIMS), st.integers(0, 2**32 - 1))
def test_random_networks(graph, optimize, seed):
    check_network(graph, optimize, seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=400, phases=(Phase.generate, Phase.shrink), **QUIET)
@given(networks(), st.sampled_from(AIMS), st.integers(0, 2**32 - 1))
def test_many_random_networks(graph, optimize, seed):
    check_network(graph, optimize, seed)


@settings(max_examples=15, phases=(Phase.generate,), **QUIET)
@given(networks(widest=130), st.integers(0, 2**32 - 1))
def test_wide_images(graph, seed):
    assume(graph.input.shape[2] > 40)
    model = compile_or_skip(graph)
    inputs = hard_inputs(graph, 8, seed)
    assert_right(model, inputs, run(graph, inputs))


@settings(max_examples=30, phases=(Phase.generate,), **QUIET)
@given(networks(), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_networks_that_see_the_top_bits(graph, bits, seed):
    graph = replace(graph, input_high=2**bits - 1, layers=tuple(_padding_within(graph, 2**bits - 1)))
    model = compile_or_skip(graph)
    inputs = hard_inputs(graph, 12, seed)
    assert_right(model, inputs, run(graph, inputs))


def _padding_within(graph: IntegerGraph, high: int):
    for layer in graph.layers:
        terms = tuple(
            replace(t, pad_value=min(int(t.pad_value), high))
            if isinstance(t, Conv) and t.source == INPUT
            else t
            for t in layer.terms
        )
        yield replace(layer, terms=terms)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_inputs():
    """≥ 100,000 inputs over ≥ 1,000 networks; `FEDVM_INPUTS` sets another number."""
    goal = int(os.environ.get("FEDVM_INPUTS", "100000"))
    compared, programs = 0, 0

    @settings(max_examples=goal // 80, phases=(Phase.generate,), **QUIET)
    @given(networks(), st.sampled_from(AIMS), st.integers(0, 2**32 - 1))
    def compare(graph, optimize, seed):
        nonlocal compared, programs
        model = compile_or_skip(graph, optimize)
        inputs = hard_inputs(graph, 96, seed)
        assert_right(model, inputs, run(graph, inputs))
        compared += len(inputs)
        programs += 1

    compare()
    print(f"{compared} inputs of {programs} programs compared")
    assert compared >= goal and programs >= goal // 100


def score_layer(*terms, outputs=2, shape=None, pool=None):
    shape = shape or (outputs, 1, 1)
    return IntegerLayer(
        "scores", terms, np.zeros(outputs, np.int64), np.zeros(outputs, np.int64), shape, np.ones(outputs), 0, None,
        pool,
    )  # fmt: skip


def one_layer(size, *terms, **more) -> IntegerGraph:
    return IntegerGraph(draw_input(size, "CHW"), (score_layer(*terms, **more),))


def ones(*shape):
    return np.ones(shape, np.int64)


# -- networks that were wrong once ----------------------------------------------------------------------------------


def inner_layer(name, terms, outputs, shape, *, shift=0, high=255, bias=0, pool=None):
    return IntegerLayer(
        name, terms, np.full(outputs, bias), np.full(outputs, shift), shape, np.ones(outputs), 0, high, pool
    )


def weights(*shape, seed=5):
    return np.random.default_rng(seed).integers(-127, 128, shape)


def two_readers() -> IntegerGraph:
    """One tensor read with padding on the right, and without any but another padding value."""
    left = Conv(INPUT, weights(2, 1, 1, 2), pads=(0, 0, 0, 1), pad_value=200)
    right = Conv(INPUT, weights(2, 1, 1, 1, seed=6))
    return one_layer((1, 3, 7), right, left, shape=(2, 3, 7))


def shared_words() -> IntegerGraph:
    """Words as they come out of the lanes lack the columns that the next layer's kernel reads past them."""
    first = inner_layer(
        "a", (Conv(INPUT, weights(2, 1, 4, 3), (2, 1), (0, 0, 0, 1), 0, 2),), 2, (2, 3, 30), shift=10
    )
    second = inner_layer("b", (Conv("a", weights(5, 2, 2, 2)),), 5, (5, 2, 29), shift=10)
    scores = score_layer(Dense("b", weights(8, 290)), outputs=8)
    return IntegerGraph(draw_input((2, 9, 31), "CHW"), (first, second, scores))


def followed_by_scores(shape, layer, outputs=3) -> IntegerGraph:
    size = int(np.prod(layer.shape))
    return IntegerGraph(
        draw_input(shape, "CHW"),
        (layer, score_layer(Dense(layer.name, weights(outputs, size)), outputs=outputs)),
    )


def different_offsets() -> IntegerGraph:
    """Scores whose least values lie far apart."""
    graph = one_layer((4, 1, 2), Conv(INPUT, ones(4, 1, 1, 1), groups=4), outputs=4, shape=(4, 1, 2))
    return replace(graph, layers=(replace(graph.layers[0], bias=np.array([-243, -131, -24, 57])),))


def small_sums() -> IntegerGraph:
    """A layer that cannot reach its own upper bound, and whose lanes its reader masks with that bound."""
    bit = inner_layer("a", (Conv(INPUT, ones(1, 1, 1, 1)),), 1, (1, 1, 9), shift=7, high=1)
    copy = inner_layer("b", (Conv("a", ones(1, 1, 1, 1)),), 1, (1, 1, 9), high=15, bias=1)
    return IntegerGraph(
        draw_input((1, 1, 9), "CHW"), (bit, copy, score_layer(Dense("b", weights(3, 9)), outputs=3))
    )


WRONG_ONCE = {
    "scores of different offsets": different_offsets(),
    "a pool over the scores": one_layer((1, 1, 8), Conv(INPUT, weights(2, 1, 1, 1)), shape=(2, 1, 4),
                                        pool=MaxPool((1, 2), (1, 2))),
    "nothing but zeros": one_layer((1, 1, 8), Conv(INPUT, 0 * weights(2, 1, 1, 3)), shape=(2, 1, 6)),
    "zeros before a layer": followed_by_scores(
        (1, 3, 3), inner_layer("a", (Conv(INPUT, 0 * weights(2, 1, 2, 2)),), 2, (2, 2, 2), bias=3)),
    "sums smaller than their bound": small_sums(),
    "sums that are never positive": followed_by_scores(
        (1, 2, 5), inner_layer("a", (Conv(INPUT, -ones(1, 1, 2, 2)),), 1, (1, 1, 4), shift=3, high=15, bias=-900)),
    "a shift beyond the lane": followed_by_scores(
        (1, 2, 5), inner_layer("a", (Conv(INPUT, ones(1, 1, 2, 2)),), 1, (1, 1, 4), shift=18, high=15)),
    "two readers, two paddings": two_readers(),
    "words shared with a wider kernel": shared_words(),
    "wide rows of narrow lanes": IntegerGraph(draw_input((1, 2, 39), "CHW"), (
        inner_layer("a", (Conv(INPUT, ones(1, 1, 1, 1)),), 1, (1, 2, 39), shift=2, high=63),
        score_layer(Conv("a", weights(2, 1, 2, 4)), shape=(2, 1, 36)))),
    "rows of many words": IntegerGraph(draw_input((1, 4, 120), "CHW"), (
        inner_layer("a", (Conv(INPUT, weights(2, 1, 4, 4), (1, 3), (0, 2, 0, 0)),), 2, (2, 1, 40), shift=14, high=7),
        score_layer(Conv("a", weights(2, 2, 1, 1)), shape=(2, 1, 40)))),
    "a padded pool": followed_by_scores(
        (1, 5, 5), inner_layer("a", (Conv(INPUT, weights(2, 1, 2, 2)),), 2, (2, 2, 2), shift=8,
                               pool=MaxPool((3, 3), (2, 2), (1, 1, 1, 1)))),
    "a convolution of a vector": IntegerGraph(draw_input((6, 1, 1), "CHW"), (
        inner_layer("a", (Dense(INPUT, weights(4, 6)),), 4, (4, 1, 1), shift=9),
        inner_layer("b", (Conv("a", weights(6, 2, 3, 3), pads=(1, 1, 1, 1), pad_value=7, groups=2),), 6, (6, 1, 1),
                    shift=9),
        score_layer(Dense("b", weights(3, 6)), outputs=3))),
}  # fmt: skip


@pytest.mark.parametrize("optimize", AIMS)
@pytest.mark.parametrize("name", WRONG_ONCE)
def test_networks_that_were_wrong_once(name, optimize):
    graph = WRONG_ONCE[name]
    model = compile_integer(graph, options=CompileOptions(optimize=optimize))
    inputs = hard_inputs(graph, 24, 0)
    assert_right(model, inputs, run(graph, inputs))


# -- whole models ---------------------------------------------------------------------------------------------------


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("name", CASES)
def test_float_models(name):
    make, shape = CASES[name]
    model = compile_model(export(randomise(make(), 3), shape), random_bytes(shape, 64))
    assert_right(model, random_bytes(shape, 24, 1))


def test_channels_last_model():
    model = compile_model(keras_like(), random_bytes((8, 8, 3), 64))
    assert_right(model, random_bytes((8, 8, 3), 24, 1))


@pytest.mark.parametrize("optimize", ["run", "deploy"])
def test_a_program_of_several_contracts(optimize):
    graph = big_network()
    model = compile_integer(graph, options=CompileOptions(optimize=optimize))
    assert len(model.codes) > 2
    inputs = hard_inputs(graph, 12, 0)
    assert_right(model, inputs, run(graph, inputs))


# -- what cannot be compiled ----------------------------------------------------------------------------------------


REFUSED = {
    "a pool over the scores that is wider than a word": (
        one_layer((1, 90, 90), Conv(INPUT, ones(2, 1, 1, 1)), shape=(2, 1, 1), pool=MaxPool((90, 90), (90, 90))),
        RangeError, "a window of 90 columns of 9 bits, 1 lanes apart, does not fit a 256-bit word",
    ),
    "sums beyond float32": (
        one_layer((1, 1, 1000), Dense(INPUT, 127 * ones(2, 1000))),
        RangeError, "an accumulator may reach",
    ),
    "different strides in one sum": (
        one_layer((1, 4, 4), Conv(INPUT, ones(2, 1, 1, 1), (2, 2)), Conv(INPUT, ones(2, 1, 3, 3)), shape=(2, 2, 2)),
        UnsupportedOperator, "different strides",
    ),
    "a padded pool over the scores": (
        one_layer(
            (1, 4, 4), Conv(INPUT, ones(2, 1, 1, 1)), shape=(2, 3, 3), pool=MaxPool((2, 2), (2, 2), (1, 1, 1, 1))
        ),
        UnsupportedOperator, "MaxPool with padding",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_layer(name):
    graph, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message) as caught:
        compile_integer(graph)
    assert isinstance(caught.value, CompileError) and "scores" in str(caught.value)
