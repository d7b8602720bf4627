"""What the integers are worth is measured before anything is deployed, and a bar refuses what is worth too little."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from models import CASES, export, random_bytes, randomise
from torch import nn

from fedvm.compiler import CalibrationError, CompileError, QualityError, compile_model
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.interpreter import run
from fedvm.compiler.quality import Bars, Measured, check_quality, measure
from fedvm.compiler.quantize import QuantizeOptions, quantize

RNG = np.random.default_rng(0)


def trained(count: int = 400):
    """A classifier of two moons in six dimensions, trained; its inputs and labels."""
    torch.manual_seed(0)
    x = RNG.normal(size=(count, 6)).astype(np.float32)
    y = ((x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] > 0.5)).astype(np.int64)
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(250):
        loss = nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return export(model, (6,)), x, y


def test_the_manifest_says_what_to_expect():
    model, x, y = trained()
    quality = compile_model(model, x, labels=y).manifest["quality"]
    assert quality["held_back"] == quality["inputs"] == 100
    assert quality["agreement"] >= 0.95 and quality["correlation"] > 0.99
    assert 50 < quality["decided"] <= 100 and quality["decided_agreement"] >= quality["agreement"]
    accuracy = quality["accuracy"]
    assert accuracy["network"] > 0.9 and abs(accuracy["network"] - accuracy["integers"]) < 0.05
    assert set(quality["layers"]) == {"dense1", "dense2"}


def test_measuring_does_not_change_the_program():
    model, x, y = trained(120)
    plain = compile_model(model, x, min_agreement=0, min_correlation=0)
    assert compile_model(model, x, labels=y).codes == plain.codes


def test_a_bad_program_is_refused_with_its_worst_layer():
    model, x, y = trained()
    with pytest.raises(
        QualityError, match=r"100 held-back.*bar 90.0%.*Accuracy.*layer dense1 \(.*activation_bits"
    ):
        compile_model(model, x, activation_bits=1, labels=y)
    taken = compile_model(model, x, activation_bits=1, min_agreement=0, min_correlation=0)
    assert taken.manifest["quality"]["correlation"] < 0.98
    assert taken.manifest["options"]["min_correlation"] == 0


def test_bars_can_be_raised():
    model, x, _ = trained()
    with pytest.raises(QualityError, match=r"bar 1\.0"):
        compile_model(model, x, min_correlation=1.0)
    for bars in ({"min_agreement": 1.5}, {"min_correlation": -1}, {"min_agreement": "high"}):
        with pytest.raises(CompileError, match=r"choose 0\.\.1"):
            compile_model(model, x, **bars)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e30])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Identity])
def test_the_size_of_the_numbers_within_does_not_matter(size, activation):
    """Weights of one layer that are tiny or huge, and of the next that make up for it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), activation(), nn.Linear(16, 3))
    with torch.no_grad():
        for parameter, factor in (
            (model[0].weight, size),
            (model[0].bias, size),
            (model[2].weight, 1 / size),
        ):
            parameter.mul_(factor)
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    quality = compile_model(export(model, (8,)), x).manifest["quality"]
    assert quality["correlation"] > 0.99 and not quality["steady"]


def test_one_output_has_no_class():
    torch.manual_seed(1)
    model = export(nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1)), (5,))
    x = RNG.normal(size=(100, 5)).astype(np.float32)
    quality = compile_model(model, x).manifest["quality"]
    assert quality["agreement"] is None and quality["correlation"] > 0.99
    with pytest.raises(QualityError, match="integers scores that correlate"):
        compile_model(model, x, min_correlation=1.0)


def test_reconstructions_have_no_class():
    torch.manual_seed(1)
    model = export(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8)), (8,))
    quality = compile_model(model, RNG.normal(size=(60, 8)).astype(np.float32)).manifest["quality"]
    assert quality["agreement"] is None and quality["correlation"] > 0.98


def test_few_inputs_are_all_fitted_to():
    make, shape = CASES["lenet"]
    quality = compile_model(export(randomise(make(), 3), shape), random_bytes(shape, 12)).manifest["quality"]
    assert quality["held_back"] == 0 and quality["inputs"] == 12


def test_large_networks_are_measured_on_what_the_fit_left_out(monkeypatch):
    monkeypatch.setattr("fedvm.compiler.quantize.WORK", 1)
    make, shape = CASES["perceptron"]
    graph = load_graph(export(randomise(make(), 3), shape))
    data = random_bytes(shape, 120)
    options = QuantizeOptions()
    quality = check_quality(graph, quantize(graph, data, options), data, options, Bars())
    assert quality.held_back == 88


