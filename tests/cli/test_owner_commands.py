"""What owners and members do on chain: `fedvm rules`, `members`, `coordinator` and `service`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_cli import call
from test_keys_appoint import ANVIL_KEY, BASE, RULES

import conditions
from fedvm.chain.federation import FederationContract
from fedvm.chain.keys import keep_key
from fedvm.chain.networks import connect
from fedvm.chain.rule_book import RuleBookContract
from fedvm.chain.stored_evidence import EvidenceRule, StoredEvidenceContract
from fedvm.devnet.embedded import open_chain
from fedvm.devnet.pdp import LocalProvider
from fedvm.pipeline.results import RunReport
from fedvm.protocol import model_root, to_bytes
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import open_run
from fedvm.store import Cid, ContentStore

STAKE = 10**17
NEWCOMER = "0x00000000000000000000000000000000000000AA"
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(finished: tuple[Path, RunReport], tmp_path: Path) -> Path:
    """A copy of the small run."""
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.fixture
def say(run: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """A command on the run: status, standard output and standard error."""
    return lambda *words: call(capsys, *words, "--run", str(run))


@pytest.fixture
def open_federation(tmp_path: Path) -> Path:
    """A run's directory whose federation anyone may join with a stake."""
    with open_chain(tmp_path, seed=5, create=True) as chain:
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            security=conditions.security(stake=STAKE),
            members=[],
            open_membership=True,
            model_root=model_root(BASE),
            model_cid=Cid.parse(ContentStore(tmp_path / "store").put(to_bytes(BASE))).binary,
        )
        place = ChainRef("embedded", "chain.sqlite")
        Deployment(place, chain.chain_id, federation=contract.address).save(tmp_path)
        keep_key(tmp_path / "member.key", chain.account("member"))
    return tmp_path


def head(run: Path) -> int:
    with open_run(run) as opened:
        return int(opened.w3.eth.block_number)


def pass_time(run: Path, seconds: int) -> None:
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None
        opened.chain.advance_time(seconds)


def rules_of(run: Path) -> Any:
    with open_run(run) as opened:
        return opened.federation_contract.rules()


def announced(run: Path) -> Any:
    with open_run(run) as opened:
        return RuleBookContract(opened.w3, opened.federation_contract.rule_book()).announced()


def is_clean(say: Say) -> bool:
    status, out, _ = say("audit")
    return status == 0 and "Nothing found" in out


