"""What FedVM needs of this machine, of a run's directory and of a network: looked at, and said how to mend it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.endpoint import Endpoint
from fedvm.chain.errors import ChainError
from fedvm.chain.genuine import require_genuine
from fedvm.chain.history import FederationHistory
from fedvm.chain.keys import load_key
from fedvm.chain.networks import network_of
from fedvm.rundir.run import Run, open_run
from fedvm.store import StoreError

PYTHON: Final = (3, 11)
NODE: Final = 20
_PACKAGES: Final = ("torch", "flwr", "web3", "pyrevm", "onnx", "onnxruntime")
_FREE_BYTES: Final = 2 << 30
_STILL_SECONDS: Final = 300


class Verdict(StrEnum):
    """How a check ended. A warning concerns what only some need."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. found: what is there, or what is wrong and how to mend it."""

    name: str
    verdict: Verdict
    found: str


def examine(
    folder: Path,
    *,
    run: Path | None = None,
    endpoint: Endpoint | None = None,
    load: Callable[[], LocalAccount] = load_key,
) -> Iterator[Check]:
    """Look at this machine, at the folder that runs are made in, and at a run's directory or a network if given.

    load: gives the account that pays on a network, or raises ChainError. Nothing is written but an empty file, which is
    removed again; nothing is sent.
    """
    yield _python()
    yield _packages()
    yield _node()
    yield _writable(folder)
    yield _space(folder)
    if run is not None:
        yield from _run(run, load)
    if endpoint is not None:
        yield from _network(endpoint.connect, load)


def _python() -> Check:
    here = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Check("python", Verdict.FAILED, f"{here}: install Python {PYTHON[0]}.{PYTHON[1]} or newer")
    return Check("python", Verdict.OK, here)


def _packages() -> Check:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", Verdict.FAILED, f"{', '.join(missing)} not installed: install fedvm again")
    return Check("packages", Verdict.OK, ", ".join(found))


def _node() -> Check:
    node = shutil.which("node")
    if node is None:
        return Check(
            "node", Verdict.WARNING, f"not found; needed only to build contracts (Node {NODE} or newer)"
        )
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = told.removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < NODE:
        return Check(
            "node", Verdict.WARNING, f"{told or node}; to build contracts Node {NODE} or newer is needed"
        )
    return Check("node", Verdict.OK, told)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())


def _writable(folder: Path) -> Check:
    at = _existing(folder)
    probe = at / f".fedvm-{os.getpid()}"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        why = error.strerror or error
        return Check("folder", Verdict.FAILED, f"{at} cannot be written ({why}): name another with --out")
    return Check("folder", Verdict.OK, f"{at} can be written")


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    if free < _FREE_BYTES:
        return Check(
            "disk", Verdict.WARNING, f"{free >> 20:,} MiB free; a long run may need {_FREE_BYTES >> 20:,}"
        )
    return Check("disk", Verdict.OK, f"{free >> 30:,} GiB free")


def _run(path: Path, load: Callable[[], LocalAccount]) -> Iterator[Check]:
    try:
        opened = open_run(path)
    except ChainError as error:
        yield Check("run", Verdict.FAILED, str(error))
        return
    with opened:
        yield Check("run", Verdict.OK, f"{path}, chain {opened.deployment.chain_id}")
        yield _contracts(opened)
        yield _models(opened)
        if opened.chain is None:
            yield from _network(lambda: opened.w3, load)


def _contracts(run: Run) -> Check:
    if run.deployment.federation is None:
        return Check("contracts", Verdict.WARNING, "no federation was created yet")
    try:
        require_genuine(run.w3, run.deployment.federation)
    except ChainError as error:
        return Check("contracts", Verdict.FAILED, str(error))
    return Check("contracts", Verdict.OK, f"federation {run.deployment.federation} is this package's")


def _models(run: Run) -> Check:
    if run.deployment.federation is None:
        return Check("store", Verdict.WARNING, "nothing to look for yet")
    try:
        told = FederationHistory(run.federation_contract, first_block=run.deployment.block).read()
        size = len(run.store.get(told.model_cid or b""))
    except (ChainError, StoreError) as error:
        return Check("store", Verdict.FAILED, f"{error}: no round can begin without the latest model")
    return Check("store", Verdict.OK, f"the latest model is there ({size:,} bytes)")


def _network(chain: Callable[[], Web3], load: Callable[[], LocalAccount]) -> Iterator[Check]:
    try:
        w3 = chain()
        network, head = network_of(w3), w3.eth.get_block("latest")
    except (ChainError, OSError) as error:
        yield Check("chain", Verdict.FAILED, str(error))
        return
    age = int(time.time()) - int(head["timestamp"])
    said = f"{network.title}, chain {w3.eth.chain_id}, block {head['number']:,}, {age} s old"
    still = age > _STILL_SECONDS
    hint = ": it stands still, or this clock is wrong; rounds end by its time" if still else ""
    yield Check("chain", Verdict.WARNING if still else Verdict.OK, said + hint)
    try:
        account = load()
    except ChainError as error:
        yield Check("funds", Verdict.WARNING, f"{error}; only reading needs none")
        return
    balance = w3.eth.get_balance(w3.to_checksum_address(account.address))
    text = f"{account.address} holds {balance / 1e18:.6g} {network.currency}"
    hint = f": fund it{f' at {network.faucet}' if network.faucet else ''} before it sends anything"
    yield Check("funds", Verdict.OK if balance else Verdict.FAILED, text if balance else text + hint)
