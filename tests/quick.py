"""Which cases of a test are quick, and which are left to `make test-all`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from typing import Any

import pytest

QUICK_CASES = "quick_cases"
"""`@pytest.mark.quick_cases(every=n)`: the first case of a test and each n-th after it run in `make test`, all in
`make test-all`."""


def leave_cases_to_test_all(items: Iterable[pytest.Item]) -> None:
    """Mark as slow what is marked `quick_cases` and is none."""
    seen: Counter[str] = Counter()
    for item in items:
        marked = item.get_closest_marker(QUICK_CASES)
        if marked is None:
            continue
        test = item.nodeid.partition("[")[0]
        if seen[test] % int(marked.kwargs["every"]):
            item.add_marker(pytest.mark.slow)
        seen[test] += 1


def these_quick(cases: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """A test's cases: those of `quick` in `make test`, all in `make test-all`."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]
