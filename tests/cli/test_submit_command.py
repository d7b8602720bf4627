"""`fedvm submit` in a round whose coordinator does not relay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account

import conditions
import fedvm.federation.client.direct as direct_module
from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.keys import keep_key
from fedvm.chain.rule_book import RuleBookContract
from fedvm.cli.entry import run as fedvm
from fedvm.devnet.accounts import derive_account
from fedvm.devnet.embedded import open_chain
from fedvm.federation.client.appointment import prove_key
from fedvm.federation.client.kept import keep_update
from fedvm.federation.commitment import Attestation, commit
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import Domain, model_root, to_bytes
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import open_run
from fedvm.store import Cid, ContentStore

RULES = conditions.rules(elements=150)
BASE = np.arange(150, dtype=np.int32)
STAKE = 10**16


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A run whose round 1 is open, the key of its member 0, and the update that this member kept."""
    with open_chain(tmp_path, seed=3, create=True) as chain:
        members = [chain.account("member", index) for index in range(3)]
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            security=conditions.security(stake=STAKE),
            members=[member.address for member in members],
            model_root=model_root(BASE),
            model_cid=Cid.parse(ContentStore(tmp_path / "store").put(to_bytes(BASE))).binary,
        )
        contract.stake(STAKE).send(members[0])
        opened, _ = contract.open_round(chain.account("coordinator"))
        place = ChainRef("embedded", "chain.sqlite")
        Deployment(place, chain.chain_id, federation=contract.address).save(tmp_path)
        terms = RoundTerms(
            Domain(chain.chain_id, contract.address), 1, RULES, model_root(BASE), opened.deadline
        )
        signed = commit(np.ones(150, np.int32), terms, Attestation(10, 0.5, 1.0), members[0].key.hex())
        keep_key(tmp_path / "own.key", members[0])
        return keep_update(tmp_path / "kept", Domain(chain.chain_id, contract.address), signed)


