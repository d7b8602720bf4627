"""Borrows the small run of the pipeline's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "pipeline"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image folder of the small run."""
    from small_run import write_digits

    return write_digits(tmp_path_factory.mktemp("digits") / "images")
