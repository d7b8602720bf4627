from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from setup_federation import Setup, make_setup
from web3 import Web3

from fedvm.chain.networks import connect
from fedvm.devnet.embedded import EmbeddedChain, open_chain

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    with open_chain(tmp_path / "chain.sqlite", seed=7, create=True) as opened:
        yield opened


@pytest.fixture
def setup(chain: EmbeddedChain) -> Setup:
    return make_setup(chain)


@pytest.fixture(scope="session")
def anvil_url(start_anvil: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    with start_anvil("--hardfork", "cancun") as url:
        yield url


@pytest.fixture
def anvil(anvil_url: str) -> Web3:
    return connect(anvil_url, chain_id=31337)
