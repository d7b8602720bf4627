"""A coordinator that ignores a member, and a member that submits past it: the model counts what was signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import pytest
from direct_parties import BASE, MEMBERS, Parties, some_proposal

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.replay import audit
from fedvm.chain.call import read
from fedvm.chain.errors import ChainError, TransactionFailed
from fedvm.chain.federation_types import FederationEvent, Proposal, RoundProposed, RoundState
from fedvm.chain.rollups import submit_rollup
from fedvm.federation import Federation, submit_directly
from fedvm.federation.client.direct import consent_of
from fedvm.federation.coordinator.settlement import settle, still_wanted
from fedvm.federation.errors import LedgerMismatch, SettingsError, UpdatesWaiting
from fedvm.protocol import (
    Judged,
    Refusal,
    Submission,
    roll_up,
    to_bytes,
)
from fedvm.protocol.consent import DirectConsent
from fedvm.store import Cid


def test_an_ignored_member_counts_all_the_same(parties: Parties) -> None:
    ignored, payer = parties.signed(0), parties.chain.account("user")
    consent = consent_of(parties.contract, payer, ignored, parties.members[0])
    submit_directly(parties.contract, payer, parties.store, ignored, consent=consent)
    settlement = parties.relay_and_settle([1, 2])
    assert settlement.round.status is RoundState.FINAL
    assert [one.member for one in settlement.accepted] == [
        parties.members[index].address for index in (1, 2, 0)
    ]
    assert [one.member in parties.ledger.history(1).direct for one in settlement.accepted] == [
        False,
        False,
        True,
    ]
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    assert parties.audit_holds()


def test_nobody_submits_in_a_members_name_what_it_sent_to_the_coordinator(parties: Parties) -> None:
    sent = parties.signed(0)
    for name in ("coordinator", "owner", "user"):
        with pytest.raises(TransactionFailed, match="NoConsent"):
            submit_directly(parties.contract, parties.chain.account(name), parties.store, sent)
    payer, others = parties.chain.account("user"), parties.members[1]
    foreign = DirectConsent.to(sent.update, sent.member).sign(parties.ledger.domain, bytes(others.key))
    for signature in (sent.signature, foreign):
        with pytest.raises(TransactionFailed, match="NoConsent"):
            submit_directly(parties.contract, payer, parties.store, sent, consent=signature)
    for account, key in ((payer, None), (payer, others), (parties.members[0], others)):
        with pytest.raises(SettingsError, match="does not sign for"):
            consent_of(parties.contract, account, sent, key)
    assert consent_of(parties.contract, parties.members[0], sent, None) == b""
    assert parties.contract.round(1).waiting == 0


def test_what_a_member_submitted_itself_is_not_asked_for(parties: Parties) -> None:
    submit_directly(parties.contract, parties.members[2], parties.store, parties.signed(2))
    everyone = [member.address for member in parties.members]
    opened = parties.ledger.round(1)
    assert list(still_wanted(parties.ledger, opened, everyone)) == everyone[:2]
    parties.ledger.include(1, parties.signed(2).submission)
    assert list(still_wanted(parties.ledger, opened, everyone)) == everyone[:2]


def test_an_update_that_was_submitted_and_sent_counts_once(parties: Parties) -> None:
    submit_directly(parties.contract, parties.members[0], parties.store, parties.signed(0))
    settlement = parties.relay_and_settle([0, 1])
    assert settlement.refused == ()
    assert [one.member in parties.ledger.history(1).direct for one in settlement.accepted] == [False, True]
    assert parties.audit_holds()


def test_a_relay_beside_a_waiting_update_is_a_duplicate_and_the_audit_agrees(parties: Parties) -> None:
    submit_directly(parties.contract, parties.members[0], parties.store, parties.signed(0))
    parties.ledger.submit(1, [parties.signed(0).submission])
    settlement = parties.relay_and_settle([1])
    assert [one.reason for one in settlement.refused] == ["Duplicate"]
    assert settlement.round.accepted == 2
    assert parties.audit_holds()


def test_an_update_that_comes_right_before_the_proposal_is_counted_too(parties: Parties) -> None:
    propose, late = parties.ledger.propose, parties.signed(2)

    def propose_late(number: int, proposal: Proposal) -> None:
        if not parties.ledger.history(1).verdicts[2:]:
            submit_directly(parties.contract, parties.members[2], parties.store, late)
        propose(number, proposal)

    parties.ledger.propose = propose_late  # type: ignore[method-assign]
    settlement = parties.relay_and_settle([0, 1])
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    assert parties.audit_holds()


def test_events_that_an_outage_cut_off_are_read_once(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties.ledger.submit(1, [parties.signed(index).submission for index in (0, 1)])
    events = parties.contract.events

    def cut_off(**block_range: int) -> Iterator[FederationEvent]:
        yield from list(events(**block_range))[:1]
        raise ChainError("the RPC hung up")

    monkeypatch.setattr(parties.contract, "events", cut_off)
    with pytest.raises(ChainError):
        parties.ledger.history(1)
    monkeypatch.undo()
    assert [one.member for one in parties.ledger.history(1).verdicts] == [
        parties.members[index].address for index in (0, 1)
    ]


def open_for(seconds: int) -> pytest.MarkDecorator:
    """A federation whose rounds stay open so long."""
    return pytest.mark.parametrize("parties", [seconds], indirect=True)


@open_for(600)
@pytest.mark.parametrize("form", ["auto", "rollup"])
def test_a_round_stays_open_for_who_trains_longer(parties: Parties, form: Literal["auto", "rollup"]) -> None:
    late = parties.signed(2)

    def finish() -> None:
        parties.chain.advance_time(500)
        submit_directly(parties.contract, parties.members[2], parties.store, late)

    parties.meanwhile = finish
    settlement = parties.relay_and_settle([0, 1], form)
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    assert parties.audit_holds()


@open_for(600)
def test_the_audit_finds_a_round_that_was_closed_too_early(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parties.relay_and_settle([0, 1]).round.status is RoundState.FINAL
    time, opened_at = ChainReader.time, parties.contract.round(1).opened_at
    (proposed,) = parties.contract.events([RoundProposed])

    def hasty(reader: ChainReader, block: int) -> int:
        return opened_at + 1 if block == proposed.at.block_number else time(reader, block)

    monkeypatch.setattr(ChainReader, "time", hasty)  # as if the contract had let the round be closed at once
    report = audit(parties.chain.w3, parties.store, federation=parties.contract.address, service=None)
    assert [(one.check, one.place.round) for one in report.findings] == [("open time", 1), ("proposal", 1)]


@open_for(600)
def test_nothing_is_proposed_before_a_round_was_open_long_enough(parties: Parties) -> None:
    parties.ledger.submit(1, [parties.signed(index).submission for index in (0, 1)])
    with pytest.raises(TransactionFailed, match="TooEarly"):
        parties.ledger.propose(1, some_proposal(parties))


def test_a_proposal_without_a_waiting_update_is_refused(parties: Parties) -> None:
    parties.ledger.submit(1, [parties.signed(index).submission for index in (0, 1)])
    submit_directly(parties.contract, parties.members[2], parties.store, parties.signed(2))
    with pytest.raises(UpdatesWaiting):
        parties.ledger.propose(1, some_proposal(parties))


def test_a_rollup_holds_what_was_submitted_directly(parties: Parties) -> None:
    submit_directly(parties.contract, parties.members[1], parties.store, parties.signed(1))
    settlement = parties.relay_and_settle([0, 2], form="rollup")
    assert settlement.round.rolled_up
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    assert parties.audit_holds()


def test_nobody_proposes_over_a_rollup_that_leaves_a_waiting_update_out(parties: Parties) -> None:
    """The audit would find it, too."""
    submit_directly(parties.contract, parties.members[1], parties.store, parties.signed(1))
    for index in (0, 2):
        parties.store.put(to_bytes(parties.signed(index).vector))
    ledger = parties.ledger
    ledger.submit_rollup(1, [parties.signed(index).submission for index in (0, 2)], ledger.history(1).journal)
    with pytest.raises(LedgerMismatch, match="does not follow from the rules"):
        settle(Federation(ledger, parties.store), ledger.round(1), BASE, ())
    ledger.propose(1, some_proposal(parties))
    report = audit(parties.chain.w3, parties.store, federation=parties.contract.address, service=None)
    assert [(one.check, one.place.member) for one in report.findings] == [
        ("direct", parties.members[1].address)
    ]


@pytest.mark.parametrize("lie", ["reason", "weight"])
def test_nobody_proposes_over_a_rollup_whose_records_are_false(parties: Parties, lie: str) -> None:
    """Another run, perhaps of another coordinator, has rolled the round up: it is judged again first."""
    for index in range(MEMBERS):
        parties.store.put(to_bytes(parties.signed(index).vector))
    ledger, contract = parties.ledger, parties.contract
    judged = [
        Judged(one.member, one.update, one.signature, Refusal.NONE, one.update.examples)
        for one in (parties.signed(index).submission for index in range(MEMBERS))
    ]
    told = {"reason": {"reason": Refusal.BAD_SIGNATURE, "weight": 0}, "weight": {"weight": 999}}
    judged[1] = replace(judged[1], **told[lie])
    rollup = roll_up(judged)
    cid = Cid.parse(parties.store.put(rollup.to_bytes())).binary
    coordinator = parties.chain.account("coordinator")
    submit_rollup(contract, coordinator, 1, rollup, judged_at=ledger.now(), cid=cid)
    with pytest.raises(LedgerMismatch, match="does not follow from the rules"):
        settle(Federation(ledger, parties.store), ledger.round(1), BASE, ())
    assert ledger.round(1).status is RoundState.OPEN


def test_who_submits_right_before_a_rollup_is_in_it(parties: Parties) -> None:
    """The roll-up names the journal that it knows; it reverts, and the next one holds the update."""
    submit, late, turns = parties.ledger.submit_rollup, parties.signed(2), []

    def submit_late(number: int, submissions: Sequence[Submission], journal: bytes) -> None:
        turns.append(journal)
        if len(turns) == 1:
            submit_directly(parties.contract, parties.members[2], parties.store, late)
        submit(number, submissions, journal)

    parties.ledger.submit_rollup = submit_late  # type: ignore[method-assign]
    settlement = parties.relay_and_settle([0, 1], form="rollup")
    assert settlement.round.rolled_up and len(set(turns)) == 2
    assert turns[1] == read(parties.direct.contract, "journal", 1)
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    assert parties.audit_holds()
