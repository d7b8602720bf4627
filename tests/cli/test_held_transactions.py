"""Commands that follow the chain, tried and printed: what they would send first is told, and nothing is sent."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from test_cli import call

sys.path.insert(0, str(Path(__file__).parent.parent / "audit"))

from court_bench import create_court, random_updates
from lies import LIES, honest, tell

from fedvm.audit.preimages import PreimageFolder
from fedvm.chain.disputes import Question
from fedvm.chain.errors import KeyFileError
from fedvm.chain.federation_types import RoundState
from fedvm.chain.networks import CALIBRATION, MAINNET
from fedvm.chain.sender import Cost
from fedvm.chain.supervised import SupervisedAccount
from fedvm.cli.commands.paying import _Look, approve_rest, require_answer
from fedvm.cli.commands.spending import Spending
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.results import RunReport
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import open_run

ELEMENTS = 200
STRANGER = "0x00000000000000000000000000000000000000AA"


def planted(path: Path, *, wrong: bool) -> None:
    """A run with a pending proposal: a wrong one and what proves it, or a right one of which data are asked."""
    court = create_court(path, elements=ELEMENTS, members=3)
    rng = random.Random(5)
    facts = court.open_round(random_updates(rng, 3, ELEMENTS), rng)
    about = next(one for one in LIES if one.__name__ == "_wrong_product_or_sum")
    stated = tell(about, facts, rng) if wrong else honest(facts)
    court.propose(stated)
    if wrong:
        PreimageFolder(path / "preimages").write(stated.preimages)
    else:
        court.disputes.demand(court.challenger, 1, Question(stated.aggregation_root, (), 1))
    place = ChainRef("embedded", "chain.sqlite")
    Deployment(place, court.chain.chain_id, federation=court.contract.address).save(path)
    court.chain.close()


def head(path: Path) -> int:
    with open_run(path) as run:
        return int(run.w3.eth.block_number)


def send_printed(path: Path, batch: dict[str, Any], role: str) -> None:
    with open_run(path, read_only=False) as run:
        assert run.chain is not None and batch["chainId"] == str(run.deployment.chain_id)
        sender = run.federation_contract.sender
        for one in batch["transactions"]:
            fields: Any = {"to": one["to"], "data": one["data"], "value": int(one["value"])}
            sender.send(run.chain.account(role), fields)


def test_a_challenge_is_tried_and_printed_before_it_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(tmp_path, wrong=True)
    before, words = head(tmp_path), ("challenge", "--run", str(tmp_path))
    status, out, err = call(capsys, *words, "--dry-run")
    assert status == 0 and "Next would be" in out and "Nothing is sent" in out and "gas" in out, err
    status, out, err = call(capsys, *words, "--dry-run", "--json")
    told = json.loads(out)
    assert status == 0 and told["sent"] is False and told["gas"] > 100_000 and told["fee"] > 0, err
    status, out, err = call(capsys, *words, "--unsigned")
    batch = json.loads(out)
    assert status == 0 and "Give the same command again" in err and head(tmp_path) == before
    commit, proof = batch  # two batches, since the proof must be in a later block
    assert commit["transactions"][0]["to"] == told["to"] and told["transactions"] == 2
    send_printed(tmp_path, commit, "user")
    send_printed(tmp_path, proof, "user")
    with open_run(tmp_path) as run:
        assert run.federation_contract.round(1).state is RoundState.SUBMITTED
    status, out, err = call(capsys, *words)
    assert status == 0 and "Nothing to challenge" in out, err


@pytest.mark.slow
def test_answers_are_tried_and_printed_before_they_are_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(tmp_path, wrong=False)
    before, words = head(tmp_path), ("answer", "--run", str(tmp_path))
    status, out, err = call(capsys, *words, "--dry-run", "--json")
    assert status == 0 and json.loads(out)["sent"] is False, err
    status, out, err = call(capsys, *words, "--unsigned")
    assert status == 0 and head(tmp_path) == before, err
    send_printed(tmp_path, json.loads(out), "coordinator")
    status, out, err = call(capsys, *words)
    assert status == 0 and "0 questions answered, 0" in out, err
    for how in ("--dry-run", "--unsigned"):
        status, _, err = call(capsys, *words, "--watch", how)
        assert status == 2 and "leave --dry-run and --unsigned away" in " ".join(
            err.replace("│", " ").split()
        )


@pytest.fixture
def run(finished: tuple[Path, RunReport], tmp_path: Path) -> Path:
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.mark.slow
def test_a_decision_and_its_fees_are_tried_and_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(next((run / "images").glob("*.png")))
    asked, at = ("predict", image, "--run", str(run)), ("--run", str(run))
    status, _, err = call(capsys, *asked, "--dry-run")
    assert status == 2 and "--record only" in " ".join(err.replace("│", " ").split())
    before = head(run)
    status, out, err = call(capsys, *asked, "--record", "--dry-run")
    assert status == 0 and "Next would be ModelService.decide" in out and head(run) == before, err
    status, out, err = call(capsys, *asked, "--record", "--unsigned", "--from", STRANGER)
    batch = json.loads(out)
    assert status == 0 and batch["meta"]["createdFromSafeAddress"] == STRANGER, err
    with open_run(run) as opened:
        assert batch["transactions"][0]["to"] == opened.model_service.address

    assert call(capsys, "service", "fee", "1", "3000", *at)[0] == 0
    assert call(capsys, *asked, "--record", "--max-fee", "3000")[0] == 0
    before = head(run)
    status, out, err = call(capsys, "collect", *at, "--withdraw", "--dry-run", "--json")
    told = json.loads(out)
    assert status == 0 and not told["sent"] and len(told["steps"]) >= 2 and told["gas"] > 0, err
    status, out, err = call(capsys, "collect", *at, "--withdraw", "--unsigned")
    batch = json.loads(out)
    assert status == 0 and len(batch["transactions"]) == len(told["steps"]) + 1, err  # and the withdrawal
    assert head(run) == before
    batch["transactions"].pop()  # this account is owed nothing
    send_printed(run, batch, "user")
    status, out, _ = call(capsys, "collect", *at)
    assert status == 0 and "has earned nothing that is not collected" in out


def test_an_account_without_its_key_signs_nothing() -> None:
    seen: list[str] = []
    account = SupervisedAccount(STRANGER, None, lambda transactions, action, apart=False: seen.append(action))
    assert account.address == STRANGER
    with pytest.raises(KeyFileError, match="is not here"):
        account.sign_transaction(
            {"to": STRANGER, "value": 0, "gas": 1, "gasPrice": 1, "nonce": 0, "chainId": 1}
        )


def test_what_may_come_later_is_asked_about_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that waits for a person would let an answer's time pass."""
    asked: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda text, **_: asked.append(text))
    sender: Any = SimpleNamespace(network=CALIBRATION, cost=lambda *_, **__: Cost(21_000, 5, 0))
    for ahead in (True, False):
        asked.clear()
        account = SupervisedAccount(STRANGER, None, _Look(Spending(), sender, STRANGER, False))
        if ahead:
            approve_rest(account)
            assert asked == [f"{STRANGER} will pay for what must be sent from now on. Go on?"]
        account.look([{"to": STRANGER}], "Disputes.answer")
        account.look([{"to": STRANGER}], "Disputes.answer")
        assert len(asked) == 1
    account = SupervisedAccount(STRANGER, None, _Look(Spending(yes=True), sender, STRANGER, False))
    approve_rest(account)
    assert len(asked) == 1


def test_where_nobody_can_be_asked_valuable_coin_needs_a_yes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when a question comes in that must be answered in minutes."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(UsageError, match="give --yes"):
        require_answer("x", MAINNET, yes=False)
    require_answer("x", MAINNET, yes=True)
    require_answer("x", CALIBRATION, yes=False)
