"""Fixtures of the federation tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from direct_parties import MEMBERS, Parties, federation_of
from federation_bench import Bench, MakeBench, create_bench

for other in ("audit", "store"):
    sys.path.insert(0, str(Path(__file__).parent.parent / other))


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    """Makes federations, each in a directory of its own."""
    benches: list[Bench] = []

    def make(clients: int, name: str = "run", **rule_changes: Any) -> Bench:
        benches.append(create_bench(tmp_path / name, clients, **rule_changes))
        return benches[-1]

    yield make
    for bench in benches:
        bench.chain.close()


@pytest.fixture
def parties(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Parties]:
    """A federation whose members submit directly; its parameter: seconds for which rounds stay open."""
    with federation_of(tmp_path, MEMBERS, getattr(request, "param", 0)) as made:
        yield made