def test_rules_are_announced_shown_and_adopted_after_their_notice(run: Path, say: Say) -> None:
    before, blocks = rules_of(run), head(run)
    wanted = ("rules", "announce", "--set", "min_labels=3", "--set", "max_norm=5")
    status, out, err = say(*wanted, "--dry-run")
    assert status == 0, err
    assert (
        "max_norm 10.0 → 5.0, min_labels 0 → 3" in out and "1 days" not in out and "24 hours from now" in out
    )
    assert "Nothing is sent" in out and head(run) == blocks and announced(run) is None

    status, out, err = say(*wanted, "--json")
    sent = json.loads(out)
    assert status == 0 and sent["sent"] and sent["gas"] > 0 and head(run) == blocks + 1, err
    assert sent["changes"] == {"max_norm": {"old": 10.0, "new": 5.0}, "min_labels": {"old": 0, "new": 3}}
    standing = announced(run)
    coming, at = standing.rules, standing.adoptable_at
    assert (coming.min_labels, coming.max_sum_squares) == (3, before.max_sum_squares // 4)
    status, out, _ = say("rules", "show", "--json")
    shown = json.loads(out)
    assert shown["rules"]["min_labels"] == 0 and shown["announced"]["rules"]["min_labels"] == 3
    assert shown["announced"]["adoptable_until"] == standing.adoptable_until == at + 14 * 86_400
    assert shown["announced"]["adoptable_at"] == at and shown["announced"]["hash"] == sent["hash"]
    status, out, _ = say("rules", "show")
    assert status == 0 and "announced" in out and "fedvm rules adopt" in out

    status, _, err = say("rules", "adopt")
    assert status == 2 and f"NoticeNotOver({at})" in err and "until 20" in err and rules_of(run) == before
    pass_time(run, 86_400)
    status, out, err = say("rules", "adopt")
    assert status == 0 and "from round 3 on" in out, err
    assert rules_of(run) == coming and announced(run) is None and is_clean(say)


def test_an_announcement_is_taken_back(run: Path, say: Say) -> None:
    status, _, err = say("rules", "cancel")
    assert status == 2 and "fedvm rules announce" in err
    assert say("rules", "announce", "--set", "min_labels=1")[0] == 0
    status, out, _ = say("rules", "cancel", "--dry-run")
    assert status == 0 and "takes the announced rules back" in out and announced(run) is not None
    assert say("rules", "cancel")[0] == 0 and announced(run) is None and is_clean(say)


def test_rules_come_from_the_table_of_a_file(run: Path, say: Say, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text("[training]\nepochs = 3\n[rules]\nmin_clients = 2\nmin_accuracy = 0.25\n")
    status, _, err = say("rules", "announce", str(file), "--set", "min_clients=4")
    assert status == 0, err
    coming = announced(run).rules
    assert (coming.min_clients, coming.min_accuracy_ppm) == (4, 250_000)
    assert coming.max_examples == rules_of(run).max_examples == 60  # what is not named stays


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "--set min_labels=3"),
        (("--set", "min_label=3"), "did you mean min_labels?"),
        (("--set", "data.clients=3"), "only rules can change here"),
        (("--set", "min_clients=0"), "rules.min_clients"),
        (("--set", "min_clients=5"), "QuorumUnreachable(4, 5)"),
        (("--set", "min_labels=0"), "in force already"),
        (("--set", "fraction_bits=3"), "stays with the federation"),
        (("{tmp}/none.toml",), "no such file"),
        (("{tmp}/empty.toml",), "no [rules] table"),
        (("{tmp}/wrong.toml",), "wrong.toml, line 3: unknown key rules.max_nrm: did you mean max_norm?"),
        (("--set", "min_labels=1", "--dry-run", "--unsigned"), "not both"),
        (("--set", "min_labels=1", "--from", NEWCOMER), "--key-file"),
        (("--set", "min_labels=1", "--from", "0x1"), "not an address"),
        (
            ("--set", "min_labels=1", "--rpc", "http://127.0.0.1:1"),
            "is a file in it: leave --network and --rpc away",
        ),
    ],
)
def test_rules_that_cannot_be_are_refused_with_what_to_do(
    run: Path, say: Say, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "empty.toml").write_text("[data]\nclients = 3\n")
    (tmp_path / "wrong.toml").write_text("[rules]\nmin_labels = 2\nmax_nrm = 4\n")
    status, _, err = say("rules", "announce", *(word.format(tmp=tmp_path) for word in words))
    assert status == 2 and complaint in " ".join(err.replace("│", " ").split())
    assert announced(run) is None


def evidence_of(run: Path) -> EvidenceRule | None:
    with open_run(run) as opened:
        return StoredEvidenceContract.of(opened.federation_contract).rule()


def verifier_of(run: Path, sets: int) -> str:
    """A verifier on the run's chain, with so many data sets."""
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None
        provider = LocalProvider.begin(opened.w3, opened.chain.account("owner"))
        assert [provider.create() for _ in range(sets)] == [1, 2, 3][:sets]
        return provider.verifier


@pytest.mark.slow
def test_stored_evidence_is_asked_for_shown_and_taken_back(run: Path, say: Say) -> None:
    verifier = verifier_of(run, 2)
    wanted = ("rules", "evidence", "--verifier", verifier, "--data-set", "2", "--data-set", "1")
    blocks = head(run)
    status, out, err = say(*wanted, "--max-age", "5760", "--dry-run")
    assert status == 0 and head(run) == blocks and evidence_of(run) is None, err
    assert f"From round 3 on a result is taken only while the PDP verifier {verifier}" in out
    assert "data set 1, 2, last proved at most 5,760 epochs" in out and "Nothing is sent" in out
    assert json.loads(say("rules", "show", "--json")[1])["evidence"] is None

    status, out, err = say(*wanted, "--max-age", "5760", "--challenged", "--json")
    assert status == 0 and json.loads(out)["sent"], err
    assert evidence_of(run) == EvidenceRule(verifier, 5760, True, (1, 2))
    shown = json.loads(say("rules", "show", "--json")[1])["evidence"]
    assert shown == {"verifier": verifier, "max_age": 5760, "challenged": True, "data_sets": [1, 2]}
    assert f"data set 1, 2 of the PDP verifier {verifier}" in say("rules", "show")[1] and is_clean(say)

    status, out, _ = say("rules", "evidence", "--none")
    assert status == 0 and "without stored evidence" in out and evidence_of(run) is None and is_clean(say)
    status, _, err = say("rules", "evidence", "--none")
    assert status == 2 and "nothing to take back" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "say --verifier, --data-set and --max-age"),
        (("--verifier", "{verifier}", "--data-set", "1"), "say --verifier, --data-set and --max-age"),
        (("--none", "--data-set", "1"), "leave the other options out"),
        (("--verifier", "0x12", "--data-set", "1", "--max-age", "9"), "0x12"),
        (("--verifier", NEWCOMER, "--data-set", "1", "--max-age", "9"), "is no PDP verifier on this network"),
        (("--verifier", "{federation}", "--data-set", "1", "--max-age", "9"), "is no PDP verifier"),
        (("--verifier", "{verifier}", "--data-set", "2", "--max-age", "9"), "no live data set 2"),
        (("--verifier", "{verifier}", "--data-set", "1", "--max-age", "0"), "--max-age"),
        (("--verifier", "{verifier}", *[word for number in range(17) for word in ("--data-set", str(number))],
          "--max-age", "1"), "lists 16 data sets at most, not 17"),
    ],
)  # fmt: skip
def test_evidence_that_cannot_be_asked_for_is_refused(
    run: Path, say: Say, words: tuple[str, ...], complaint: str
) -> None:
    with open_run(run) as opened:
        federation = opened.federation_contract.address
    given = [word.format(verifier=verifier_of(run, 1), federation=federation) for word in words]
    status, _, err = say("rules", "evidence", *given)
    assert status == 2 and complaint in " ".join(err.replace("│", " ").split()), err
    assert evidence_of(run) is None


