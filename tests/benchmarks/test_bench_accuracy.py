"""The accuracy benchmark: rounds that go on, rows that leave others alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bench_accuracy
import pytest
from federated_results import merge

from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.events import Observer
from fedvm.pipeline.results import RoundRow

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))
from small_run import settings, write_digits


class _Interrupt(Observer):
    def round_done(self, row: RoundRow, total: int) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_stopped_benchmark_goes_on_and_tests_when_it_should(tmp_path: Path) -> None:
    digits = write_digits(tmp_path / "digits")
    changes = {**settings(digits, tmp_path / "run"), "federation.rounds": 3, "evaluation.every": 2}
    config = load_config(None, changes)
    with pytest.raises(KeyboardInterrupt):
        bench_accuracy.play(config, _Interrupt())
    rounds = bench_accuracy.play(config, Observer())
    assert [row.test_accuracy is not None for row in rounds] == [False, True, True]
    assert bench_accuracy.play(config, Observer()) == rounds


def test_rows_replace_their_own_kind_only(tmp_path: Path) -> None:
    path = tmp_path / "federated.json"
    path.write_text(
        json.dumps({"machine": "m", "rows": [{"name": "a", "value": 1}, {"name": "b", "value": 2}]})
    )
    merge([{"name": "b", "value": 3}, {"name": "c", "value": 4}], path)
    content = json.loads(path.read_text())
    assert content["machine"] == "m"
    assert [(row["name"], row["value"]) for row in content["rows"]] == [("a", 1), ("b", 3), ("c", 4)]
