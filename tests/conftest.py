"""Fixtures of all tests."""

from __future__ import annotations

import gc
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from fedvm.chain.networks import connect
from fedvm.chain.outbox import STATE_VARIABLE
from quick import leave_cases_to_test_all

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    leave_cases_to_test_all(items)


@pytest.fixture(scope="session", autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests send is not written into the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _imports_are_no_garbage() -> None:
    """Spare the collector what the imports of all tests made and nothing frees: Flower calls it for every array, and a
    pool of processes gives back to it what it was spared."""
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def start_anvil() -> Callable[..., AbstractContextManager[str]]:
    """`start_anvil(*arguments)`: an anvil of one's own while the context lasts; its URL. Skips without anvil."""
    return _anvil


@contextmanager
def _anvil(*arguments: str) -> Iterator[str]:
    installed = ROOT / "contracts" / "node_modules" / ".bin" / "anvil"
    found = str(installed) if installed.exists() else shutil.which("anvil")
    if found is None:
        pytest.skip("anvil is not installed (npm ci in contracts/)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [found, "--host", "127.0.0.1", "--port", str(port), "--silent", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url)
            yield url
        finally:
            process.terminate()


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
