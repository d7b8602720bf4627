from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from setup_federation import Setup, make_setup
from web3 import Web3

from fedvm.chain.embedded import EmbeddedChain, open_chain
from fedvm.chain.networks import connect

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    with open_chain(tmp_path / "chain.sqlite", seed=7, create=True) as opened:
        yield opened


@pytest.fixture
def setup(chain: EmbeddedChain) -> Setup:
    return make_setup(chain)


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    binary = ROOT / "contracts" / "node_modules" / ".bin" / "anvil"
    found = str(binary) if binary.exists() else shutil.which("anvil")
    if found is None:
        pytest.skip("anvil is not installed (npm ci in contracts/)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [found, "--port", str(port), "--host", "127.0.0.1", "--silent", "--hardfork", "cancun"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url)
            yield url
        finally:
            process.terminate()


@pytest.fixture
def anvil(anvil_url: str) -> Web3:
    return connect(anvil_url, chain_id=31337)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            connect(url, timeout=1)
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
