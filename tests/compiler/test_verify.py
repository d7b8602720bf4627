"""A compiler that went wrong says so, and where, instead of returning a program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_bench.inputs import hard_inputs
from graphs import draw_input
from models import export, random_bytes, randomise
from torch import nn

from fedvm.compiler import CompileOptions, compile_integer, compile_model
from fedvm.compiler import reference as reference_module
from fedvm.compiler.canonical import canonical
from fedvm.compiler.compiled import units_of
from fedvm.compiler.culprit import read_state, wrong_layer_of_program
from fedvm.compiler.errors import ExactnessError
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import run_all
from fedvm.compiler.kernels import conv, dense, fold, packed, scores
from fedvm.compiler.layout import plan_layers
from fedvm.compiler.link import measured_steps
from fedvm.compiler.probe import Program, probe_inputs
from fedvm.compiler.stages import Planner, link_cuts
from fedvm.compiler.steps import Measurer
from fedvm.compiler.verify import verify
from fedvm.evm import opcodes


def network() -> IntegerGraph:
    rng = np.random.default_rng(3)

    def weights(*shape):
        return rng.integers(-40, 41, shape)

    def layer(name, term, bias, shift, shape, high: int | None = 63, pool=None):
        return IntegerLayer(name, (term,), np.full(shape[0], bias), np.full(shape[0], shift), shape,
                            np.ones(shape[0]), 0, high, pool)  # fmt: skip

    return IntegerGraph(
        draw_input((2, 6, 20), "HWC"),
        (
            layer("first", Conv(INPUT, weights(3, 2, 3, 3), pads=(1, 1, 1, 1)), 900, 9, (3, 6, 20)),
            layer("second", Conv("first", weights(3, 3, 3, 3)), 900, 8, (3, 2, 9), pool=MaxPool((2, 2), (2, 2))),
            layer("third", Dense("second", weights(30, 54)), 500, 7, (30, 1, 1)),
            layer("scores", Dense("third", weights(4, 30)), 0, 0, (4, 1, 1), None),
        ),
    )  # fmt: skip


def compiled(**options):
    graph = network()
    return compile_integer(graph, options=CompileOptions(**options), calibration=hard_inputs(graph, 10, 0))


def test_a_right_program_passes():
    for options in ({}, {"optimize": "deploy"}):
        assert compiled(**options).units


def wrong_weights(monkeypatch, layer: str) -> None:
    right = conv.weight_word

    def weight_word(plan, tap, output):
        word = right(plan, tap, output)
        return word + (plan.layer.name == layer and word != 0 and output == 1)

    monkeypatch.setattr(conv, "weight_word", weight_word)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_a_wrong_convolution_is_named(monkeypatch, layer):
    wrong_weights(monkeypatch, layer)
    with pytest.raises(ExactnessError, match=rf"predict.* differs .* first in layer '{layer}'.*report it"):
        compiled()


def test_a_wrong_program_is_returned_to_those_alone_who_compare_hashes(monkeypatch):
    right = compiled().codes
    wrong_weights(monkeypatch, "first")
    assert compiled(verify=False).codes != right


@pytest.mark.parametrize("optimize", ["run", "deploy"])
def test_a_wrong_dense_layer_is_named(monkeypatch, optimize):
    right = dense.initial
    monkeypatch.setattr(dense, "initial", lambda plan, word: right(plan, word) + (1 << 9))
    monkeypatch.setattr(packed, "initial", dense.initial)
    with pytest.raises(ExactnessError, match="first in layer 'third'"):
        compiled(optimize=optimize)


def test_wrong_scores_are_named_after_their_layer(monkeypatch):
    right = scores._emit_score
    monkeypatch.setattr(scores, "_emit_score", lambda a, view, offset, bit: right(a, view, offset + 1, bit))
    with pytest.raises(ExactnessError, match="first in layer 'scores'"):
        compiled()


def test_a_wrong_class_is_found(monkeypatch):
    monkeypatch.setitem(opcodes.OPCODES, "SGT", opcodes.OPCODES["SLT"])
    with pytest.raises(ExactnessError, match=r"classify\(bytes\) differs"):
        compiled()


def test_wrong_gas_is_found(monkeypatch):
    dear = replace(opcodes.OPCODES["MUL"], gas=opcodes.OPCODES["MUL"].gas + 1)
    monkeypatch.setitem(opcodes.OPCODES, "MUL", dear)
    with pytest.raises(ExactnessError, match="gas, not the"):
        compiled()


def staged() -> int:
    """Verify the network with a stage for every step; the inputs that were tried."""
    graph = network()
    plan = plan_layers(canonical(graph))
    measure = Measurer(plan)
    steps = measured_steps(plan, measure)
    stages = link_cuts(Planner(plan, steps, "ethereum"), range(len(steps) + 1), measure)
    whole = compile_integer(graph, options=CompileOptions(verify=False))
    program = replace(whole, stages=tuple(units_of(stage.linked.contracts) for stage in stages))
    return verify(program, graph, plan, None)


def test_stages_are_tried_too(monkeypatch):
    assert staged() > 6
    right = fold.emit_fold
    # the state between them is folded wrongly, and the proof of that is switched off
    monkeypatch.setattr("fedvm.compiler.state.prove_fold", lambda folded: None)
    monkeypatch.setattr(
        "fedvm.compiler.state.emit_fold",
        lambda a, folded, source, target: right(a, replace(folded, bits=folded.bits - 1), source, target),
    )
    with pytest.raises(
        ExactnessError, match=r"the program in stages differs .* first in layer '(input|first)'"
    ):
        staged()


def test_a_wrong_reference_is_found(monkeypatch):
    right = reference_module._max_pool
    monkeypatch.setattr(
        reference_module, "_max_pool", lambda w, pool, x: right(w, pool, w.add("Add", [x, w.floats(128)]))
    )
    with pytest.raises(
        ExactnessError, match=r"ONNX Runtime on the reference differs .* first in layer 'second'"
    ):
        compiled()


def test_models_are_verified_too(monkeypatch):
    module = randomise(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)), 1)
    model, data = export(module, (1, 8, 8)), random_bytes((1, 8, 8), 24)
    right = conv.weight_word
    monkeypatch.setattr(conv, "weight_word", lambda plan, tap, output: right(plan, tap, output) + 1)
    with pytest.raises(ExactnessError, match="first in layer 'conv1'"):
        compile_model(model, data)
    assert compile_model(model, data, verify=False).units


# -- its parts --------------------------------------------------------------------------------------------------------


def test_every_kind_of_input_is_tried():
    spec = network().input
    calibration = random_bytes(spec.onnx_shape, 5, seed=9)
    inputs = probe_inputs(spec.onnx_shape, calibration, 7).reshape(-1, 240)
    assert len(inputs) == 7 and inputs.dtype == np.uint8
    assert not inputs[0].any() and (inputs[1] == 255).all()
    assert len(np.unique(inputs[2])) > 50 and set(np.unique(inputs[3])) == {0, 255}
    assert (inputs[4] != 0).sum() == 1 and (inputs[5] != 255).sum() == 1
    assert np.array_equal(inputs[6], calibration[0].reshape(-1))
    assert len(probe_inputs(spec.onnx_shape, None, 7)) == 6
    many = probe_inputs(spec.onnx_shape, calibration, 27)
    assert len(many) == 27 and np.array_equal(many, probe_inputs(spec.onnx_shape, calibration, 27))


@pytest.mark.parametrize("optimize", ["run", "deploy"])
def test_states_are_read_as_the_interpreter_computes_them(optimize):
    graph = network()
    plan = plan_layers(canonical(graph), optimize)
    measure = Measurer(plan)
    steps = measured_steps(plan, measure)
    planner = Planner(plan, steps, "ethereum")
    inputs = hard_inputs(graph, 3, 0)
    wanted = run_all(graph, inputs)
    seen = set()
    for number, row in enumerate(inputs):
        state = row.tobytes()
        for cut, stage in enumerate(link_cuts(planner, range(len(steps) + 1), measure)[:-1], start=1):
            state = Program(units_of(stage.linked.contracts)).call(state).output
            for tensor, found in read_state(planner.state(cut), state):
                seen.add(tensor)
                assert np.array_equal(found.reshape(-1), wanted[tensor][number].reshape(-1))
    assert seen == {INPUT, "first", "second", "third"}
    # nothing is wrong, so the search ends at the scores
    assert wrong_layer_of_program(plan, graph, inputs) == "scores"
