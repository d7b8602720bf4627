"""Borrows the handmade programs of the chain's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedvm.devnet.embedded import EmbeddedChain, open_chain

sys.path.insert(0, str(Path(__file__).parent.parent / "chain"))


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    with open_chain(tmp_path / "chain.sqlite", seed=7, create=True) as opened:
        yield opened
