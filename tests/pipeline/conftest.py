"""One small run, made once for all tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import small_config, write_digits

from fedvm.pipeline.results import RunReport
from fedvm.pipeline.run import run_all


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "images")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> tuple[Path, RunReport]:
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, run_all(small_config(digits, out))
