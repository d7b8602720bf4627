"""The shares of models that compile, as the docs state them, are those that the benchmark found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTS = {
    "sklearn": "scikit-learn, XGBoost, LightGBM",
    "keras": "Keras",
    "pytorch": "PyTorch modules",
    "ezkl-like": "small networks",
}


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    rows = json.loads((ROOT / "benchmarks" / "results" / "compiler.json").read_text())["rows"]
    return {row["name"]: row["value"] for row in rows}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_stated_as_it_was_measured(found: dict[str, float], name: str) -> None:
    page = (ROOT / "docs" / "compiler.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {LISTS[name]}")]
    assert row.endswith(
        f"| {found[f'coverage: {name}: models']} | {found[f'coverage: {name}']:.1%} |".replace("%", " %")
    )


def test_none_was_wrong_and_none_crashed(found: dict[str, float]) -> None:
    assert found["coverage: wrong"] == found["coverage: crash"] == 0


def test_tabular_models_are_stated_alike(found: dict[str, float]) -> None:
    stated = f"{found['coverage: sklearn']:.1%}".replace("%", " %")
    assert f"write them: {stated} became" in (ROOT / "docs" / "tabular.md").read_text()
