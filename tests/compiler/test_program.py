"""Emitted programs give the integer network's scores to the bit and cost the gas that was predicted, to the unit."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from evm import CLASSIFY, PREDICT, Machine, encode
from graphs import draw_input, hard_inputs, networks
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from models import CASES, export, keras_like, random_bytes, randomise
from onnxruntime import InferenceSession, SessionOptions

from fedvm.compiler import CompileError, RangeError, UnsupportedOperator, compile_integer, compile_model
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


def compile_or_skip(graph: IntegerGraph) -> CompiledModel:
    """The program. Only clear refusals are let through, and they are counted."""
    try:
        return compile_integer(graph)
    except RangeError as error:
        assert "float32" in str(error) or "do not fit a 256-bit word" in str(error)
        event("refused: range")
    except UnsupportedOperator as error:
        event(f"refused: {str(error).split(':')[-1]}")
    assume(False)
    raise AssertionError


# -- any network ----------------------------------------------------------------------------------------------------


@settings(max_examples=120, phases=(Phase.generate, Phase.shrink), **QUIET)
@given(networks(), st.integers(0, 2**32 - 1))
def test_random_networks(graph, seed):
    model = compile_or_skip(graph)
    inputs = hard_inputs(graph, 16, seed)
    assert_right(model, inputs, run(graph, inputs))


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
    @given(networks(), st.integers(0, 2**32 - 1))
    def compare(graph, seed):
        nonlocal compared, programs
        model = compile_or_skip(graph)
        inputs = hard_inputs(graph, 96, seed)
        assert_right(model, inputs, run(graph, inputs))
        compared += len(inputs)
        programs += 1

    compare()
    print(f"{compared} inputs of {programs} programs compared")
    assert compared >= goal and programs >= goal // 100


# -- whole models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_float_models(name):
    make, shape = CASES[name]
    model = compile_model(export(randomise(make(), 3), shape), random_bytes(shape, 64))
    assert_right(model, random_bytes(shape, 24, 1))


def test_channels_last_model():
    model = compile_model(keras_like(), random_bytes((8, 8, 3), 64))
    assert_right(model, random_bytes((8, 8, 3), 24, 1))


def test_a_program_of_several_contracts():
    graph = big_network()
    model = compile_integer(graph)
    assert len(model.codes) > 2
    inputs = hard_inputs(graph, 12, 0)
    assert_right(model, inputs, run(graph, inputs))


def big_network() -> IntegerGraph:
    """A network whose weights do not fit two contracts, with a residual sum across contracts."""
    rng = np.random.default_rng(7)

    def weights(*shape):
        return rng.integers(-127, 128, shape)

    def layer(name, terms, outputs, shape, high: int | None = 63, pool=None):
        shift = np.full(outputs, 0 if high is None else 12)
        return IntegerLayer(
            name, terms, rng.integers(-999, 999, outputs), shift, shape, np.ones(outputs), 0, high, pool
        )

    identity = Conv("a", np.full((12, 1, 1, 1), 64), groups=12)
    return IntegerGraph(
        draw_input((3, 12, 12), "CHW"),
        (
            layer("a", (Conv(INPUT, weights(12, 3, 3, 3), pads=(1, 1, 1, 1)),), 12, (12, 12, 12)),
            layer("b", (Conv("a", weights(24, 12, 3, 3), pads=(1, 1, 1, 1), pad_value=3),), 24, (24, 12, 12)),
            layer("c", (Conv("b", weights(12, 24, 3, 3), pads=(1, 1, 1, 1)), identity), 12, (12, 6, 6),
                  pool=MaxPool((2, 2), (2, 2))),
            layer("d", (Dense("c", weights(40, 432)),), 40, (40, 1, 1)),
            layer("e", (Dense("d", weights(10, 40)),), 10, (10, 1, 1), None),
        ),
    )  # fmt: skip


# -- what cannot be compiled ----------------------------------------------------------------------------------------


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


REFUSED = {
    "a kernel row wider than a word": (
        one_layer((1, 1, 60), Conv(INPUT, ones(2, 1, 1, 60))),
        RangeError, "60 taps of 14 bits do not fit a 256-bit word",
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
