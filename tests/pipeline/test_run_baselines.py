"""The baselines of a run: the same in one process and in several, and not trained twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_run import small_config

from fedvm.learning.errors import TrainingError
from fedvm.pipeline import baseline as baselining
from fedvm.pipeline.baseline import baseline, spread
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.events import Observer
from fedvm.rundir.layout import RunDirectory


class Counting(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def progress(self, name: str, done: int, total: int) -> None:
        self.seen.append((name, done, total))


def test_a_run_s_baselines(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        out.mkdir()
        config = small_config(
            digits,
            out,
            baseline__enabled=True,
            training__workers=workers,
            evaluation__every=2,
            federation__rounds=3,
        )
        observer = Counting()
        facts = baseline(config, prepare_data(config), 3, RunDirectory(out), observer)
        assert observer.seen == [("baseline: networks", done, 5) for done in range(1, 6)]
        found.append(facts)
    assert found[0] == found[1] and found[0] is not None
    assert found[0].rounds == (2, 3) and found[0].clients == 4
    assert [row.client for row in found[0].alone] == [0, 1, 2, 3]
    assert found[0].alone_at(-1).lowest <= found[0].alone_at(-1).mean < found[0].all_data[-1]
    monkeypatch.setattr(baselining, "run_baselines", None)  # not again
    assert baseline(config, prepare_data(config), 3, RunDirectory(out), Observer()) == facts


@pytest.mark.slow
def test_spread_keeps_the_order_and_passes_errors_on() -> None:
    assert list(spread(lambda item: item * 2, range(7), 3)) == [0, 2, 4, 6, 8, 10, 12]
    with pytest.raises(ZeroDivisionError):
        list(spread(lambda item: 1 // item, [1, 0], 2))
    with pytest.raises(TrainingError, match="was not trained: the worker process died"):
        list(spread(lambda item: os._exit(3), [1], 2))
