"""Borrows the small run of the pipeline's tests, and the sealed federation of the chain's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for other in ("pipeline", "chain", "docs"):
    sys.path.insert(0, str(Path(__file__).parent.parent / other))

from sealed_record import Recorded, record  # noqa: E402
from tamper_records import record_open, record_rolled_up, subject_of_run, subject_of_sealed  # noqa: E402
from tampers import Subject  # noqa: E402


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run behind a gate, with two decisions on record."""
    return record_open(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="session")
def recorded_sealed(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A sealed federation with two final rounds."""
    return record(tmp_path_factory.mktemp("sealed") / "run")


@pytest.fixture
def open_subject(recorded_run: Path, tmp_path: Path) -> Iterator[Subject]:
    """The run, behind a node and a store that can lie."""
    with subject_of_run("open", recorded_run, tmp_path / "altered") as subject:
        yield subject


@pytest.fixture
def sealed_subject(recorded_sealed: Recorded, tmp_path: Path) -> Iterator[Subject]:
    """The same of the sealed federation."""
    with subject_of_sealed(recorded_sealed, tmp_path / "altered") as subject:
        yield subject


@pytest.fixture
def rolled_up_subject(tmp_path: Path) -> Iterator[Subject]:
    """The same of a run that is rolled up."""
    with subject_of_run("rolled up", record_rolled_up(tmp_path), tmp_path / "altered") as subject:
        yield subject
