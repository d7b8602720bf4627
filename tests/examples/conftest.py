"""A small finished run, for examples that begin with one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "pipeline"))


@pytest.fixture(scope="session")
def small_finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for `fedvm run ../demo.toml`. Tests work on a copy."""
    from small_run import small_config, write_digits

    from fedvm.pipeline.run import run_all

    digits = write_digits(tmp_path_factory.mktemp("digits") / "images")
    out = tmp_path_factory.mktemp("finished") / "run"
    run_all(small_config(digits, out))
    return out
