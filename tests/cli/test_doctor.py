"""`fedvm doctor`: what it finds, and that it fails where something is wrong."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from eth_account import Account
from test_cli import call

from fedvm.chain.keys import keep_key
from fedvm.pipeline import doctor
from fedvm.pipeline.doctor import Verdict
from fedvm.pipeline.results import RunReport
from fedvm.rundir.run import open_run


def examined(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    status, printed, _ = call(capsys, "doctor", *arguments, "--json")
    return status, {check["name"]: check for check in json.loads(printed)}


def test_this_machine_will_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, checks = examined(capsys, str(tmp_path / "not" / "yet"))
    assert status == 0 and set(checks) == {"python", "packages", "node", "folder", "disk"}
    assert str(tmp_path) in checks["folder"]["found"] and list(tmp_path.iterdir()) == []
    status, printed, _ = call(capsys, "doctor", str(tmp_path))
    assert status == 0 and "✓ python" in printed


def test_what_is_missing_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PYTHON", (sys.version_info[0] + 1, 0))
    monkeypatch.setattr(doctor, "_PACKAGES", ("web3", "no-such-package"))
    monkeypatch.setattr(doctor, "_FREE_BYTES", 1 << 80)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, checks = examined(capsys, "/proc/nowhere")
    assert status == 1
    verdicts = {name: check["verdict"] for name, check in checks.items()}
    assert verdicts == {
        "python": Verdict.FAILED,
        "packages": Verdict.FAILED,
        "node": Verdict.WARNING,
        "folder": Verdict.FAILED,
        "disk": Verdict.WARNING,
    }
    assert "no-such-package not installed" in checks["packages"]["found"]
    assert "/proc cannot be written" in checks["folder"]["found"]


def test_a_run_is_sound_until_it_loses_its_model(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    finished_run = shutil.copytree(finished[0], tmp_path / "copy")
    status, checks = examined(capsys, str(tmp_path), "--run", str(finished_run))
    assert status == 0 and {checks[name]["verdict"] for name in ("run", "contracts", "store")} == {Verdict.OK}
    with open_run(finished_run) as run:
        size = 4 * run.federation_contract.rules().elements
    assert f"({size:,} bytes)" in checks["store"]["found"]
    store, aside = finished_run / "store", finished_run / "aside"
    store.rename(aside)
    try:
        status, checks = examined(capsys, str(tmp_path), "--run", str(finished_run))
    finally:
        aside.rename(store)
    assert status == 1 and "no round can begin without the latest model" in checks["store"]["found"]
    status, checks = examined(capsys, str(tmp_path), "--run", str(tmp_path))
    assert status == 1 and checks["run"]["verdict"] == Verdict.FAILED


def test_a_network_and_who_pays_there(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    start_anvil: Callable[..., AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PRIVATE_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    with start_anvil() as url:
        status, checks = examined(capsys, str(tmp_path), "--rpc", url)
        assert status == 0 and "31337" in checks["chain"]["found"]
        assert checks["funds"]["verdict"] == Verdict.WARNING and "no key" in checks["funds"]["found"]
        poor = Account.create()
        keep_key(tmp_path / "poor.key", poor)
        status, checks = examined(
            capsys, str(tmp_path), "--rpc", url, "--key-file", str(tmp_path / "poor.key")
        )
        assert status == 1 and f"{poor.address} holds 0 ETH: fund it" in checks["funds"]["found"]
    status, checks = examined(capsys, str(tmp_path), "--rpc", url)
    assert status == 1 and "no Ethereum RPC answers" in checks["chain"]["found"] and "funds" not in checks
