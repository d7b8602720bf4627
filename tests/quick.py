"""Which cases of a test are quick, and which are left to `make test-all`."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def some_quick(cases: Iterable[Any], every: int) -> list[Any]:
    """A test's cases: the first and each `every`-th after it in `make test`, all in `make test-all`."""
    return [
        case if at % every == 0 else pytest.param(case, marks=pytest.mark.slow)
        for at, case in enumerate(cases)
    ]


def these_quick(cases: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """A test's cases: those of `quick` in `make test`, all in `make test-all`."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]
