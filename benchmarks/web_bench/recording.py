"""Decisions on record in a run whose chain is a file. Shared with the tests."""

from __future__ import annotations

from pathlib import Path

from fedvm.pipeline.ask import ask
from fedvm.rundir.run import open_run


def record(run: Path, images: int) -> int:
    """Record decisions on the first so many of a run's held-out images, by its test account; returns how many."""
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None
        asked = sorted((run / "images").glob("*.png"))[:images]
        return len(list(ask(asked, opened, user=opened.chain.account("user"))))
