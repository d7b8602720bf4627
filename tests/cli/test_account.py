"""`fedvm account`, and sending with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import call
from test_deploy import ANVIL_KEY as KEY

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def test_an_account_from_import_to_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, anvil: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDVM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PRIVATE_KEY", KEY)
    monkeypatch.delenv("FEDVM_PASSWORD", raising=False)
    status, out, _ = call(capsys, "account", "list")
    assert status == 0 and "fedvm account new" in out
    status, _, err = call(capsys, "account", "import", "me")
    assert status != 0 and "FEDVM_PASSWORD" in err
    monkeypatch.setenv("FEDVM_PASSWORD", "correct horse")
    status, out, err = call(capsys, "account", "import", "me", "--json")
    assert status == 0 and json.loads(out)["address"] == ADDRESS, err
    assert json.loads(out)["filecoin"].startswith("f410f")
    monkeypatch.delenv("PRIVATE_KEY")
    status, out, _ = call(capsys, "account", "list", "--json")
    assert [one["name"] for one in json.loads(out)] == ["me"]
    status, out, _ = call(capsys, "account", "show", "me", "--rpc", anvil, "--json")
    assert status == 0 and json.loads(out)["balance"] == str(10**22)
    status, out, _ = call(capsys, "account", "show", "me", "--rpc", anvil)
    assert status == 0 and "10000 ETH" in out and ADDRESS in out
    status, out, _ = call(capsys, "networks", "check", anvil, "--account", "me", "--json")
    assert status == 0 and json.loads(out)["account"]["address"] == ADDRESS
    status, out, _ = call(capsys, "doctor", str(tmp_path), "--rpc", anvil, "--account", "me")
    assert status == 0 and f"{ADDRESS} holds 10000 ETH" in out
    status, _, err = call(
        capsys, "doctor", str(tmp_path), "--rpc", anvil, "--account", "me", "--key-file", "x"
    )
    assert "not both" in err and status == 2
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY[2:] not in file.read_text("latin-1")