def test_who_is_not_the_owner_is_told_who_is(run: Path, say: Say) -> None:
    verifier = verifier_of(run, 1)
    with open_run(run) as opened:
        owner, stranger = opened.federation_contract.owner(), opened.federation_contract.members()[0]
    for words in (
        ("rules", "announce", "--set", "min_labels=1"),
        ("rules", "evidence", "--verifier", verifier, "--data-set", "1", "--max-age", "9"),
        ("members", "add", NEWCOMER),
        ("coordinator", "replace", NEWCOMER),
        ("service", "fee", "1", "5"),
    ):
        for how in ((), ("--dry-run",), ("--unsigned",)):
            status, out, err = say(*words, "--from", str(stranger), *how)
            assert status == 2 and f"only the owner may do this, {owner}" in err and "--key-file" in err
            assert "Sent by" not in out


def test_members_come_and_go(run: Path, say: Say) -> None:
    status, out, err = say("members", "add", NEWCOMER, "--dry-run")
    assert status == 0 and f"{NEWCOMER} becomes a member from round 3 on, 5 in all" in out, err
    assert say("members", "add", NEWCOMER)[0] == 0
    status, out, _ = say("members", "list", "--json")
    listed = json.loads(out)
    names = [row["member"] for row in listed["members"]]
    assert NEWCOMER in names and len(names) == 5 and not listed["open"] and listed["quorum"] == 3
    assert say("members", "list")[1].count("0x") == 6
    status, _, err = say("members", "add", NEWCOMER)
    assert status == 2 and "AlreadyMember" in err and "Leave it out" in err
    others = [name for name in names if name != NEWCOMER]
    for gone in (NEWCOMER, others[0]):
        assert say("members", "remove", gone)[0] == 0
    status, _, err = say("members", "remove", others[1])
    assert status == 2 and "QuorumUnreachable(2, 3)" in err
    status, _, err = say("members", "remove", NEWCOMER)
    assert status == 2 and "UnknownMember" in err and "fedvm members list" in err
    status, _, err = say("members", "join", "--from", others[1])
    assert status == 2 and "ByInvitationOnly" in err and "Ask the owner" in err
    with open_run(run) as opened:
        assert sorted(opened.federation_contract.members()) == sorted(others[1:])
    assert is_clean(say)


def test_the_transaction_printed_for_a_wallet_does_what_it_says(run: Path, say: Say) -> None:
    status, out, err = say("members", "add", NEWCOMER, "--unsigned")
    assert status == 0 and "becomes a member" in err
    batch = json.loads(out)
    (transaction,) = batch["transactions"]
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None and not opened.federation_contract.is_member(NEWCOMER)
        assert batch["chainId"] == str(opened.deployment.chain_id) and transaction["value"] == "0"
        sent: Any = {name: transaction[name] for name in ("to", "data")}
        opened.federation_contract.sender.send(opened.chain.account("owner"), sent)
        assert opened.federation_contract.is_member(NEWCOMER)


