"""A round that its coordinator rolled up and left: a stranger ends it by `fedvm propose`, or loses its bond."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from court_bench import Court, create_court, random_updates, refuse_the_first
from sealed_game import Game, Play, found, play

from fedvm.audit.errors import AuditError
from fedvm.audit.replay import audit
from fedvm.audit.rolled_up import rolled_up_result
from fedvm.chain.disputes import DisputesContract, Question
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundProposed, RoundState
from fedvm.cli.entry import run as fedvm
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.protocol import model_root
from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import open_run
from fedvm.store import Cid, ContentStore
from fedvm.watch.acting import Actor
from fedvm.watch.events import Event, Kind
from fedvm.watch.look import Looker
from fedvm.watch.memory import Standing
from fedvm.watch.subject import Subject

ELEMENTS, MEMBERS = 130, 5


@dataclass
class Left:
    """A run whose latest round is rolled up and not proposed. model_root: what it comes to, 32 bytes."""

    path: Path
    user: str
    number: int
    bond: int
    until: int
    fails_after: int
    model_root: bytes

    def pass_time(self, until: int) -> None:
        with open_run(self.path, read_only=False) as run:
            assert run.chain is not None
            run.chain.advance_time(until + 1 - int(run.w3.eth.get_block("latest")["timestamp"]))

    @property
    def words(self) -> list[str]:
        return ["--run", str(self.path)]


def _keep(path: Path, chain: EmbeddedChain, contract: FederationContract, root: bytes) -> Left:
    number = contract.current_round()
    standing = contract.round(number)
    Deployment(ChainRef("embedded", "chain.sqlite"), chain.chain_id, federation=contract.address).save(path)
    bond = contract.security().bond
    user = chain.account("user").address
    return Left(path, user, number, bond, standing.until, contract.fails_after(standing), root)


def _rolled_up(path: Path) -> tuple[Court, bytes]:
    court, rng = create_court(path, elements=ELEMENTS, members=MEMBERS), random.Random(7)
    vectors = random_updates(rng, 4, ELEMENTS)
    number, judged_at, rollup = court.open_rollup(vectors, rng, refuse_the_first())
    court.state_honest(number, judged_at, rollup)
    moved = np.zeros(ELEMENTS, dtype=np.int64)
    for commitment, vector in zip(rollup.commitments, vectors[1:], strict=True):
        moved += np.int64(commitment.weight) * vector
    return court, model_root((court.base + moved // np.int64(rollup.total_weight)).astype(np.int32))


def _open_left(path: Path) -> Left:
    court, root = _rolled_up(path)
    left = _keep(path, court.chain, court.contract, root)
    court.chain.close()
    return left


def _sealed_left(path: Path) -> Left:
    with open_chain(path / "chain.sqlite", seed=12, create=True) as chain:
        game = found(chain, 18, (), store=ContentStore(path / "store"))
        played = play(game, absent=(3,))
        played.roll_up()
        return _keep(path, chain, game.federation, _true_root(game, played))


def _true_root(game: Game, played: Play) -> bytes:
    """From what members put in, without masks."""
    total, moved = 0, np.zeros(game.base.size, dtype=np.int64)
    for place in played.order:
        weight, update = game.update(place, played.number)
        total, moved = total + weight, moved + weight * update.astype(np.int64)
    return model_root((game.base + moved // total).astype(np.int32))


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("leave", [_open_left, _sealed_left])
def test_a_stranger_brings_the_round_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], leave: object
) -> None:
    left = leave(tmp_path)  # type: ignore[operator]
    assert fedvm(["propose", *left.words]) == 2
    said = capsys.readouterr().err
    assert "the coordinator may still propose" in said and "UTC" in said
    left.pass_time(left.until)
    assert fedvm(["coordinator", "end", *left.words, "--from", left.user]) == 2
    assert "anybody may propose" in " ".join(capsys.readouterr().err.split())
    assert fedvm(["propose", *left.words, "--dry-run", "--json"]) == 0
    priced = json.loads(capsys.readouterr().out)
    assert not priced["sent"] and priced["value"] == left.bond
    assert fedvm(["propose", *left.words, "--round", "9"]) == 2
    assert "the latest round is 1" in capsys.readouterr().err

    assert fedvm(["propose", *left.words, "--round", "1", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["attempt"], made["model_root"]) == (1, left.model_root.hex())
    assert fedvm(["challenge", *left.words]) == 0
    assert "Nothing to challenge" in capsys.readouterr().out
    with open_run(tmp_path, read_only=False) as run:
        assert run.chain is not None
        contract = run.federation_contract
        assert made["proposer"] == left.user
        assert contract.owed(contract.coordinator()) == left.bond
        disputes = DisputesContract(run.w3, contract.disputes())
        disputes.demand(run.chain.account("owner"), left.number, Question(left.model_root, (), 2))
    assert fedvm(["propose", *left.words]) == 2
    assert "proposal 1 of round 1 stands" in capsys.readouterr().err
    assert fedvm(["answer", *left.words]) == 0
    assert "1 questions answered, 0" in capsys.readouterr().out
    with open_run(tmp_path) as run:
        until = run.federation_contract.round(left.number).until
    left.pass_time(until)
    assert fedvm(["coordinator", "end", *left.words, "--from", left.user]) == 0
    capsys.readouterr()
    with open_run(tmp_path) as run:
        contract = run.federation_contract
        assert contract.model_root() == left.model_root
        assert contract.owed(left.user) == left.bond
        report = audit(run.w3, run.store, federation=contract.address, service=None)
        assert not report.findings


def test_a_watch_answers_for_the_stranger_that_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = _open_left(tmp_path)
    left.pass_time(left.until)
    assert fedvm(["propose", *left.words]) == 0
    capsys.readouterr()
    told: list[Event] = []
    with open_run(tmp_path, read_only=False) as run:
        assert run.chain is not None
        chain, contract = run.chain, run.federation_contract
        looker = Looker(Subject("s", lambda: run), Standing(), told.append, preimages=tmp_path / "preimages")
        stranger, coordinator = (
            Actor(looker, chain.account(role), told.append) for role in ("user", "coordinator")
        )
        disputes = DisputesContract(run.w3, contract.disputes())
        disputes.demand(chain.account("owner"), left.number, Question(left.model_root, (), 2))
        for actor in (coordinator, stranger, stranger):
            looker.look()
            actor.act()
        assert [one.kind for one in told] == [Kind.ANSWER]
        assert (coordinator.answers, stranger.answers, stranger.open_questions) == (0, 1, 0)
        for file in (tmp_path / "store").iterdir():
            if file.is_file():
                file.unlink()
        disputes.demand(chain.account("owner"), left.number, Question(left.model_root, (), 1))
        looker.look()
        stranger.act()
        assert told[-1].kind is Kind.UNANSWERED and "or the bond is" in told[-1].text


def test_only_who_may_proposes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = _open_left(tmp_path)
    with open_run(tmp_path, read_only=False) as run:
        assert run.chain is not None
        contract, stranger = run.federation_contract, run.chain.account("user")
        result = rolled_up_result(contract, run.store, left.number, 0)
        with pytest.raises(TransactionFailed, match="NotCoordinator"):
            contract.propose(stranger, left.number, result.proposal)
    left.pass_time(left.until)
    with open_run(tmp_path, read_only=False) as run:
        assert run.chain is not None
        contract = run.federation_contract
        with pytest.raises(TransactionFailed, match="NotCoordinator"):
            contract.fail_round(run.chain.account("user"), left.number)
        number, digest = result.proposal.anchor
        other = replace(result.proposal, anchor=(number, bytes(31) + b"\1"))
        assert len(digest) == 32
        with pytest.raises(TransactionFailed, match="anchor"):
            contract.propose(run.chain.account("user"), left.number, other)
    left.pass_time(left.fails_after)
    assert fedvm(["coordinator", "end", *left.words, "--from", left.user]) == 0
    assert fedvm(["propose", *left.words]) == 2
    assert "round 1 is failed" in capsys.readouterr().err


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    made, _ = _rolled_up(tmp_path)
    yield made
    made.chain.close()


def _turn(court: Court) -> int:
    number = court.contract.current_round()
    now = int(court.chain.w3.eth.get_block("latest")["timestamp"])
    court.chain.advance_time(court.contract.round(number).until + 1 - now)
    return number


def test_a_lying_stranger_loses_its_bond_and_the_coordinator_none(court: Court) -> None:
    number, bond = _turn(court), court.contract.security().bond
    coordinator, liar = court.coordinator.address, court.chain.account("owner")
    result = rolled_up_result(court.contract, court.store, number, court.block)
    lie = replace(
        result.proposal, model_root=model_root(result.model + 1), cid=Cid.of_block(0x55, b"lie").binary
    )
    court.contract.propose(liar, number, lie)
    upheld = court.challenge(published=lambda wanted: None, answered=lambda wanted: None)
    assert upheld is not None and upheld.reward == bond // 2
    assert court.contract.owed(coordinator) == bond and court.contract.owed(liar.address) == 0
    # The coordinator has its time again, and then anybody.
    with pytest.raises(TransactionFailed, match="NotCoordinator"):
        court.contract.propose(liar, number, result.proposal)
    _turn(court)
    proposed, _ = court.contract.propose(court.challenger, number, result.proposal)
    assert (proposed.attempt, proposed.proposer) == (2, court.challenger.address)


def test_nothing_is_proposed_over_what_is_missing(court: Court, tmp_path: Path) -> None:
    number = _turn(court)
    result = rolled_up_result(court.contract, court.store, number, court.block)
    assert result.proposal.premises.accepted == 3
    empty = ContentStore(tmp_path / "another")
    with pytest.raises(AuditError, match="fetch"):
        rolled_up_result(court.contract, empty, number, court.block)


def test_nothing_is_proposed_over_a_false_rollup(tmp_path: Path) -> None:
    """Whoever did would answer for it: the coordinator could leave it to strangers, and prove it."""
    court, rng = create_court(tmp_path, elements=ELEMENTS, members=MEMBERS), random.Random(8)
    number, judged_at, rollup = court.open_rollup(random_updates(rng, 3, ELEMENTS), rng)
    heavier = replace(rollup.records[0], weight=rollup.records[0].weight + 1)
    court.state_honest(number, judged_at, replace(rollup, records=(heavier, *rollup.records[1:])))
    _turn(court)
    with pytest.raises(AuditError, match="false"):
        rolled_up_result(court.contract, court.store, number, court.block)
    court.chain.close()


def test_nothing_is_proposed_over_an_update_that_had_expired(tmp_path: Path) -> None:
    """That a submission's deadline was before the close no sum shows; the contract's judge does."""
    with open_chain(tmp_path / "chain.sqlite", seed=13, create=True) as chain:
        game = found(chain, 16, (), store=ContentStore(tmp_path / "store"))
        played = play(game, changes={0: {"deadline": 1}})
        played.roll_up()
        with pytest.raises(AuditError, match="false"):
            rolled_up_result(game.federation, game.store, played.number, 0)  # type: ignore[arg-type]
        assert played.state() is RoundState.OPEN
        assert not list(game.federation.events([RoundProposed]))
