"""Programs in stages: the same scores to the bit, the gas that was predicted, and cuts within the limit."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from evm import Machine, Outcome, address_of, call, fresh, scores_of
from exact_bench.inputs import hard_inputs
from exact_bench.stages import cut_everywhere
from graphs import networks
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from models import CASES, export, keras_like, random_bytes, randomise
from numpy.typing import NDArray
from torch import nn

from fedvm.compiler import CompileError, compile_model
from fedvm.compiler.compiled import CompiledModel, Unit, units_of
from fedvm.compiler.dispatch import WRONG_LENGTH
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.interpreter import run
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.scanner import UNLINKED, scan


class StageMachine:
    """Stages in EVMs of their own, every account cold."""

    def __init__(self, stages: list[tuple[Unit, ...]]) -> None:
        self._codes = []
        for units in stages:
            addresses = {unit.name: address_of(i) for i, unit in enumerate(units)}
            self._codes.append([unit.linked(addresses) for unit in units])

    def stage(self, number: int, state: bytes, gas: int = 10**9) -> Outcome:
        codes = self._codes[number]
        return call(fresh(codes), len(codes) - 1, state, gas)

    def run(self, data: bytes) -> list[Outcome]:
        """The outcome of every stage, each on what the one before returned."""
        outcomes: list[Outcome] = []
        for number in range(len(self._codes)):
            outcomes.append(self.stage(number, outcomes[-1].data if outcomes else data))
            assert outcomes[-1].returned, (number, outcomes[-1])
        return outcomes

    def predict(self, inputs: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.stack([scores_of(self.run(row.tobytes())[-1].data) for row in inputs])


SHAPE = (3, 16, 16)
LIMIT = 900_000


def wide_model() -> nn.Module:
    """A network of some 1,100,000 gas whose tensors are worth keeping."""
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Conv2d(24, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5)]
    return randomise(nn.Sequential(*layers), 3)


def deep_model() -> nn.Module:
    """Small tensors, and layers that cost more than a stage may."""
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10),
        ),
        4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def staged() -> CompiledModel:
    return compile_model(export(wide_model(), SHAPE), random_bytes(SHAPE, 24), max_gas=LIMIT)


QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
    "phases": (Phase.generate, Phase.shrink),
}


@pytest.mark.slow
@settings(max_examples=75, **QUIET)
@given(networks(), st.booleans(), st.sampled_from(["run", "deploy"]), st.integers(0, 2**32 - 1))
def test_random_networks_cut_after_every_step(graph, halve, optimize, seed):
    try:
        stages = cut_everywhere(graph, halve, optimize)
    except CompileError as error:
        event(f"refused: {type(error).__name__}")
        assume(False)
        raise
    machine = StageMachine([units_of(stage.linked.contracts) for stage in stages])
    inputs = hard_inputs(graph, 4, seed)
    assert np.array_equal(machine.predict(inputs), run(graph, inputs).reshape(len(inputs), -1))
    outcomes = machine.run(inputs[0].tobytes())
    assert [o.gas for o in outcomes] == [stage.linked.gas for stage in stages]
    assert [len(o.data) for o in outcomes] == [stage.gives for stage in stages]
    for stage in stages:
        for contract in stage.linked.contracts:
            scan(contract.code, parts=(UNLINKED,))


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("name", [*CASES, "keras"])
def test_networks_as_people_write_them(name):
    if name == "keras":
        model, shape = keras_like(), (8, 8, 3)
    else:
        make, shape = CASES[name]
        model = export(randomise(make(), 5), shape)
    inputs = random_bytes(shape, 12)
    graph = quantize(load_graph(model), inputs, QuantizeOptions())
    machine = StageMachine([units_of(stage.linked.contracts) for stage in cut_everywhere(graph, halve=True)])
    assert np.array_equal(machine.predict(inputs), run(graph, inputs).reshape(len(inputs), -1))


def test_scores_and_gas_are_those_predicted(staged):
    inputs = random_bytes(SHAPE, 20, seed=1)
    machine = StageMachine(list(staged.stages))
    assert len(staged.stages) >= 3
    assert np.array_equal(machine.predict(inputs), Machine(staged).predict(inputs))
    rows = staged.manifest["stages"]
    for row in inputs[:3]:
        assert [o.gas for o in machine.run(row.tobytes())] == [r["gas"] for r in rows]
    assert all(r["transaction"] <= LIMIT for r in rows)
    assert [r["takes"] for r in rows[1:]] == [r["gives"] for r in rows[:-1]]
    assert rows[0]["takes"] == 768 and rows[-1]["gives"] == 64 + 32 * 5


def test_what_is_kept_is_folded(staged):
    """24 channels of 8 × 8 values of 6 bits are 1,152 bytes; their words are 24 · 8 · 32."""
    assert max(row["gives"] for row in staged.manifest["stages"]) <= 2 * 1152


def test_a_stage_runs_on_the_gas_it_needs(staged):
    machine = StageMachine(list(staged.stages))
    state = bytes(768)
    for number, row in enumerate(staged.manifest["stages"]):
        outcome = machine.stage(number, state, gas=row["need"])
        assert outcome.returned
        assert not machine.stage(number, state, gas=row["gas"] - 1).returned
        state = outcome.data


def test_states_of_a_wrong_length_are_refused(staged):
    machine = StageMachine(list(staged.stages))
    for number, row in enumerate(staged.manifest["stages"]):
        for size in (0, row["takes"] - 1, row["takes"] + 1):
            outcome = machine.stage(number, bytes(size))
            assert not outcome.returned
            assert outcome.data == WRONG_LENGTH + row["takes"].to_bytes(32, "big") + size.to_bytes(32, "big")


@pytest.mark.slow
def test_nothing_changes_without_a_limit_or_within_it(staged):
    model, inputs = export(wide_model(), SHAPE), random_bytes(SHAPE, 24)
    plain = compile_model(model, inputs)
    roomy = compile_model(model, inputs, max_gas=10_000_000)
    assert plain.units == roomy.units == staged.units and plain.stages == roomy.stages == ()
    assert "stages" not in plain.manifest and roomy.manifest["stages"] == []


@pytest.mark.slow
def test_a_step_is_cut_when_it_is_too_large_alone():
    model, inputs = export(deep_model(), (3, 4, 4)), random_bytes((3, 4, 4), 24)
    compiled = compile_model(model, inputs, max_gas=650_000)
    layers = [row["layers"] for row in compiled.manifest["stages"]]
    assert any(set(a) & set(b) for a, b in pairwise(layers)), layers
    assert all(row["transaction"] <= 650_000 for row in compiled.manifest["stages"])
    machine = StageMachine(list(compiled.stages))
    assert np.array_equal(machine.predict(inputs[:6]), Machine(compiled).predict(inputs[:6]))


@pytest.mark.slow
def test_a_limit_that_cannot_be_met_is_named_with_its_figures():
    model, inputs = export(wide_model(), SHAPE), random_bytes(SHAPE, 24)
    with pytest.raises(
        CompileError, match=r"from layer .* a stage takes [\d,]+ gas .* limit is 100,000: raise"
    ):
        compile_model(model, inputs, max_gas=100_000)


@pytest.mark.slow
def test_filecoin_limits_count_filecoin_gas():
    model, inputs = export(wide_model(), SHAPE), random_bytes(SHAPE, 24)
    whole = compile_model(model, inputs, max_gas=10**9, target="filecoin")
    assert not whole.stages
    compiled = compile_model(model, inputs, max_gas=whole.manifest["gas"]["filecoin"] - 1, target="filecoin")
    assert len(compiled.stages) > 1
    assert all(s["transaction"] < whole.manifest["gas"]["filecoin"] for s in compiled.manifest["stages"])


def test_stages_survive_saving(staged, tmp_path: Path):
    staged.save(tmp_path)
    assert CompiledModel.load(tmp_path).stages == staged.stages
    entry = tmp_path / "stage1.bin"
    entry.write_bytes(entry.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CompileError, match=r"stage1\.bin is not the code"):
        CompiledModel.load(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["max_gas"] == {"target": "ethereum", "gas": LIMIT}
