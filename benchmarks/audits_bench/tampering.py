"""How many single changes to what an audit reads it does not name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(TESTS / name) for name in ("", "audit", "pipeline", "chain")]

from tamper_records import audited, compiled_once, is_named, subjects  # noqa: E402
from tampers import walk  # noqa: E402


def tampered(home: Path, tell: Callable[[str], None] = print) -> dict[str, int]:
    """Try every change to an open, a rolled-up and a sealed federation. home: an empty directory."""
    tried = missed = 0
    with subjects(home) as found, compiled_once():
        for subject in found:
            assert audited(subject).clean, subject.name
            for change in walk(subject):
                tried += 1
                if not is_named(subject, change):
                    missed += 1
                    tell(f"{subject.name}: {change}")
    return {"tampers": tried, "tampers_missed": missed}