def test_a_kept_update_is_submitted_published_and_waits(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["submit", str(kept), "--run", str(tmp_path), "--key-file", str(tmp_path / "own.key"), "--no-wait"]
    assert fedvm(call) == 0
    assert "waits to be included" in capsys.readouterr().out
    with open_run(tmp_path) as run:
        assert run.chain is not None
        member = run.chain.account("member", 0).address
        direct = DirectSubmissionsContract.of(run.federation_contract)
        assert direct.update_of(1, member).state is DirectState.WAITING
        assert run.federation_contract.round(1).waiting == 1
        (event,) = [e for e in run.federation_contract.events() if type(e).__name__ == "SubmittedDirectly"]
        assert run.store.get(event.submission.update.cid) == to_bytes(np.ones(150, np.int32))
    assert fedvm(call) == 0  # an interrupted command goes on, at no cost
    assert "was submitted for round 1 before" in capsys.readouterr().out


def test_a_submission_is_tried_and_printed_for_a_member_that_is_a_wallet(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    member = derive_account(3, "member", 0)
    asked = ["submit", str(kept), "--run", str(tmp_path), "--from", member.address]
    assert fedvm([*asked, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sent"] is False and told["gas"] > 0 and told["action"] == "DirectSubmissions.submit"
    with open_run(tmp_path) as run:
        before = list(run.store)  # type: ignore[call-overload]
    assert fedvm([*asked, "--unsigned"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["transactions"]
    assert one["to"] == told["to"]
    with open_run(tmp_path, read_only=False) as run:
        direct = DirectSubmissionsContract.of(run.federation_contract)
        assert direct.update_of(1, member.address).state is DirectState.NONE
        assert len(list(run.store)) == len(before) + 1  # type: ignore[call-overload]
        run.federation_contract.sender.send(member, {"to": one["to"], "data": one["data"]})
        assert direct.update_of(1, member.address).state is DirectState.WAITING
    assert fedvm([*asked, "--unsigned", "--no-wait"]) == 0
    assert "was submitted for round 1 before" in capsys.readouterr().out


def test_an_update_that_an_appointed_key_signed_is_submitted_by_whoever_pays(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The member's own key is not there; when the vector is demanded, what it must send is written down for it."""
    key = Account.create()
    with open_chain(tmp_path) as chain:
        deployment = Deployment.load(tmp_path)
        contract = FederationContract(chain.w3, str(deployment.federation))
        member = chain.account("member", 0)
        proof = prove_key(contract, key, member.address)
        RuleBookContract(chain.w3, contract.rule_book()).appoint_key(member, key.address, proof)

        def signed_by_the_key() -> Path:
            number = contract.current_round()
            deadline = contract.round(number).deadline
            terms = RoundTerms(
                Domain(chain.chain_id, contract.address), number, RULES, model_root(BASE), deadline
            )
            attested = Attestation(10, 0.5, 1.0)
            signed = commit(np.ones(150, np.int32), terms, attested, key.key.hex(), member.address)
            return keep_update(tmp_path / "kept", Domain(chain.chain_id, contract.address), signed)

        early = signed_by_the_key()
        keep_key(tmp_path / "payer.key", chain.account("user"))
    keep_key(tmp_path / "client.key", key)
    pay = ["--run", str(tmp_path), "--key-file", str(tmp_path / "payer.key")]
    pay += ["--signing-key-file", str(tmp_path / "client.key")]
    assert fedvm(["submit", str(early), *pay]) == 2
    assert f"{key.address} does not sign for" in " ".join(capsys.readouterr().err.split())
    with open_chain(tmp_path) as chain:
        contract = FederationContract(chain.w3, str(deployment.federation))
        chain.advance_time(2 * RULES.round_seconds)
        contract.fail_round(chain.account("user"), 1)
        contract.open_round(chain.account("coordinator"))
        late = signed_by_the_key()
    assert fedvm(["submit", str(late), *pay[:4]]) == 2
    assert "name the key that signed the update" in " ".join(capsys.readouterr().err.split())
    assert fedvm(["submit", str(late), *pay, "--no-wait"]) == 0
    assert f"{member.address} or its key must post it" in " ".join(capsys.readouterr().err.split())

    seconds: list[int] = []

    def time_passes(slept: float) -> None:
        """The coordinator demands the vector; then the member sends what was written down; then it is included."""
        seconds.append(int(slept))
        direct = DirectSubmissionsContract.of(opened[-1])
        sender, coordinator = opened[-1].sender, derive_account(3, "coordinator")
        if len(seconds) == 1:
            direct.demand_posting(coordinator, 2, member.address)
        elif len(seconds) == 2:
            for one in json.loads(late.with_suffix(".posting.json").read_text())["transactions"]:
                sender.send(derive_account(3, "member", 0), {"to": one["to"], "data": one["data"]})
            assert direct.posted_vector(2, member.address) == to_bytes(np.ones(150, np.int32))
            (event,) = [e for e in opened[-1].events() if type(e).__name__ == "SubmittedDirectly"]
            direct.include(coordinator, 2, event.submission)

    opened: list[FederationContract] = []
    real = direct_module.see_through

    def see_through(contract: FederationContract, *given: object, **named: object) -> DirectState:
        opened.append(contract)
        return real(contract, *given, **named, pass_time=time_passes)  # type: ignore[arg-type]

    monkeypatch.setattr(direct_module, "see_through", see_through)
    assert fedvm(["submit", str(late), *pay]) == 0
    said = capsys.readouterr()
    assert "Included: it counts in round 2" in said.out and "The vector is demanded" in said.err
    with open_run(tmp_path) as run:
        assert run.federation_contract.round(2).accepted == 1


def test_an_update_that_is_not_the_one_submitted_is_told_apart(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--run", str(tmp_path), "--key-file", str(tmp_path / "own.key"), "--no-wait"]
    assert fedvm(["submit", str(kept), *own]) == 0
    with open_chain(tmp_path) as chain:
        contract = FederationContract(chain.w3, str(Deployment.load(tmp_path).federation))
        deadline, member = contract.round(1).deadline, chain.account("member", 0)
        terms = RoundTerms(Domain(chain.chain_id, contract.address), 1, RULES, model_root(BASE), deadline)
        other = commit(np.zeros(150, np.int32), terms, Attestation(10, 0.5, 1.0), member.key.hex())
        keep_update(tmp_path / "kept", Domain(chain.chain_id, contract.address), other)
    assert fedvm(["submit", str(kept), *own]) == 2
    assert "has submitted another update" in capsys.readouterr().err
    assert fedvm(["submit", str(kept)]) == 2
    assert "give --run, or --network NAME" in capsys.readouterr().err
