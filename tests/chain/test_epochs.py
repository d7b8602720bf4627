"""Epochs on the chain: who is enrolled and why not, and how an epoch fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account
from sealed_game import SEALED, SECURITY, create, enrolment, found, play

from fedvm.chain.epoch_types import EnrolmentRefused, EpochState, ReadyAdded
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.errors import ChainError, TransactionFailed
from fedvm.chain.headers import block_header
from fedvm.chain.rule_book import RuleBookContract
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.protocol import Refusal
from fedvm.protocol.consent import KeyProof
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.keys import EpochKeys
from fedvm.protocol.sealed.shuffle import group_seed

MISSED = 256


def test_what_is_wrong_with_an_enrolment_is_told_and_the_others_count(chain: EmbeddedChain) -> None:
    federation, accounts, _ = create(chain, 10)
    epochs, coordinator = EpochsContract.of(federation), chain.account("coordinator")
    epochs.open_epoch(coordinator)
    members, stranger = list(accounts.values()), chain.account("user")
    keys = EpochKeys.generate()
    batch = [
        enrolment(epochs, members[0], keys),
        enrolment(epochs, stranger, keys),
        enrolment(epochs, members[1], keys, signer=stranger),
        enrolment(epochs, members[2], keys, epoch=2),
        enrolment(epochs, members[3], keys, rules_hash=bytes(32)),
        enrolment(epochs, members[4], keys, sealed_hash=bytes(32)),
        enrolment(epochs, members[5], keys, x25519=bytes(32)),
        enrolment(epochs, members[6], keys, mlkem=bytes(32)),
        enrolment(epochs, members[7], keys, deadline=1),
        enrolment(epochs, members[0], EpochKeys.generate()),  # a second one is passed over
        enrolment(epochs, members[8], keys),
    ]
    (receipt,) = epochs.enrol(stranger, 1, batch)
    refused = [event for event in epochs.events_of(receipt) if isinstance(event, EnrolmentRefused)]
    assert [(event.member, event.reason) for event in refused] == [
        (stranger.address, Refusal.NOT_MEMBER),
        (members[1].address, Refusal.BAD_SIGNATURE),
        (members[2].address, Refusal.WRONG_ROUND),
        (members[3].address, Refusal.WRONG_RULES),
        (members[4].address, Refusal.WRONG_RULES),
        (members[5].address, Refusal.WRONG_SHAPE),
        (members[6].address, Refusal.WRONG_SHAPE),
        (members[7].address, Refusal.EXPIRED),
    ]
    epochs.enrol(stranger, 1, batch[-1:])  # what somebody brought before does not fail
    roster = epochs.history(1).roster
    assert roster == (keys.enrolment(members[0].address), keys.enrolment(members[8].address))
    assert epochs.standing().members == 2
    assert (epochs.enrolled_in(members[0].address), epochs.enrolled_in(members[1].address)) == (1, 0)


def test_an_appointed_key_enrols_its_member_from_the_next_round_on(chain: EmbeddedChain) -> None:
    federation, accounts, _ = create(chain, 8)
    epochs, book = EpochsContract.of(federation), RuleBookContract(chain.w3, federation.rule_book())
    member, key = next(iter(accounts.values())), chain.account("user")
    proof = KeyProof(member.address, book.key_nonce(key.address)).sign(epochs.domain(), key.key)
    book.appoint_key(member, key.address, proof)
    epochs.open_epoch(chain.account("coordinator"))
    epochs.enrol(key, 1, [enrolment(epochs, member, EpochKeys.generate(), signer=key)])
    assert epochs.enrolled_in(member.address) == 1


def test_too_few_enrolments_fail_an_epoch(chain: EmbeddedChain) -> None:
    federation, accounts, _ = create(chain, 16)
    epochs, coordinator = EpochsContract.of(federation), chain.account("coordinator")
    epochs.open_epoch(coordinator)
    signed = [enrolment(epochs, account, EpochKeys.generate()) for account in accounts.values()]
    epochs.enrol(coordinator, 1, signed[:15])
    with pytest.raises(TransactionFailed, match="EpochTooEarly"):
        epochs.close_enrolment(coordinator, 1)
    chain.advance_time(SEALED.enrol_seconds + 1)
    with pytest.raises(TransactionFailed, match="EpochTooLate"):
        epochs.enrol(coordinator, 1, signed[15:])
    epochs.close_enrolment(coordinator, 1)
    assert epochs.standing().state is EpochState.FAILED
    assert epochs.history(1).failed is not None
    epochs.open_epoch(coordinator)
    assert epochs.standing().number == 2


def test_who_waits_for_another_draw_gets_none(chain: EmbeddedChain) -> None:
    epochs, coordinator = closed(chain)
    with pytest.raises(TransactionFailed, match="EpochTooEarly"):
        epochs.draw(coordinator, 1)
    for _ in range(MISSED + 3):
        chain.advance_time(1)
    epochs.draw(coordinator, 1)
    assert epochs.standing().state is EpochState.FAILED
    with pytest.raises(ChainError, match="not drawn"):
        epochs.drawn(1)


def test_the_draw_follows_from_the_second_block_after_the_close(chain: EmbeddedChain) -> None:
    epochs, coordinator = closed(chain)
    for _ in range(5):
        chain.advance_time(1)
    epochs.draw(chain.account("user"), 1)
    standing, draw = epochs.standing(), epochs.drawn(1)
    block = chain.w3.eth.get_block(standing.closed_in + 2)
    assert epochs.beacon(standing.closed_in + 2) == bytes(block["mixHash"]) != bytes(32)
    seed = group_seed(epochs.domain(), 1, standing.roster_root, bytes(block["mixHash"]))
    assert (standing.group_seed, draw.seed, draw.roster_root) == (seed, seed, standing.roster_root)
    with pytest.raises(ChainError, match="not stated yet"):
        epochs.agreed(1)
    with pytest.raises(TransactionFailed, match="MalformedBitmap"):
        epochs.state_ready(coordinator, 1, b"\xff\xff\x01")
    with pytest.raises(TransactionFailed, match="EpochTooEarly"):
        epochs.fail_epoch(coordinator, 1)
    chain.advance_time(SEALED.key_seconds + 1)
    with pytest.raises(TransactionFailed, match="EpochTooLate"):
        epochs.state_ready(coordinator, 1, b"\xff\xff")
    epochs.fail_epoch(chain.account("user"), 1)
    assert epochs.standing().state is EpochState.FAILED


def test_a_member_adds_itself_and_nobody_else(chain: EmbeddedChain) -> None:
    epochs, coordinator = closed(chain)
    for _ in range(3):
        chain.advance_time(1)
    epochs.draw(coordinator, 1)
    draw = epochs.drawn(1)
    ready = bitmap(16, range(14))
    epochs.state_ready(coordinator, 1, ready)
    with pytest.raises(TransactionFailed, match="ReadyAlreadyStated"):
        epochs.state_ready(coordinator, 1, b"\xff\xff")
    every = {chain.account("member", index).address: chain.account("member", index) for index in range(16)}
    late, last = (every[draw.seats[place].member] for place in (14, 15))
    with pytest.raises(TransactionFailed, match="NotTheMember"):
        epochs.add_ready(last, 1, ready, draw, late.address, b"\1")
    with pytest.raises(TransactionFailed, match="InvalidCid"):
        epochs.add_ready(late, 1, ready, draw, late.address, b"")
    epochs.add_ready(late, 1, ready, draw, late.address, b"\1")
    with pytest.raises(TransactionFailed, match="OtherBitmap"):
        epochs.add_ready(last, 1, ready, draw, last.address, b"\1")
    history = epochs.history(1)
    assert history.ready == bitmap(16, range(15))
    assert [(event.member, event.place) for event in history.added] == [(late.address, 14)]
    assert all(isinstance(event, ReadyAdded) for event in history.added)
    chain.advance_time(SECURITY.answer_seconds + 1)
    with pytest.raises(TransactionFailed, match="EpochTooLate"):
        epochs.add_ready(last, 1, bitmap(16, range(15)), draw, last.address, b"\1")


def test_rounds_that_are_closed_and_given_up_hasten_no_draw(chain: EmbeddedChain) -> None:
    """They cost a coordinator nothing; with them it could have groups drawn anew for each round that it wants."""
    game = found(chain, 17, sealed=replace(SEALED, epoch_rounds=2))
    federation, coordinator = game.federation, game.coordinator
    epochs = EpochsContract.of(federation)
    for number in (1, 2, 3):
        federation.open_round(coordinator)
        chain.advance_time(SECURITY.open_seconds)
        game.rounds.close(coordinator, number, game.epoch, bytes(len(game.epoch.ready)))
        federation.fail_round(coordinator, number)
    assert epochs.standing().closed_rounds == 0
    with pytest.raises(TransactionFailed, match="EpochNotOver"):
        epochs.open_epoch(coordinator)
    play(game).roll_up()
    assert epochs.standing().closed_rounds == 1


def test_a_round_that_was_opened_too_soon_is_not_sealed(chain: EmbeddedChain) -> None:
    game = found(chain, 17)
    federation, coordinator = game.federation, game.coordinator
    epochs = EpochsContract.of(federation)
    chain.advance_time(SEALED.epoch_rounds * 3600 + 1)
    federation.open_round(coordinator)
    with pytest.raises(TransactionFailed, match="RoundStillOpen"):
        epochs.open_epoch(coordinator)
    federation.fail_round(coordinator, 1)
    epochs.open_epoch(coordinator)
    federation.open_round(coordinator)
    chain.advance_time(SECURITY.open_seconds)
    with pytest.raises(TransactionFailed, match=r"NoEpochForRound\(2\)"):
        game.rounds.close(coordinator, 2, game.epoch, game.epoch.ready)


def closed(chain: EmbeddedChain) -> tuple[EpochsContract, Account]:
    """The contract, with an epoch of sixteen members that has just been closed, and the coordinator."""
    federation, accounts, _ = create(chain, 16)
    epochs, coordinator = EpochsContract.of(federation), chain.account("coordinator")
    epochs.open_epoch(coordinator)
    epochs.enrol(coordinator, 1, [enrolment(epochs, one, EpochKeys.generate()) for one in accounts.values()])
    chain.advance_time(SEALED.enrol_seconds + 1)
    epochs.close_enrolment(coordinator, 1)
    return epochs, coordinator


def test_whoever_draws_shows_the_header_of_that_block(chain: EmbeddedChain) -> None:
    epochs, coordinator = closed(chain)
    for _ in range(3):
        chain.advance_time(1)
    block = epochs.standing().closed_in + 2
    other, _ = block_header(chain.w3, block + 1)
    for header in (b"", other):
        with pytest.raises(TransactionFailed, match="WrongHeader"):
            epochs.prepared("draw", 1, header).send(coordinator)
    epochs.prepared("draw", 1, block_header(chain.w3, block)[0]).send(chain.account("user"))
    assert epochs.standing().state is EpochState.DRAWN