def test_a_coordinator_is_replaced_and_pays_in(run: Path, say: Say) -> None:
    with open_run(run) as opened:
        assert opened.chain is not None
        old, new = (opened.chain.account(role).address for role in ("coordinator", "user"))
    status, out, err = say("coordinator", "replace", new, "--dry-run")
    assert status == 0 and f"in place of {old}" in out and "(1 FIL) for the bond" in out, err
    assert say("coordinator", "replace", new)[0] == 0
    status, _, err = say("coordinator", "replace", new)
    assert status == 2 and "is the coordinator already" in err
    assert "zero address" in say("coordinator", "replace", "0x" + 40 * "0")[2]
    status, out, err = say("coordinator", "deposit", "1000", "--from", new)
    assert status == 0 and "1,000 wei go with it" in out, err
    status, out, _ = say("coordinator", "show", "--json")
    shown = json.loads(out)
    assert (shown["coordinator"], shown["owed"], shown["latest_round"]) == (new, 1000, 2)
    assert shown["successor"] is None
    assert new in say("coordinator", "show")[1] and is_clean(say)


def test_anybody_ends_what_a_silent_coordinator_left(run: Path, say: Say) -> None:
    with open_run(run) as opened:
        assert opened.chain is not None
        stranger = opened.chain.account("user").address
    status, _, err = say("coordinator", "end", "--from", stranger, "--dry-run")
    assert status == 2 and "nothing stands that could be ended" in err
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None
        contract = opened.federation_contract
        contract.open_round(opened.chain.account("coordinator"))
        number, seconds = contract.current_round(), contract.rules().round_seconds
    status, _, err = say("coordinator", "end", "--from", stranger)
    assert status == 2 and f"round {number} is the coordinator's until" in err
    pass_time(run, seconds + 1)
    status, out, err = say("coordinator", "end", "--from", stranger, "--dry-run")
    assert status == 0 and f"Round {number} ends without a result" in out and "Nothing is sent" in out, err
    status, out, err = say("coordinator", "end", "--from", stranger, "--json")
    assert status == 0 and json.loads(out)["action"] == "Federation.failRound", err
    assert say("coordinator", "end", "--from", stranger)[0] == 2 and is_clean(say)


