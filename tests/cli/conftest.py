"""A local node, and the small run of the pipeline's tests, which is borrowed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from fedvm.pipeline.results import RunReport

sys.path.insert(0, str(Path(__file__).parent.parent / "pipeline"))


@pytest.fixture(scope="module")
def anvil(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """A local node for the tests of a file; its URL."""
    with start_anvil() as url:
        yield url


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image folder of the small run."""
    from small_run import write_digits

    return write_digits(tmp_path_factory.mktemp("digits") / "images")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> tuple[Path, RunReport]:
    """The small run, finished, and its report. Tests that change it work on a copy."""
    from small_run import small_config

    from fedvm.pipeline.run import run_all

    out = tmp_path_factory.mktemp("finished") / "run"
    return out, run_all(small_config(digits, out))
