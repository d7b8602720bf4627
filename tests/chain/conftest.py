from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedvm.chain.embedded import EmbeddedChain, open_chain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    with open_chain(tmp_path / "chain.sqlite", seed=7, create=True) as opened:
        yield opened