def test_a_fee_is_set_and_paid(run: Path, say: Say, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(image)
    status, out, err = say("service", "fee", "1", "1000", "--treasury", NEWCOMER, "--dry-run")
    assert status == 0 and "Each later decision by version 1 costs 1,000 wei (now 0 wei)" in out, err
    assert "It would cost" in out and " gas, " in out and "Nothing is sent" in out
    status, out, err = say("service", "fee", "1", "1000", "--treasury", NEWCOMER, "--treasury-share", "0.1")
    assert status == 0 and f"costs 1,000 wei (now 0 wei); 10 % goes to {NEWCOMER}" in out, err
    assert say("predict", str(image), "--record", "--max-fee", "1000")[0] == 0
    status, out, _ = say("service", "versions", "--json")
    (row,) = json.loads(out)["versions"]
    assert (row["state"], row["fee"], row["treasury"], row["treasury_ppm"]) == (
        "serves",
        1000,
        NEWCOMER,
        100_000,
    )
    assert row["gas"] > 10_000 and row["earned_per_update"] == 300 and row["round"] == 2
    # What is not named stays.
    assert say("service", "fee", "1", "2000")[0] == 0
    with open_run(run) as opened:
        terms = opened.model_service.fee_terms(1)
    assert (terms.amount, terms.treasury, terms.treasury_ppm) == (2000, NEWCOMER, 100_000)
    status, _, err = say("service", "fee", "1", "5", "--treasury-share", "0.6")
    assert status == 2 and "at most half" in err
    status, _, err = say("service", "fee", "2", "5")
    assert status == 2 and "there is no version 2" in err
    assert say("service", "fee", "1", str(2**96))[0] == 2
    assert is_clean(say)


@pytest.mark.slow
def test_an_older_version_serves_again(run: Path, say: Say) -> None:
    status, _, err = say("service", "rollback", "1")
    assert status == 2 and "version 1 serves already" in err
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None
        service = opened.model_service
        service.register(opened.chain.account("owner"), service.version(1))
        assert service.current_version() == 2
    status, out, err = say("service", "rollback", "1", "--dry-run")
    assert status == 0 and "Version 1 serves in place of version 2" in out, err
    assert "It would cost" in out and "Nothing is sent" in out
    assert "has served" in say("service", "versions")[1]
    assert say("service", "rollback", "1")[0] == 0
    with open_run(run) as opened:
        assert opened.model_service.current_version() == 1
    status, _, err = say("service", "rollback", "3")
    assert status == 2 and "versions 1 to 2 are registered" in err and is_clean(say)


def test_a_member_joins_with_a_stake_and_fetches_it_again(
    open_federation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ("--run", str(open_federation), "--key-file", str(open_federation / "member.key"))

    def member(*words: str) -> tuple[int, str, str]:
        return call(capsys, "members", *words, *key)

    def standing() -> tuple[int, int, int]:
        with open_run(open_federation) as opened:
            contract = opened.federation_contract
            who = opened.chain.account("member").address if opened.chain else ""
            return len(contract.members()), contract.stake_of(who), contract.owed(who)

    status, out, err = member("join", "--dry-run")
    assert status == 0 and f"pays in {STAKE:,} wei (0.1 FIL) of stake" in out and "Nothing is sent" in out, (
        err
    )
    assert standing() == (0, 0, 0)
    status, out, _ = member("join", "--unsigned")
    assert status == 0 and json.loads(out)["transactions"][0]["value"] == str(STAKE)
    assert member("join")[0] == 0 and standing() == (1, STAKE, 0)
    status, _, err = member("stake")
    assert status == 2 and "nothing is lacking" in err
    assert member("stake", "7")[0] == 0 and standing() == (1, STAKE + 7, 0)
    status, _, err = member("unstake")
    assert status == 2 and "fedvm members quit" in err
    assert member("quit")[0] == 0 and standing() == (0, STAKE + 7, 0)
    assert member("unstake")[0] == 0 and standing() == (0, 0, STAKE + 7)
    status, _, err = member("unstake")
    assert status == 2 and "NoStake" in err
    status, out, _ = member("withdraw", "--to", NEWCOMER, "--dry-run")
    assert status == 0 and f"sent to {NEWCOMER}" in out and standing() == (0, 0, STAKE + 7)
    status, _, err = member("withdraw", "--to", "0x12")
    assert status == 2 and "not an address" in err
    status, out, _ = member("withdraw", "--json")
    assert status == 0 and json.loads(out)["sent"] and standing() == (0, 0, 0)
    status, _, err = member("withdraw")
    assert status == 2 and "NothingOwed" in err


def test_owner_and_members_act_on_a_network(
    tmp_path: Path,
    start_anvil: Callable[..., AbstractContextManager[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from eth_account import Account

    owner, poor = Account.from_key(ANVIL_KEY), Account.create()
    keep_key(tmp_path / "poor.key", poor)
    with start_anvil() as url:
        contract, _ = FederationContract.deploy(
            connect(url),
            owner,
            coordinator=owner.address,
            rules=RULES,
            security=conditions.security(stake=STAKE),
            members=[poor.address],
            model_root=model_root(BASE),
            model_cid=Cid.parse(ContentStore(tmp_path / "store").put(to_bytes(BASE))).binary,
        )
        where = ("--rpc", url, "--federation", contract.address)
        monkeypatch.delenv("PRIVATE_KEY", raising=False)
        monkeypatch.chdir(tmp_path)
        status, _, err = call(capsys, "members", "add", NEWCOMER, *where)
        assert status == 2 and "no key" in err
        status, out, err = call(
            capsys, "members", "add", NEWCOMER, *where, "--from", owner.address, "--dry-run"
        )
        assert status == 0 and "ETH" in out and "Nothing is sent" in out, err
        status, out, err = call(capsys, "members", "add", NEWCOMER, *where, "--unsigned")
        assert status == 0 and json.loads(out)["transactions"][0]["to"] == contract.address, err
        assert not contract.is_member(NEWCOMER)
        monkeypatch.setenv("PRIVATE_KEY", ANVIL_KEY)
        status, out, err = call(capsys, "members", "add", NEWCOMER, *where)
        assert status == 0 and contract.is_member(NEWCOMER), err
        status, _, err = call(
            capsys, "members", "stake", *where, "--key-file", str(tmp_path / "poor.key"), "--dry-run"
        )
        assert status == 1 and "holds 0 ETH" in err and "0.1 are needed" in err
        at = (*where, "--store", str(tmp_path / "store"))  # an audit needs no run's directory
        status, out, err = call(capsys, "audit", *at, "--json")
        assert status == 0 and json.loads(out)["passed"]["model data"] == 1, err
        status, out, err = call(capsys, "publish", *at, "--car", "made.car", "--json")
        assert status == 0 and json.loads(out)["artefacts"] == 1, err
        status, _, err = call(capsys, "audit", *where)
        assert status == 2 and "say with --store where they are" in err
        status, _, err = call(
            capsys, "publish", *at[:2], "--federation", NEWCOMER, *at[4:], "--car", "made.car"
        )
        assert status == 2 and "there is no contract at" in err
