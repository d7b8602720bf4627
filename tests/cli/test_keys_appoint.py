"""`fedvm keys appoint` and `fedvm keys of`, on the chain of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from test_cli import call
from web3.types import RPCEndpoint

import conditions
from fedvm.chain.federation import FederationContract, Submitted
from fedvm.chain.keys import create_key_file, keep_key
from fedvm.chain.networks import connect
from fedvm.devnet.embedded import open_chain
from fedvm.federation.client.appointment import book_of
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain, model_root, to_bytes
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import Run, open_run
from fedvm.store import Cid, ContentStore

ELEMENTS, MEMBERS, ROUND_SECONDS = 20, 2, 60
RULES = conditions.rules(elements=ELEMENTS, min_clients=1, round_seconds=ROUND_SECONDS)
BASE = np.zeros(ELEMENTS, dtype=np.int32)
ANVIL_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # public, of its account 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose round 1 is open; its members' keys are in member-0.key and member-1.key, a new one in client.key."""
    with open_chain(tmp_path, seed=5, create=True) as chain:
        members = [chain.account("member", index) for index in range(MEMBERS)]
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            security=conditions.security(),
            members=[member.address for member in members],
            model_root=model_root(BASE),
            model_cid=Cid.parse(ContentStore(tmp_path / "store").put(to_bytes(BASE))).binary,
        )
        contract.open_round(chain.account("coordinator"))
        place = ChainRef("embedded", "chain.sqlite")
        Deployment(place, chain.chain_id, federation=contract.address).save(tmp_path)
        for index, member in enumerate(members):
            keep_key(tmp_path / f"member-{index}.key", member)
        keep_key(tmp_path / "stranger.key", chain.account("user"))
    create_key_file(tmp_path / "client.key")
    return tmp_path


def account_in(file: Path) -> LocalAccount:
    account: LocalAccount = Account.from_key(file.read_text().strip())
    return account


def relay(run: Run, key: LocalAccount, member: str) -> Submitted:
    """Relay to the open round what a key signed for a member."""
    assert run.chain is not None
    contract = run.federation_contract
    number = contract.current_round()
    terms = RoundTerms(
        Domain(run.chain.chain_id, contract.address),
        number,
        RULES,
        model_root(BASE),
        contract.round(number).deadline,
    )
    signed = commit(np.ones(ELEMENTS, np.int32), terms, Attestation(10, 0.5, 1.0), key.key.hex(), member)
    submission = signed.submission
    return contract.submit(run.chain.account("coordinator"), number, [submission])


def next_round(run: Run) -> None:
    assert run.chain is not None
    run.chain.advance_time(ROUND_SECONDS + run.federation_contract.security().answer_seconds + 1)
    run.federation_contract.fail_round(run.chain.account("user"), run.federation_contract.current_round())
    run.federation_contract.open_round(run.chain.account("coordinator"))


def proof_for(run: Path, member: LocalAccount, capsys: pytest.CaptureFixture[str]) -> str:
    """What `fedvm keys prove` prints for the client's key and a member."""
    status, printed, complaint = call(
        capsys, "keys", "prove", str(run / "client.key"), "--member", member.address, "--run", str(run)
    )
    assert status == 0, complaint
    return printed.strip()


