"""Plays the apps of `flower_apps`, here and in Flower's simulation, and holds what they came to against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flower_apps import CLIENTS, App, Outcome
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import Result

from fedvm.federation import InProcessRun, run_in_process


def in_process(app: App, *, accountable: bool) -> Outcome:
    outcome: list[Outcome] = []
    server = app.server_app(outcome, accountable=accountable)
    how = InProcessRun(CLIENTS, seed=1, workers=0)
    run_in_process(server, app.client_app(accountable=accountable), how=how)
    return outcome[0]


def simulated(app: App, *, accountable: bool) -> Outcome:
    from flwr.simulation import run_simulation

    outcome: list[Outcome] = []
    server = app.server_app(outcome, accountable=accountable)
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    client = app.client_app(accountable=accountable)
    run_simulation(server, client, num_supernodes=CLIENTS, backend_config=resources)
    return outcome[0]


def same_metrics(one: dict[int, Any], other: dict[int, Any], tolerance: float) -> None:
    assert list(one) == list(other)
    for number, metrics in one.items():
        assert set(metrics) == set(other[number]), number
        for name, value in metrics.items():
            assert other[number][name] == pytest.approx(value, rel=100 * tolerance, abs=100 * tolerance), name


def same_arrays(one: ArrayRecord, other: ArrayRecord, app: App) -> None:
    assert list(one) == list(other)
    for name, array in one.items():
        if np.issubdtype(other[name].numpy().dtype, np.floating):  # Flower averages counters, too
            scale = max(1.0, float(np.abs(array.numpy()).max()))
            assert other[name].numpy() == pytest.approx(array.numpy(), abs=app.tolerance * scale), name


def same(one: Outcome, other: Outcome, app: App) -> None:
    first, second = one.result, other.result
    same_arrays(first.arrays, second.arrays, app)
    for field in ("train_metrics_clientapp", "evaluate_metrics_clientapp", "evaluate_metrics_serverapp"):
        same_metrics(getattr(first, field), getattr(second, field), app.tolerance)
    assert other.said == pytest.approx(one.said)
    assert isinstance(second, Result) and (one.kept is None) == (other.kept is None)
    if one.kept is not None:
        assert np.asarray(other.kept) == pytest.approx(np.asarray(one.kept), abs=100 * app.tolerance)
