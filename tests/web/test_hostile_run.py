"""Directories of runs that somebody else made: the pages show what they can, and nothing of this computer's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fedvm.pipeline.results import RunReport
from fedvm.rundir.target import Target
from fedvm.web.app import make_app
from fedvm.web.database import Index
from fedvm.web.export import all_pages
from fedvm.web.render import Renderer
from fedvm.web.serve import index_file
from fedvm.web.site import Site
from fedvm.web.source import open_source
from fedvm.web.sync import Reader

Finished = tuple[Path, RunReport]
ODD: list[Any] = [
    {"rounds": {"a": 1}},
    {"rounds": [{"members": [{"client": "x"}]}]},
    {"evaluation": [None]},
    {"model": "<script>alert(1)</script>"},
    {"privacy": {"a": 1}},
    {"fairness": {"clients": 7}},
    {"data": None},
    [],
]


@pytest.fixture
def site(tmp_path: Path, finished: Finished) -> Iterator[Site]:
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    with open_source(Target(run=run)) as source:
        made = Site(Index(), Target(run=run), Renderer(static=True))
        made.source = source
        yield made


def pages(site: Site) -> str:
    assert site.source is not None
    Reader(site.index, site.source).read()
    return "".join(make() for _, make in all_pages(site))


def report_of(site: Site) -> Path:
    assert site.target.run is not None
    return site.target.run / "report.json"


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:30])
def test_a_report_of_another_form_is_none(site: Site, odd: Any) -> None:
    report = report_of(site)
    right = json.loads(report.read_text())
    report.write_text(json.dumps({**right, **odd} if isinstance(odd, dict) else odd))
    assert "alert(1)" not in pages(site)
    assert site.chronicle.report is None and len(site.chronicle.rounds) == 2


def test_figures_that_do_not_belong_together_are_left_out(site: Site) -> None:
    report = report_of(site)
    said = json.loads(report.read_text())
    said["evaluation"]["confusion"][0] = []
    alone = [{"client": 0, "examples": 1, "accuracy": [0.5, 0.5]}]
    said["baseline"] = {"rounds": [1], "all_data": [0.5, 0.6], "alone": alone, "clients": 1}
    said["seconds"]["learn"] = float("inf")
    report.write_text(json.dumps(said))
    pages(site)
    assert site.chronicle.report is None  # a time that is not finite
    said["seconds"]["learn"] = 1.0
    report.write_text(json.dumps(said))
    assert "each client alone" not in pages(site)
    assert site.chronicle.report is not None


@pytest.mark.slow
def test_statements_about_rounds_are_numbers_or_left_out(site: Site) -> None:
    assert site.target.run is not None
    first, second = sorted((site.target.run / "rounds").glob("round-*.json"))
    first.write_text(json.dumps({"round": 1, "test_accuracy": "<b>", "seconds": {}}))
    second.write_text("[" * 100_000)
    pages(site)
    assert site.chronicle.rounds[1].tested is None


def test_what_a_link_leads_to_is_not_shown(site: Site, tmp_path: Path) -> None:
    assert site.target.run is not None
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "holiday.png").write_bytes(b"\x89PNG\r\n\x1a\nmine")
    images = site.target.run / "images"
    (images / "linked.png").symlink_to(secret / "holiday.png")
    (images / "folder").symlink_to(secret)
    (images / "text.png").write_text("no picture")
    pages(site)
    names = {row["name"] for row in site.index.rows("SELECT name FROM pictures")}
    assert "00000.png" in names or len(names) > 1
    assert not any("linked" in name or "folder" in name or "text" in name for name in names)
    shutil.rmtree(images)
    images.symlink_to(secret)
    report_of(site).write_text(report_of(site).read_text() + "\n")
    site.index.set_meta({"pictures of": ""})
    pages(site)
    assert site.index.count("SELECT COUNT(*) FROM pictures") == 0


def test_the_index_lies_outside_of_the_run(tmp_path: Path) -> None:
    one, two = index_file(Target(run=tmp_path / "run")), index_file(Target(run=tmp_path / "other"))
    assert one != two and not one.is_relative_to(tmp_path / "run")


def test_numbers_in_addresses_that_are_too_long(site: Site) -> None:
    browser = TestClient(make_app(site), base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
    for path in ("rounds", "model", "decisions", "rounds/pages"):
        assert browser.get(f"/{path}/{'9' * 900}").status_code == 404
        assert browser.get(f"/{path}/{'9' * 5000}").status_code == 414