def test_what_an_appointed_key_signs_counts_from_the_next_round_on_until_it_is_taken_back(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, member = account_in(run / "client.key"), account_in(run / "member-0.key")
    appoint = ("keys", "appoint", "--run", str(run), "--key-file", str(run / "member-0.key"))
    proved = ("--proof", proof_for(run, member, capsys))
    status, said, warned = call(capsys, *appoint, key.address, *proved)
    assert status == 0, warned
    assert f"From round 2 on {key.address} signs for {member.address}" in said
    assert f'fedvm-member="{member.address}"' in said
    assert f"{member.address} signs itself" in warned and "Be sure that it is yours" in warned

    status, told, _ = call(capsys, "keys", "of", member.address, "--run", str(run))
    assert status == 0 and told.splitlines() == [
        f"In round 1: {member.address} signs itself",
        f"From round 2 on: {key.address} signs for {member.address}, beside its own key",
    ]
    with open_run(run, read_only=False) as opened:
        assert [one.reason.label for one in relay(opened, key, member.address).refused] == ["BadSignature"]
        next_round(opened)
        assert len(relay(opened, key, member.address).accepted) == 1
    status, said, warned = call(capsys, *appoint, key.address, *proved)
    assert (status, said) == (0, "") and "so already; nothing is sent" in warned

    status, said, warned = call(capsys, *appoint, "--none")
    assert status == 0 and f"Now: {key.address} signs for {member.address}" in warned
    assert f"From round 3 on no key but its own signs for {member.address}" in said
    with open_run(run, read_only=False) as opened:
        next_round(opened)
        assert [one.reason.label for one in relay(opened, key, member.address).refused] == ["BadSignature"]
        assert len(relay(opened, member, member.address).accepted) == 1


def test_the_transaction_for_a_wallet_appoints_when_the_wallet_sends_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, member = account_in(run / "client.key"), account_in(run / "member-1.key")
    asked = ("keys", "appoint", key.address, "--run", str(run), "--unsigned", "--from", member.address)
    status, printed, warned = call(capsys, *asked, "--proof", proof_for(run, member, capsys))
    assert status == 0 and "Be sure that it is yours" in warned
    batch = json.loads(printed)
    (transaction,) = batch["transactions"]
    with open_run(run, read_only=False) as opened:
        assert opened.federation_contract.current_round() == 1  # nothing was sent
        assert batch["chainId"] == str(opened.deployment.chain_id) and transaction["value"] == "0"
        sent = {name: transaction[name] for name in ("to", "data")}
        opened.federation_contract.sender.send(member, sent)  # type: ignore[arg-type]
    status, told, _ = call(capsys, "keys", "of", member.address, "--run", str(run))
    assert f"From round 2 on: {key.address} signs for {member.address}" in told


def test_what_would_harm_or_serve_nobody_is_refused_before_anything_is_sent(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, member = account_in(run / "client.key"), account_in(run / "member-0.key")
    other = account_in(run / "member-1.key")
    with open_run(run) as opened:
        contract = opened.federation_contract.address

    def refused(who: str, *arguments: str) -> str:
        status, said, complaint = call(
            capsys, "keys", "appoint", "--run", str(run), "--key-file", str(run / who), *arguments
        )
        assert (status, said) == (2, "")
        return " ".join(complaint.split())

    proof = ("--proof", proof_for(run, member, capsys))
    assert "is no member of" in refused("stranger.key", key.address, *proof)
    assert f"SignsForItself: {other.address} is a member" in refused("member-0.key", other.address, *proof)
    assert "SignsForItself" in refused("member-0.key", member.address, *proof)
    assert "is a contract, which signs nothing" in refused("member-0.key", contract, *proof)
    assert "the zero address is no key" in refused("member-0.key", "0x" + 40 * "0", *proof)
    assert "not an address" in refused("member-0.key", key.address[:-1], *proof)
    assert "--none" in refused("member-0.key") and "--none" in refused("member-0.key", key.address, "--none")
    named = (key.address, *proof, "--from", member.address)
    assert "one of them" in refused("member-0.key", *named)
    assert "with its --proof" in refused("member-0.key", key.address)
    assert "with its --proof" in refused("member-0.key", "--none", *proof)
    assert "65 bytes in hex" in refused("member-0.key", key.address, "--proof", "0xnone")
    for wrong in ("0x", "0x" + 65 * "00", proof_for(run, other, capsys)):
        assert "NotProved" in refused("member-0.key", key.address, "--proof", wrong)
    status, _, complaint = call(capsys, "keys", "of", key.address, "--run", str(run), "--rpc", "http://x")
    assert status == 2 and "is a file in it: leave --network and --rpc away" in " ".join(complaint.split())
    status, _, complaint = call(capsys, "keys", "of", key.address, "--rpc", "http://x")
    assert status == 2 and "--network NAME or --rpc URL with --federation" in " ".join(complaint.split())

    status, _, told = call(capsys, "keys", "of", key.address, "--run", str(run))
    assert status == 0 and f"But {key.address} is no member" in told

    own = ("--run", str(run), "--key-file", str(run / "member-0.key"))
    assert call(capsys, "keys", "appoint", key.address, *proof, *own)[0] == 0
    assert f"KeyTaken: {key.address} signs for {member.address}" in refused(
        "member-1.key", key.address, *proof
    )
    taken = ("keys", "prove", str(run / "client.key"), "--member", other.address, "--run", str(run))
    assert call(capsys, *taken)[0] == 2


def test_a_key_gives_itself_up_and_is_free_for_others(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = account_in(run / "client.key")
    members = [account_in(run / f"member-{index}.key") for index in range(2)]
    for index, member in enumerate(members):
        proof = proof_for(run, member, capsys)
        own = ("--run", str(run), "--key-file", str(run / f"member-{index}.key"))
        assert call(capsys, "keys", "appoint", key.address, "--proof", proof, *own)[0] == 0
        with open_run(run, read_only=False) as opened:
            assert opened.chain is not None
            assert book_of(opened.federation_contract).key_of(member.address, 2) == key.address
            payer = opened.chain.account("user")
            opened.federation_contract.sender.send(payer, {"to": key.address, "value": 10**17})  # type: ignore[arg-type]
        status, said, complaint = call(
            capsys, "keys", "give-up", "--key-file", str(run / "client.key"), "--run", str(run)
        )
        assert status == 0, complaint
        assert f"From round 2 on {key.address} signs for nobody and no more for {member.address}" in said
        with open_run(run) as opened:
            assert book_of(opened.federation_contract).key_of(member.address, 2) == ""


def test_a_wallet_that_is_a_contract_appoints_a_key_on_a_network(
    tmp_path: Path,
    start_anvil: Callable[..., AbstractContextManager[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PRIVATE_KEY", raising=False)
    owner, key, wallet = Account.from_key(ANVIL_KEY), Account.create(), Account.create().address
    with start_anvil() as url:
        w3 = connect(url)

        def anvil(method: str, *given: object) -> str:
            return str(w3.provider.make_request(RPCEndpoint(method), list(given))["result"])

        anvil("anvil_setCode", wallet, "0x00")  # takes money and does nothing else
        contract, _ = FederationContract.deploy(
            w3,
            owner,
            coordinator=owner.address,
            rules=RULES,
            security=conditions.security(),
            members=[wallet],
            model_root=model_root(BASE),
            model_cid=Cid.parse(ContentStore(tmp_path / "store").put(to_bytes(BASE))).binary,
        )
        where = ("--rpc", url, "--federation", contract.address)
        keep_key(tmp_path / "client.key", key)
        status, proof, _ = call(
            capsys, "keys", "prove", str(tmp_path / "client.key"), *where, "--member", wallet
        )
        assert status == 0
        asked = ("keys", "appoint", key.address, "--proof", proof.strip(), *where, "--from", wallet)
        status, printed, told = call(capsys, *asked, "--unsigned")
        assert status == 0 and f"From round 1 on: nobody signs for {wallet}, a contract" in told
        (transaction,) = json.loads(printed)["transactions"]
        anvil("anvil_impersonateAccount", wallet)
        anvil("anvil_setBalance", wallet, hex(10**18))
        sent = anvil("eth_sendTransaction", {"from": wallet, **{k: transaction[k] for k in ("to", "data")}})
        assert w3.eth.wait_for_transaction_receipt(HexBytes(sent))["status"] == 1
        status, told, _ = call(capsys, "keys", "of", wallet, *where)
        assert (status, told.strip()) == (0, f"From round 1 on: {key.address} signs for {wallet}, a contract")
