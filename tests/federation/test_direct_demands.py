"""Vectors that members submitted directly and withhold, and false sums: what is demanded, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from direct_parties import BASE, POST_FEE, STAKE, Parties, false_norm, federation_of, some_proposal

from fedvm.audit.challenge import Challenger
from fedvm.chain.call import read
from fedvm.chain.court import Fraud
from fedvm.chain.direct import DirectState
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation_types import RoundState
from fedvm.federation import Federation, submit_directly
from fedvm.federation.client.direct import see_through
from fedvm.federation.commitment import SignedUpdate, check_commitment
from fedvm.federation.coordinator.settlement import settle
from fedvm.federation.errors import CommitmentError, LedgerMismatch
from fedvm.protocol import (
    to_bytes,
)


def test_an_update_that_is_withheld_stands_in_the_journal(parties: Parties) -> None:
    parties.direct.submit(parties.members[2], 1, parties.signed(2).submission)
    settlement = parties.relay_and_settle([0, 1], form="rollup")
    assert settlement.round.status is RoundState.FINAL and settlement.round.rolled_up
    assert parties.ledger.history(1).journal == read(parties.direct.contract, "journal", 1) != bytes(32)


def test_a_vector_that_was_not_published_is_posted_on_demand(parties: Parties) -> None:
    signed, direct, member = parties.signed(2), parties.direct, parties.members[2]
    direct.submit(member, 1, signed.submission)
    posted: list[int] = []

    def post() -> None:
        (receipt,) = direct.post(member, 1, member.address, to_bytes(signed.vector))
        block = parties.chain.w3.eth.get_block(receipt.block_number)
        posted.append(receipt.gas_used * block["baseFeePerGas"])

    parties.meanwhile = post
    settlement = parties.relay_and_settle([0, 1])
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    earned, fee = direct.owed(member.address), direct.posting_fee()
    assert fee == 3 * POST_FEE  # three chunks
    assert 0 < earned <= posted[0] < fee
    assert direct.owed(parties.chain.account("coordinator").address) == fee - earned
    assert parties.contract.stake_of(member.address) == STAKE
    assert parties.audit_holds()


def test_posting_in_pieces_is_paid_no_more_than_it_costs_and_most_of_that(parties: Parties) -> None:
    signed, direct, member = parties.signed(2), parties.direct, parties.members[2]
    direct.submit(member, 1, signed.submission)
    direct.demand_posting(parties.chain.account("coordinator"), 1, member.address)
    data, costs = to_bytes(signed.vector), []
    for chunk in (0, 0, 1, 2):  # what was begun anew is paid once
        part = data[256 * chunk : 256 * (chunk + 1)]
        action = "DirectSubmissions.post"
        receipt = direct.sender.transact(member, direct.contract, action, 1, member.address, chunk, part)
        block = parties.chain.w3.eth.get_block(receipt.block_number)
        costs.append(receipt.gas_used * block["baseFeePerGas"])
    assert direct.posted_vector(1, member.address) == data
    assert 0.6 * sum(costs[1:]) < direct.owed(member.address) <= sum(costs[1:])


def test_a_vector_that_never_comes_is_left_out_at_its_members_cost(parties: Parties) -> None:
    signed, direct, member = parties.signed(2), parties.direct, parties.members[2]
    direct.submit(member, 1, signed.submission)
    settlement = parties.relay_and_settle([0, 1])
    assert settlement.round.status is RoundState.FINAL
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1])).all()
    assert parties.contract.stake_of(member.address) == 0
    (lost,) = parties.contract.contract.events.StakeBurnt().get_logs(from_block=0)
    assert (lost["args"]["member"], lost["args"]["amount"]) == (member.address, STAKE)
    assert direct.owed(parties.chain.account("coordinator").address) == 3 * POST_FEE
    assert parties.audit_holds()


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize(
    "waits", [False, True], ids=["both at the deadline", "one while the other is awaited"]
)
@pytest.mark.parametrize("form", ["auto", "rollup"])
def test_who_withholds_in_the_last_second_stops_no_round(
    tmp_path: Path, form: Literal["auto", "rollup"], waits: bool
) -> None:
    """The contract takes demands until answerSeconds after the deadline: two in turn would be too many."""
    with federation_of(tmp_path, 4) as parties:
        withheld, deadline = [parties.signed(2), parties.signed(3)], parties.ledger.round(1).deadline

        def at_the_deadline() -> None:
            head = parties.chain.w3.eth.get_block("latest")
            parties.chain.advance_time(deadline - head["timestamp"] - 3)
            last()

        def last() -> None:
            parties.direct.submit(parties.members[3], 1, withheld[1].submission)

        parties.block_seconds = 30
        parties.chain.advance_time(deadline - parties.ledger.now() - 10)
        parties.direct.submit(parties.members[2], 1, withheld[0].submission)
        if waits:
            parties.meanwhile = at_the_deadline
        else:
            last()
        settlement = parties.relay_and_settle([0, 1], form)
        assert settlement.round.status is RoundState.FINAL
        assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1])).all()
        for index, stake in enumerate([STAKE, STAKE, 0, 0]):
            assert parties.contract.stake_of(parties.members[index].address) == stake
        assert parties.audit_holds()


def test_a_round_that_loses_its_quorum_so_fails(parties: Parties) -> None:
    signed, direct, member = parties.signed(2), parties.direct, parties.members[2]
    direct.submit(member, 1, signed.submission)
    assert parties.relay_and_settle([0]).round.status is RoundState.FAILED


def test_the_rules_hold_for_direct_updates_too(parties: Parties) -> None:
    signed = parties.signed(2)
    forged = SignedUpdate(parties.members[1].address, signed.update, signed.signature, signed.vector)
    with pytest.raises(TransactionFailed, match="UpdateNotAccepted"):
        submit_directly(parties.contract, parties.members[1], parties.store, forged)


def test_a_challenger_proves_that_a_rollup_leaves_a_waiting_update_out(parties: Parties) -> None:
    submit_directly(parties.contract, parties.members[1], parties.store, parties.signed(1))
    for index in (0, 2):
        parties.store.put(to_bytes(parties.signed(index).vector))
    parties.ledger.submit_rollup(
        1, [parties.signed(index).submission for index in (0, 2)], parties.ledger.history(1).journal
    )
    parties.ledger.propose(1, some_proposal(parties))
    challenger = Challenger(parties.contract, parties.store, parties.chain.account("user"))
    upheld = challenger.challenge()
    assert upheld is not None and upheld.fraud is Fraud.OMISSION and upheld.reward > 0
    assert parties.ledger.round(1).status is RoundState.FAILED


def test_a_member_that_stays_answers_the_demand_and_sees_how_it_ends(parties: Parties) -> None:
    signed, direct, member = parties.signed(2), parties.direct, parties.members[2]
    coordinator = parties.chain.account("coordinator")
    direct.submit(member, 1, signed.submission)
    direct.demand_posting(coordinator, 1, member.address)

    def include(seconds: int) -> None:
        parties.ledger.include(1, signed.submission)

    assert see_through(parties.contract, member, signed, pass_time=include) is DirectState.INCLUDED
    assert direct.posted_vector(1, member.address) == to_bytes(signed.vector)
    assert 0 < direct.owed(member.address) <= direct.posting_fee()


def test_a_member_that_stays_sees_the_round_end_without_it(parties: Parties) -> None:
    signed, member = parties.signed(2), parties.members[2]
    submit_directly(parties.contract, member, parties.store, signed)
    assert (
        see_through(parties.contract, member, signed, pass_time=lambda _: parties.ledger.fail(1))
        is DirectState.WAITING
    )


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("form", ["auto", "rollup"])
@pytest.mark.parametrize("relayed", [[0, 1], pytest.param([0, 1, 2], marks=pytest.mark.slow)])
def test_a_false_norm_is_not_included_though_the_vector_is_there(
    parties: Parties, form: Literal["auto", "rollup"], relayed: list[int]
) -> None:
    """The member also sends the coordinator a true update with the same root: that the root was seen says nothing of
    the Σd² signed beside it."""
    liar = parties.members[2]
    submit_directly(parties.contract, liar, parties.store, false_norm(parties, 2))
    settlement = parties.relay_and_settle(relayed, form)
    assert settlement.round.status is RoundState.FINAL
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1])).all()
    assert parties.contract.stake_of(liar.address) == 0
    assert parties.contract.owed(parties.chain.account("coordinator").address) == 10**15
    assert parties.audit_holds()


def test_a_false_norm_is_not_relayed(parties: Parties) -> None:
    with pytest.raises(CommitmentError, match="is not the one it committed to"):
        check_commitment(false_norm(parties, 2), parties.ledger.domain)


@pytest.mark.parametrize("form", ["relay", "include", "rollup"])
def test_nothing_is_proposed_over_a_false_norm_that_counts_already(parties: Parties, form: str) -> None:
    """What a careless coordinator counted, one that resumes does not build on: it would lose its bond."""
    false, ledger = false_norm(parties, 2), parties.ledger
    everyone = [*(parties.signed(index) for index in (0, 1)), false]
    for one in everyone:
        parties.store.put(to_bytes(one.vector))
    submissions = [one.submission for one in everyone]
    if form == "relay":
        ledger.submit(1, submissions)
    elif form == "rollup":
        ledger.submit_rollup(1, submissions, ledger.history(1).journal)
    else:
        ledger.submit(1, submissions[:2])
        submit_directly(parties.contract, parties.members[2], parties.store, false)
        ledger.include(1, submissions[2])
    with pytest.raises(LedgerMismatch, match="is not the one accepted on chain"):
        settle(Federation(ledger, parties.store), ledger.round(1), BASE, ())
    assert ledger.round(1).status is RoundState.OPEN
