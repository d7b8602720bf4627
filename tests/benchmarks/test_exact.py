"""The trials of `bench_exact.py`: what they generate, what they call wrong, and what ends a trial that does not end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import product

import bench_exact
import numpy as np
import onnx
import pytest
from exact_bench import campaign, sandbox
from exact_bench import judge as judging
from exact_bench.backend import backend_cases
from exact_bench.campaign import Journal, Trial
from exact_bench.generator import WIDEST, random_recipe
from exact_bench.judge import Verdict, correlation, decided_agreement, judge
from exact_bench.onnx_writer import write_onnx
from exact_bench.recipe import INPUT, Recipe, Step, samples, sizes
from exact_bench.sandbox import Failed, Sandbox
from exact_bench.shrink import shrink, simpler
from exact_bench.torch_writer import write_torch
from exact_bench.trial import question_of
from sandbox_jobs import work

RECIPES = [random_recipe(seed) for seed in range(1, 400)]


def test_a_seed_is_one_network():
    again = [random_recipe(recipe.seed) for recipe in RECIPES[:20]]
    assert again == RECIPES[:20]
    assert [write_onnx(recipe) for recipe in again] == [write_onnx(recipe) for recipe in RECIPES[:20]]
    assert np.array_equal(samples(again[0], 5, 0), samples(RECIPES[0], 5, 0))
    assert not np.array_equal(samples(again[0], 5, 0), samples(again[0], 5, 1))


def readers(recipe: Recipe) -> Counter[int]:
    return Counter(number for step in recipe.steps for number in set(step.reads))


def test_the_generator_draws_what_strangers_write():
    steps = [step for recipe in RECIPES for step in recipe.steps]
    pairs = {
        (by_number[step.reads[0]].op, step.op)
        for recipe in RECIPES
        for by_number in [{s.number: s for s in recipe.steps}]
        for step in recipe.steps
        if step.reads[0] != INPUT
    }
    assert {recipe.layout for recipe in RECIPES} == {"flat", "first", "last"}
    assert {len(recipe.size) for recipe in RECIPES} == {1, 2, 3}
    assert {"bytes", "uint8", "preprocess", "normal", "offset", "features"} <= {r.data for r in RECIPES}
    assert {recipe.writer for recipe in RECIPES} == {"onnx", "torch"}
    widths = {recipe.size[-1] for recipe in RECIPES if len(recipe.size) > 1}
    assert min(widths) == 1 and max(widths) == WIDEST and len(widths) > 50
    assert sum(max(readers(recipe).values()) > 1 for recipe in RECIPES) > 100
    assert {
        ("relu", "batchnorm"),
        ("average_pool", "conv"),
        ("conv", "max_pool"),
        ("concat", "conv"),
    } <= pairs
    assert any(("concat", op) in pairs for op in ("concat", "add")) and ("max_pool", "dense") not in pairs
    convs = [step.settings for step in steps if step.op == "conv"]
    assert {conv["groups"] == "depthwise" for conv in convs} == {True, False}
    assert any(conv["groups"] not in (1, "depthwise") for conv in convs)
    assert any(conv["pads"][: len(conv["kernel"])] != conv["pads"][len(conv["kernel"]) :] for conv in convs)
    options = [recipe.options for recipe in RECIPES]
    assert {"weight_bits", "activation_bits", "input_bits", "lane_bits", "max_gas"} <= {
        k for o in options for k in o
    }
    assert {o["optimize"] for o in options} == {"run", "deploy"}


@pytest.mark.parametrize("write", [write_onnx, write_torch])
def test_models_are_valid_and_have_the_sizes_that_are_said(write):
    tried = 0
    for recipe in RECIPES:
        if recipe.writer == "torch" or write is write_onnx:
            tried += 1
            model = onnx.load_model_from_string(write(recipe))
            onnx.checker.check_model(model, full_check=True)
            question = replace(question_of(recipe), model=model.SerializeToString())
            scores = judging.run_float(question, question.held_back[:2])
            expected = 1 if recipe.steps[-1].op == "argmax" else np.prod(sizes(recipe)[recipe.output])
            assert scores.shape == (2, expected) and np.isfinite(scores).all()
        if tried >= 100:
            break
    assert tried > 5


def small(**changes) -> Recipe:
    """A network of two layers that compiles."""
    steps = (
        Step(
            1, "conv", (INPUT,), {"outputs": 2, "kernel": (3,), "stride": (1,), "pads": (1, 1), "bias": True}
        ),
        Step(2, "relu", (1,)),
        Step(3, "flatten", (2,)),
        Step(4, "dense", (3,), {"outputs": 3, "bias": True, "gemm": True}),
    )
    return replace(Recipe(3, (1, 8), "first", "bytes", steps), **changes)


def test_a_right_program_is_exact_on_all_inputs():
    verdict = judge(question_of(small()))
    assert (verdict.result, verdict.inputs) == ("exact", 40), verdict
    assert verdict.agreement is not None and verdict.correlation is not None


def test_a_wrong_program_is_called_wrong(monkeypatch):
    original = judging.run
    monkeypatch.setattr(judging, "run", lambda graph, batch: original(graph, batch) + 1)
    assert judge(question_of(small())).result == "reference differs"


def test_a_contract_that_differs_is_called_so(monkeypatch):
    other = question_of(small(seed=4))  # the same network with other weights
    codes = judging.Program.of(judging.compile.compile_model(other.model, other.calibration))
    monkeypatch.setattr(judging.Program, "of", lambda compiled: codes)
    verdict = judge(question_of(small()))
    assert verdict.result == "contract differs" and "input 0" in verdict.reason


def test_refusals_and_crashes_are_told_apart(monkeypatch):
    refused = judge(question_of(small(options={"lane_bits": 5})))
    assert refused.result == "refused" and "lane_bits" in refused.reason

    def broken(*_, **__):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(judging.compile, "compile_integer", broken)
    crashed = judge(question_of(small()))
    assert crashed.result == "crash" and crashed.reason.startswith("ZeroDivisionError")


def test_classes_are_compared_where_there_is_one():
    floats = np.random.default_rng(0).normal(size=(100, 3))
    assert decided_agreement(floats + 1e-3, floats)[0] == 1
    share, decided = decided_agreement(-floats, floats)
    assert share < 0.1 and 80 < decided < 100
    assert decided_agreement(floats, np.zeros((100, 3))) == (None, 0)


def test_another_network_is_called_so(monkeypatch):
    question = question_of(small())
    other = question_of(small(seed=4))
    monkeypatch.setattr(judging, "run_float", lambda _, inputs, **how: original(other, inputs, **how))
    verdict = judge(question)
    assert verdict.result == "float differs" and verdict.correlation < 0.9


original = judging.run_float


def test_correlation_is_of_what_varies():
    scores = np.random.default_rng(0).normal(size=(50, 3))
    assert correlation(scores, 5 * scores + [1, 2, 3]) == pytest.approx(1)
    assert correlation(scores, -scores) == pytest.approx(-1)
    assert correlation(scores, np.ones((50, 3))) is None
    steady = 0.01 * scores + [100, 200, 0]
    assert correlation(steady[::-1], steady) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_what_hangs_dies_or_grows_is_an_answer_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr(sandbox, "PATIENCE", 5)
    jobs = ["a", "spin", "b", "die", "c", "grow", "d", "sleep", "e"]
    answers = dict(Sandbox(work, workers=2, seconds=1, memory=2 << 30).run(jobs))
    assert {job: answers[job] for job in "abcde"} == {job: job.upper() for job in "abcde"}
    kinds = {job: answers[job].kind for job in ("spin", "die", "grow", "sleep")}
    assert kinds == {"spin": "hang", "die": "died", "grow": "memory", "sleep": "hang"}


def test_shrinking_keeps_the_defect_and_drops_the_rest():
    recipe = next(r for r in RECIPES if len(r.steps) > 8 and any(s.op == "max_pool" for s in r.steps))

    def has_pool(other: Recipe) -> bool:
        return any(step.op == "max_pool" for step in other.steps)

    smallest = shrink(recipe, has_pool)
    assert [step.op for step in smallest.steps] == ["max_pool"] and not smallest.options
    for one in simpler(recipe):
        sizes(one)  # none is impossible


@pytest.mark.slow
def test_backend_tests_bind_all_inputs_but_the_first():
    cases = list(backend_cases(every=60))
    bound = [onnx.load_model_from_string(case.model) for case in cases if "free" in case.name]
    assert len(bound) > 10 and len({case.name for case in cases}) == len(cases)
    for model in bound:
        stored = {tensor.name for tensor in model.graph.initializer}
        assert sum(value.name not in stored for value in model.graph.input) == 1


def test_a_stopped_campaign_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add(Trial("1", Verdict("exact", inputs=40)))
    journal.add(Trial("2", Verdict("refused", "RangeError: too wide for a word")))
    with path.open("a") as file:
        file.write('["3", {"resu')  # killed while writing
    assert set(Journal(path).known) == {"1", "2"}
    tried: list[int] = []

    class Counting(Sandbox):
        def run(self, jobs):
            for job in jobs:
                tried.append(job)
                yield job, Verdict("exact", inputs=40)

    monkeypatch.setattr(campaign, "Sandbox", Counting)
    trials = campaign.random_trials(Journal(path), 1, 3, 1, lambda *_: None)
    assert [trial.name for trial in trials] == ["1", "2", "3", "4"] and tried == [3, 4]
    monkeypatch.setattr(campaign, "version", lambda: "another")
    assert not Journal(path).known


@pytest.mark.slow
def test_the_benchmark_writes_what_it_found(tmp_path):
    out = tmp_path / "exact.json"
    arguments = ["--programs", "3", "--every", "400", "--workers", "1", "--out", str(out)]
    nowhere = str(tmp_path / "nowhere")
    arguments += ["--journal", str(tmp_path / "journal.jsonl"), "--models", nowhere, "--data", nowhere]
    status = bench_exact.main(arguments)
    found = json.loads(out.read_text())
    assert status == int(bool(found["wrong"]))
    assert found["random_programs"] >= 3 and found["inputs"] >= 120 and found["backend_tests"] > 5
    assert found["contract_differs"] == found["reference_differs"] == 0
    ended = ("random_programs", "random_refused", "random_crashes", "random_hangs")
    assert sum(found[name] for name in ended) == found["random_networks"]


def test_every_form_of_input_has_its_samples():
    for data, layout in product(
        ("bytes", "uint8", "preprocess", "normal", "unit", "offset", "features"), ("flat", "last")
    ):
        x = samples(small(data=data, layout=layout), 6, 0)
        assert x.dtype == (np.uint8 if data in ("bytes", "uint8", "preprocess") else np.float32)
        assert x.shape == ((6, 8) if layout == "flat" else (6, 8, 1)) and x.std() > 0
        assert data != "offset" or x.min() > 0


def test_failures_of_the_sandbox_are_verdicts():
    assert campaign.verdict_of(Failed("hang", "too long")).result == "hang"
    assert campaign.verdict_of(Failed("died", "signal 11")).result == "crash"
    assert campaign.verdict_of(Verdict("exact")).result == "exact"


def test_the_recorded_run_found_nothing_wrong():
    """Of the size that the figures in the docs state, and nothing in it was wrong."""
    recorded = json.loads(bench_exact.RESULTS.read_text())
    assert recorded["random_programs"] >= 5_000 and recorded["inputs"] >= 200_000
    assert recorded["backend_tests"] > 3_000 and recorded["self_check_share"] <= 0.2
    for name in ("contract_differs", "reference_differs", "gas_differs", "float_differs_unnoticed"):
        assert recorded[name] == 0
    for name in ("random_crashes", "random_hangs", "backend_crashes", "backend_hangs"):
        assert recorded[name] == 0
    assert recorded["wrong"] == []
