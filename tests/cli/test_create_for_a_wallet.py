"""A federation that a wallet without a key here opens: what `fedvm create --unsigned` prints makes what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from test_cli import call
from test_client_commands import MODEL
from test_keys_appoint import ANVIL_KEY

import conditions
from fedvm.chain.deployer import Deployer
from fedvm.chain.endpoint import Endpoint
from fedvm.chain.founding_plan import federation_address
from fedvm.chain.genuine import deviations
from fedvm.chain.keys import load_key
from fedvm.chain.networks import connect
from fedvm.chain.sender import Sender
from fedvm.federation.byte_model import record_of
from fedvm.federation.coordinator.directory import leave_federation_on
from fedvm.protocol.aggregators import NAME_ELEMENTS, BoosterBagging
from fedvm.rundir.run import open_run
from fedvm.store import DEFAULT_STORES, open_store
from fedvm.store.payloads import StoredPayloads, name_of

WALLET, LEADER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
MEMBERS = ("0x" + "11" * 20, "0x" + "22" * 20)


def test_the_address_is_the_factorys() -> None:
    """As the contract computes it, which tests/contracts hold; here a fixed example."""
    one = federation_address("0x" + "33" * 20, WALLET, bytes(32))
    assert one == federation_address("0x" + "33" * 20, WALLET.lower(), bytes(32))
    others = {
        federation_address("0x" + "34" * 20, WALLET, bytes(32)),
        federation_address("0x" + "33" * 20, LEADER, bytes(32)),
        federation_address("0x" + "33" * 20, WALLET, bytes(31) + b"\1"),
    }
    assert len({one, *others}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("sealed", [False, True])
def test_a_wallet_opens_a_federation_at_the_address_that_was_said(
    tmp_path: Path,
    start_anvil: Callable[..., AbstractContextManager[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sealed: bool,
) -> None:
    (tmp_path / "own_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    with start_anvil() as url:
        w3 = connect(url)
        words = ["create", "made", "--model", "own_model:model", "--max-examples", "9", "--rpc", url]
        members = MEMBERS if not sealed else tuple(f"0x{number:040x}" for number in range(1000, 1016))
        words += [word for one in members for word in ("--member", one)]
        words += ["--set", "rules.min_clients=2"] if not sealed else ["--set", "sealed.group_size=8"]
        asked = [*words, "--unsigned", "--from", WALLET]
        monkeypatch.delenv("PRIVATE_KEY", raising=False)
        assert call(capsys, *asked)[0] == 2  # nobody is named who opens rounds
        if not sealed:
            monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
            Deployer.ensure(Sender(w3), load_key())
            monkeypatch.delenv("PRIVATE_KEY")
        status, said, err = call(capsys, *asked, "--coordinator", LEADER)
        assert status == 0, err
        batch: dict[str, Any] = json.loads(said)
        assert batch["chainId"] == "31337" and batch["meta"]["createdFromSafeAddress"] == WALLET
        for one in batch["transactions"]:
            sent = w3.eth.send_transaction({"from": WALLET, "to": one["to"], "data": one["data"]})  # type: ignore[typeddict-item]
            assert w3.eth.wait_for_transaction_receipt(sent)["status"] == 1
        with open_run("made") as run:
            contract = run.federation_contract
            assert contract.address in err
            assert not list(deviations(run.w3, contract.address))
            assert (contract.owner(), contract.coordinator()) == (WALLET, LEADER)
            assert sorted(contract.members()) == sorted(map(w3.to_checksum_address, members))
        again = ["create", "more", *words[2:], "--unsigned", "--from", WALLET, "--coordinator", LEADER]
        status, said, _ = call(capsys, *again)
        assert status == 0 and len(json.loads(said)["transactions"]) == 1  # the rest is there
        with open_run("made") as run:
            other = json.loads(Path("more/deployment.json").read_text())["federation"]
            assert other != run.federation_contract.address


@pytest.mark.slow
def test_the_first_bytes_of_a_wallets_federation_are_in_its_store(
    tmp_path: Path, start_anvil: Callable[..., AbstractContextManager[str]]
) -> None:
    """Where models are bytes the contract has only their name."""
    booster = b'{"learner": {}}'
    with start_anvil() as url:
        Deployer.ensure(Sender(connect(url)), Account.from_key(ANVIL_KEY))
        leave_federation_on(
            Endpoint(url),
            tmp_path / "made",
            record_of(booster),
            rules=conditions.rules(elements=NAME_ELEMENTS, aggregator=BoosterBagging().identifier),
            security=conditions.security(),
            members=MEMBERS,
            owner=WALLET,
            coordinator=LEADER,
        )
    assert StoredPayloads(open_store(DEFAULT_STORES, tmp_path / "made")).get(name_of(booster)) == booster


def test_a_chain_of_ones_own_has_nobody_who_pays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("create", "made", "--model", "own_model:model", "--max-examples", "9", "--clients", "2")
    for more in (("--unsigned", "--from", WALLET), ("--dry-run",), ("--coordinator", LEADER)):
        status, _, err = call(capsys, *words, *more)
        assert status == 2 and "nobody pays" in " ".join(err.replace("│", " ").split())
        assert not (tmp_path / "made").exists()
