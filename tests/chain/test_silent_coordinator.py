"""A sealed federation whose coordinator falls silent: anybody ends what it left, and nobody honest loses by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sealed_game import SEALED, SECURITY, Game, create, enrolment, found, play

from fedvm.chain.epoch_types import EpochState
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation_types import RoundState
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.pipeline.endings import end
from fedvm.pipeline.errors import UsageError
from fedvm.protocol import model_root
from fedvm.protocol.sealed.keys import EpochKeys
from fedvm.protocol.sealed.member import may_answer

COUNT = 16


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    with open_chain(tmp_path, seed=9, create=True) as one:
        yield one


@pytest.fixture
def game(chain: EmbeddedChain) -> Game:
    return found(chain, COUNT)


def end_as_stranger(game: Game) -> str:
    plan = end(game.federation)
    plan.send(game.chain.account("user"))
    return plan.sentence


def pass_until(game: Game) -> None:
    """To the second from which on anybody may end what the coordinator left."""
    standing = game.federation.round(game.federation.current_round())
    is_proposed = standing.state is RoundState.PROPOSED
    until = standing.until if is_proposed else game.federation.fails_after(standing)
    now = int(game.chain.w3.eth.get_block("latest")["timestamp"])
    game.chain.advance_time(until - now + 1)


def test_a_round_that_was_closed_is_ended_and_another_coordinator_goes_on(game: Game) -> None:
    played = play(game)  # closed, and the seeds are revealed
    with pytest.raises(UsageError, match="is the coordinator's until"):
        end(game.federation)
    pass_until(game)
    owed = game.federation.owed(game.coordinator.address)
    assert "ends without a result" in end_as_stranger(game)
    assert played.state() is RoundState.FAILED
    assert game.federation.owed(game.coordinator.address) == owed
    assert game.federation.model_root() == model_root(game.base)
    with pytest.raises(UsageError, match="nothing stands"):
        end(game.federation)
    # In the same epoch, over the same base: who answered answers for the same members again.
    game.federation.replace_coordinator(game.chain.account("owner").address).send(game.chain.account("owner"))
    game.coordinator = game.chain.account("owner")
    following = play(game)
    assert following.close.included == played.close.included
    member, base = game.member(0), model_root(game.base)
    before = may_answer(played.close, member, base, [])
    assert may_answer(following.close, member, base, [before]).included == before.included
    following.roll_up()
    following.propose(b"\1" * 32, b"\2" * 32, game.base + 1)
    pass_until(game)
    assert "made final" in end_as_stranger(game)
    assert following.state() is RoundState.FINAL
    assert game.federation.owed(game.coordinator.address) == SECURITY.bond


def test_the_bond_of_a_roll_up_without_a_proposal_comes_back(game: Game) -> None:
    played = play(game, {3})
    played.roll_up()
    assert game.federation.owed(game.coordinator.address) == 0
    pass_until(game)
    assert "bond of the roll-up goes back" in end_as_stranger(game)
    assert played.state() is RoundState.FAILED
    assert game.federation.owed(game.coordinator.address) == SECURITY.bond


def test_nobody_speaks_in_the_place_of_a_silent_coordinator(game: Game) -> None:
    played = play(game)
    game.coordinator, coordinator = game.chain.account("user"), game.coordinator
    with pytest.raises(TransactionFailed, match="NotCoordinator"):
        played.roll_up()
    game.coordinator = coordinator
    played.roll_up()
    game.coordinator = game.chain.account("user")
    with pytest.raises(TransactionFailed, match="NotCoordinator"):
        played.propose(b"\1" * 32, b"\2" * 32, game.base + 1)


def test_an_epoch_is_closed_drawn_and_failed_without_its_coordinator(chain: EmbeddedChain) -> None:
    federation, accounts, _ = create(chain, COUNT)
    epochs, stranger = EpochsContract.of(federation), chain.account("user")
    epochs.open_epoch(chain.account("coordinator"))
    signed = [enrolment(epochs, account, EpochKeys.generate()) for account in accounts.values()]
    epochs.enrol(stranger, 1, signed)
    with pytest.raises(UsageError, match="enrolment for epoch 1 is the coordinator's until"):
        end(federation)
    chain.advance_time(SEALED.enrol_seconds + 1)
    assert "has its roster: 16 enrolled" in end(federation).sentence
    end(federation).send(stranger)
    with pytest.raises(UsageError, match="can be drawn after block"):
        end(federation)
    for _ in range(3):
        chain.advance_time(1)
    end(federation).send(stranger)
    assert epochs.standing().state is EpochState.DRAWN
    with pytest.raises(UsageError, match="the exchange of keys in epoch 1"):
        end(federation)
    chain.advance_time(SEALED.key_seconds + 1)
    assert "nobody stated who is ready" in end(federation).sentence
    end(federation).send(stranger)
    assert epochs.standing().state is EpochState.FAILED
    with pytest.raises(UsageError, match="nothing stands"):
        end(federation)


def test_of_too_few_enrolments_the_sentence_says_so(chain: EmbeddedChain) -> None:
    federation, _, _ = create(chain, COUNT)
    EpochsContract.of(federation).open_epoch(chain.account("coordinator"))
    chain.advance_time(SEALED.enrol_seconds + 1)
    assert "fails, since too few members enrolled: 0" in end(federation).sentence
