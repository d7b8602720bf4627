"""The lists of `bench_coverage.py`: unlike models of each, and what the benchmark makes of verdicts."""

from __future__ import annotations

from pathlib import Path

import bench_coverage
import pytest
from compiler_bench.rows import Row, read_results, write_results
from coverage_bench.campaign import Journal, Outcome, run_lists
from coverage_bench.case import Case, built, rows_of
from coverage_bench.judging import try_case
from coverage_bench.lists import REQUIRED, cases_of
from exact_bench.campaign import Trial
from exact_bench.judge import Verdict
from exact_bench.sandbox import Sandbox

SAMPLE = {
    "sklearn": ["LogisticRegression, iris", "DecisionTree, iris", "SVC, rbf, iris", "XGBoost, regression"],
    "keras": ["Dense, relu, softmax", "gated by a product", "Embedding, average"],
    "pytorch": ["perceptron, GLU", "embedding, mean (older exporter)", "LeNet"],
    "ezkl-like": ["one layer: product of halves", "one layer: relu", "DecisionTree, iris"],
}


def test_lists_are_as_long_as_they_should_be() -> None:
    assert len(cases_of("pytorch")) > 100
    assert all(len(cases_of(name)) > 40 for name in REQUIRED)


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(("name", "case"), [(name, case) for name, some in SAMPLE.items() for case in some])
def test_a_sample_of_each_list_is_what_it_was(name: str, case: str) -> None:
    verdict = try_case(cases_of(name)[case])
    assert verdict.result == "exact", verdict.reason
    assert verdict.inputs > 0


def test_a_list_that_cannot_be_built_is_no_refusal() -> None:
    verdict = try_case(Case("broken", lambda: built(b"no model", rows_of("unit", (3,), 0))))
    assert verdict.result == "crash" and "exporter" in verdict.reason


def outcomes(*results: str) -> list[Outcome]:
    return [Outcome("keras", str(i), Verdict(result)) for i, result in enumerate(results)]  # type: ignore[arg-type]


def test_rows_count_what_is_right_and_what_is_wrong() -> None:
    rows = bench_coverage.rows_of(outcomes("exact", "refused", "exact", "crash", "float differs"))
    assert {row.name: row.value for row in rows} == {
        "coverage: keras": 0.4, "coverage: keras: models": 5, "coverage: wrong": 1, "coverage: crash": 1,
    }  # fmt: skip


def test_rows_are_put_beside_those_of_others(tmp_path: Path) -> None:
    path = tmp_path / "compiler.json"
    write_results(path, [Row("LeNet: gas", 5, "gas"), Row("coverage: keras", 0.1, "of the list")])
    bench_coverage.merge_results(path, "coverage: ", [Row("coverage: pytorch", 0.9, "of the list")])
    assert [row.name for row in read_results(path)] == ["LeNet: gas", "coverage: pytorch"]


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coverage_bench.campaign.cases_of", lambda name: {"a": None, "b": None})
    given: list[tuple[str, str]] = []

    def run(self: Sandbox, jobs: object) -> object:
        for job in jobs:  # type: ignore[attr-defined]
            given.append(job)
            yield job, Verdict("exact")

    monkeypatch.setattr(Sandbox, "run", run)
    path = tmp_path / "journal.jsonl"
    Journal(path).add(Trial("keras: a", Verdict("exact")))
    found = run_lists(["keras"], Journal(path), 1, lambda *_: None)
    assert given == [("keras", "b")] and [one.name for one in found] == ["a", "b"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_all_lists(tmp_path: Path) -> None:
    files = [
        "--journal",
        tmp_path / "journal.jsonl",
        "--out",
        tmp_path / "rows.json",
        "--details",
        tmp_path / "all.json",
    ]
    bench_coverage.main([str(part) for part in files])
    rows = {row.name: row.value for row in read_results(tmp_path / "rows.json")}
    assert rows["coverage: wrong"] == rows["coverage: crash"] == 0
