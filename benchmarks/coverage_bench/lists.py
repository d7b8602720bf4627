"""The lists by their names, and what is demanded of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from coverage_bench.case import Case

REQUIRED = {"sklearn": 0.9, "keras": 0.85, "pytorch": 0.8, "ezkl-like": 0.7}
"""Share of each list that must become a program that is the model."""
_MODULES = {
    "sklearn": "sklearn_models",
    "keras": "keras_models",
    "pytorch": "torch_models",
    "ezkl-like": "ezkl_like",
}


@cache
def cases_of(name: str) -> dict[str, Case]:
    """The models of a list by their names."""
    make: Callable[[], list[Case]] = import_module(f"coverage_bench.{_MODULES[name]}").cases
    listed = make()
    found = {case.name: case for case in listed}
    if len(found) != len(listed):
        raise ValueError(f"two models of the list {name} have one name")
    return found
