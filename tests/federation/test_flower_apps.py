"""Kinds of Flower apps come to the same with the two lines as without, here and in Flower's simulation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from flower_apps import APPS, MEDIAN, App
from flower_plays import in_process, same, simulated

QUICK = {"pytorch", "lazy-shapes", "own-start", "own-mods", "queries"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDVM_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize(
    "app",
    [
        pytest.param(app, id=app.name, marks=() if app.name in QUICK else pytest.mark.slow)
        for app in (*APPS, MEDIAN)
    ],
)
def test_an_app_comes_to_the_same_with_the_two_lines(app: App) -> None:
    same(in_process(app, accountable=False), in_process(app, accountable=True), app)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'fedvm[simulation]'"
)
@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_flowers_simulation_comes_to_the_same(app: App) -> None:
    here = in_process(app, accountable=False)
    same(here, simulated(app, accountable=False), app)
    same(here, simulated(app, accountable=True), app)


def test_there_are_many() -> None:
    assert len({app.name for app in APPS}) == 19
