"""`fedvm networks check`: a anvil and an account, in a table and as JSON."""

from __future__ import annotations

import json

import pytest
from test_cli import call

FUNDED = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"  # anvil's account 0


def test_a_node_and_an_account(capsys: pytest.CaptureFixture[str], anvil: str) -> None:
    status, out, err = call(capsys, "networks", "check", anvil, "--account", FUNDED)
    assert status == 0, err
    for word in ("31337", "state overrides", "CREATE2 deployer", "create a federation of 16", "10000 ETH"):
        assert word in out
    status, out, _ = call(capsys, "networks", "check", anvil, "--account", FUNDED, "--json")
    told = json.loads(out)
    assert status == 0 and told["fit"] and told["node"]["chain"]["value"] == 31337
    assert told["account"]["balance"] == str(10**22) and told["account"]["steps"][0]["times"] > 1000


def test_a_node_of_another_chain_is_refused(
    capsys: pytest.CaptureFixture[str], anvil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from fedvm.chain import networks

    moved = replace(networks.SEPOLIA, rpc_url=anvil)
    monkeypatch.setattr(networks, "NETWORKS", (moved,))
    status, _, err = call(capsys, "networks", "check", "sepolia")
    assert status == 1 and "is chain 31337, wanted 11155111" in " ".join(err.split())


def test_what_is_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = call(capsys, "networks", "check", "calibration")
    assert status != 0 and "did you mean 'filecoin-calibration'" in " ".join(err.split())
    status, _, err = call(capsys, "networks", "check", "http://127.0.0.1:1/v2/SECRETKEY123")
    assert status == 1 and "SECRETKEY" not in err and "no Ethereum RPC answers" in " ".join(err.split())
