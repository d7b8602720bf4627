"""What the pages say of results is what the results files hold, and every recipe they name is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import bench_byzantine
import bench_privacy
import pytest
from byzantine_bench.show import summary_table, tables

from fedvm.pipeline.config_file import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text())


def test_privacy() -> None:
    found = results("privacy.json")
    page = (ROOT / "docs" / "privacy.md").read_text()
    (table,) = re.findall(f"{bench_privacy.MARK}\n(.*?)\n{bench_privacy.MARK}", page, flags=re.DOTALL)
    assert table == bench_privacy.table(found)
    at_ten = [row for row in found["rows"] if row.get("epsilon") == 10]
    assert min(row["noise_over_bound_62006"] for row in at_ten) > 1, "as the page says of so many parameters"
    assert f"{found['clients']} clients" in page and f"{found['rounds']} rounds" in page


def test_robustness() -> None:
    rows = results("byzantine.json")["accuracy"]
    page = (ROOT / "docs" / "robustness.md").read_text()
    assert tables(rows, bench_byzantine.SHARES) in page
    assert summary_table(rows, bench_byzantine.SHARES) in page


def test_learning() -> None:
    page = (ROOT / "docs" / "learning.md").read_text()
    stated = dict(re.findall(r"^\| `(cifar10-[\w-]+)`:.*\| ([\d.]+) % \|$", page, flags=re.MULTILINE))
    rows = [row for row in results("federated.json")["rows"] if "recipes/" in row.get("recipe", "")]
    measured = {Path(row["recipe"]).stem: row for row in rows}
    assert stated == {name: f"{row['value']:.1f}" for name, row in measured.items()} and len(stated) == 3
    for name, row in measured.items():
        config = load_config(ROOT / row["recipe"])
        assert row["rounds"] == config.federation.rounds
        assert re.search(rf"`{name}`:.*\| {row['rounds']} × {config.training.epochs} \|", page)


def test_storage() -> None:
    found, page = results("networks.json"), (ROOT / "docs" / "storage.md").read_text()
    for name in ("piececid", "car_write", "car_read"):
        assert f"{found[f'{name}_mb_per_second']:,.0f} MB/s" in page, name
    assert found["piececid_mb_per_second"] >= 50


def test_audit() -> None:
    found, page = results("networks.json"), (ROOT / "docs" / "audit.md").read_text()
    assert (
        f"in {found['audit_seconds_50x16']} s of one core's time and {found['audit_peak_mb']:,.0f} MB" in page
    )
    assert f"at {found['decisions_per_second']:,.0f} a second" in page
    assert found["audit_seconds_50x16"] <= 60 and found["audit_peak_mb"] <= 1000
    assert found["decisions_per_second"] >= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_and_recipe_named_is_there(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"examples/[\w./-]*\w", text):
        assert (ROOT / path).exists(), path
    recipes = {path.stem for path in (ROOT / "examples" / "recipes").glob("*.toml")}
    assert set(re.findall(r"`((?:cifar10|mnist)-[\w-]+)`", text)) <= recipes
