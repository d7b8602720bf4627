"""A small gated run with decisions on record, and its pages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fedvm.pipeline.results import RunReport
from fedvm.rundir.target import Target
from fedvm.web.app import make_app
from fedvm.web.database import Index
from fedvm.web.render import Renderer
from fedvm.web.site import Site
from fedvm.web.source import open_source
from fedvm.web.sync import Reader

sys.path.insert(0, str(Path(__file__).parent.parent / "pipeline"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    """The small run with a gate, three decisions on record. Tests that change it work on a copy."""
    from small_run import GATE, small_config, write_digits
    from web_bench.recording import record

    from fedvm.pipeline.run import run_all

    digits = write_digits(tmp_path_factory.mktemp("digits") / "images")
    out = tmp_path_factory.mktemp("finished") / "run"
    settings = {"data__preparation": "drawing", "model__title": "Digits, learnt by a few", **GATE}
    report = run_all(small_config(digits, out, **settings))
    assert record(out, 3) == 3
    return out, report


@pytest.fixture(scope="session")
def site(finished: tuple[Path, RunReport]) -> Iterator[Site]:
    """The run's pages, with an index that was read once."""
    target, index = Target(run=finished[0]), Index()
    with open_source(target) as source:
        made = Site(index, target, Renderer(static=False, clock=lambda: 1_800_000_000))
        made.source = source
        Reader(index, source).read()
        yield made
    index.close()


@pytest.fixture(scope="session")
def client(site: Site) -> TestClient:
    """A browser without scripts, whose requests come from the pages themselves."""
    return TestClient(
        make_app(site),
        base_url="http://127.0.0.1:8000",
        headers={"origin": "http://127.0.0.1:8000"},
        raise_server_exceptions=False,
    )
