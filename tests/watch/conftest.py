"""Borrows the lying coordinators of the audit's tests, and the round on anvil of the commands'."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for other in ("chain", "pipeline", "audit", "cli"):
    sys.path.insert(0, str(Path(__file__).parent.parent / other))

from sealed_record import Recorded, record  # noqa: E402
from tamper_records import subject_of_sealed  # noqa: E402
from tampers import Subject  # noqa: E402


@pytest.fixture(scope="session")
def recorded_sealed(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A sealed federation with two final rounds."""
    return record(tmp_path_factory.mktemp("sealed") / "run")


@pytest.fixture
def sealed_subject(recorded_sealed: Recorded, tmp_path: Path) -> Iterator[Subject]:
    """The same behind a node and a store that can lie."""
    with subject_of_sealed(recorded_sealed, tmp_path / "altered") as subject:
        yield subject