def test_constant_scores_are_taken_for_what_they_are():
    model = nn.Sequential(nn.Linear(4, 3))
    nn.init.zeros_(model[0].weight)
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    x = RNG.normal(size=(50, 4)).astype(np.float32)
    quality = compile_model(export(model, (4,)), x).manifest["quality"]
    assert quality["steady"] and quality["correlation"] > 0.999 and quality["agreement"] == 1.0


def test_a_steady_majority_class_hides_nothing():
    """Scores that favour one class nearly always still have to follow the input."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 2))
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([1.5, -1.5]))
    x = RNG.normal(size=(200, 4)).astype(np.float32)
    graph = load_graph(export(model, (4,)), samples=x)
    data = RNG.integers(0, 256, (200, 4), dtype=np.uint8)
    integer = quantize(graph, data, QuantizeOptions())
    last = integer.layers[-1]
    assert not measure(graph, integer, data, None, np.arange(200)).steady
    dead = dataclasses.replace(
        last, terms=tuple(dataclasses.replace(t, weight=t.weight * 0) for t in last.terms)
    )
    stuck = dataclasses.replace(integer, layers=(*integer.layers[:-1], dead))
    result = measure(graph, stuck, data, None, np.arange(200))
    assert result.correlation < 0.5 and result.falls_short(Bars())


def test_a_shift_or_a_wrong_scale_lowers_the_correlation():
    make, shape = CASES["perceptron"]
    graph = load_graph(export(randomise(make(), 3), shape))
    data = random_bytes(shape, 60)
    integer = quantize(graph, data, QuantizeOptions())
    rows = np.arange(60)
    good = measure(graph, integer, data, None, rows).correlation
    last = integer.layers[-1]
    for change in ({"bias": last.bias + int(run(integer, data).std())}, {"scale": last.scale * 2}):
        changed = dataclasses.replace(last, **change)
        worse = dataclasses.replace(integer, layers=(*integer.layers[:-1], changed))
        assert measure(graph, worse, data, None, rows).correlation < good - 0.05


def test_labels_that_do_not_fit():
    model, x, y = trained(60)
    for labels, message in (
        (y[:-1], "for each of 60"),
        (y + 3, "counted from 0"),
        (y + 0.5, "whole numbers"),
        ("a", "whole"),
        ([2**70] * 60, "whole"),
    ):
        with pytest.raises(CalibrationError, match=message):
            compile_model(model, x, labels=labels)


def test_few_inputs_leave_room_for_chance():
    """What so few inputs cannot tell from the bar is not refused; what is far from it is."""

    def result(inputs, right, correlation):
        return Measured(inputs, right / inputs, inputs, right / inputs, correlation, {})

    assert not result(12, 10, 0.97).falls_short(Bars())
    assert result(40, 35, 0.99).falls_short(Bars())
    assert result(10, 7, 0.99).falls_short(Bars())
    assert result(40, 40, 0.975).falls_short(Bars())
    assert result(20, 19, 0.7).falls_short(Bars())
    assert not result(20, 0, -0.5).falls_short(Bars(0, 0))


def test_few_inputs_of_huge_scores_do_not_hide_the_others():
    """One input in twenty is a hundred times larger: it has the correlation and the deviation of the scores to itself,
    and what is left of the others in the bytes is next to nothing."""
    torch.manual_seed(0)
    model = export(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), (8,))
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 8)) * np.where(np.arange(400) % 20, 1, 100)[:, None]
    rng.shuffle(x)
    with pytest.raises(QualityError, match=r"class in [5-8]\d\.\d% of the [4-9]\d for which"):
        compile_model(model, x.astype(np.float32), min_correlation=0)


def test_equal_inputs_judge_nothing():
    make, shape = CASES["lenet"]
    model, data = export(randomise(make(), 3), shape), random_bytes(shape, 3)[2:].repeat(30, axis=0)
    with pytest.raises(CalibrationError, match=r"all 30 calibration inputs are the same.*vary"):
        compile_model(model, data)
    taken = compile_model(model, data, min_agreement=0, min_correlation=0)
    assert taken.manifest["calibration_samples"] == 30


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("weight_bits", (0, "8", 9)),
        ("activation_bits", ("6", [4], {"dense1": "x"}, {1: 4})),
        ("input_bits", (None, 0)),
        ("lane_bits", ("a", 25)),
        ("optimize", ("fast", None)),
        ("target", ("solana",)),
        ("max_gas", (0, "x", 1.5, float("nan"), True)),
    ],
)
def test_options_of_another_kind_are_refused_by_name(option, values):
    model, x, _ = trained(40)
    for value in values:
        with pytest.raises(CompileError, match=option):
            compile_model(model, x, **{option: value})
