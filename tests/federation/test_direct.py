"""A coordinator that ignores a member, and a member that submits past it: the model counts what was signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import conditions
from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.challenge import Challenger
from fedvm.audit.replay import audit
from fedvm.chain.call import read
from fedvm.chain.court import Fraud
from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.errors import ChainError, TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import FederationEvent, Proposal, RoundProposed, RoundState
from fedvm.chain.rollups import submit_rollup
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.federation import ChainLedger, Federation, submit_directly
from fedvm.federation.client.direct import consent_of, see_through
from fedvm.federation.commitment import Attestation, SignedUpdate, check_commitment, commit
from fedvm.federation.coordinator.settlement import Settlement, settle, still_wanted
from fedvm.federation.errors import CommitmentError, LedgerMismatch, SettingsError, UpdatesWaiting
from fedvm.federation.terms import RoundTerms
from fedvm.protocol import (
    Commitment,
    CountedUpdate,
    Judged,
    Refusal,
    Submission,
    model_root,
    roll_up,
    sign_update,
    to_bytes,
    weighted_mean,
)
from fedvm.protocol.consent import DirectConsent
from fedvm.protocol.vector import IntVector
from fedvm.store import Cid, ContentStore
from premises import premises_of

ELEMENTS, MEMBERS, STAKE, POST_FEE = 150, 3, 10**16, 10**15
RULES = conditions.rules(elements=ELEMENTS)
BASE = np.arange(ELEMENTS, dtype=np.int32)


@dataclass
class Parties:
    """A federation with stakes, its coordinator's ledger, and members in ascending order of address.

    meanwhile: called whenever the coordinator waits. block_seconds: by how much a wait is longer than it should be.
    """

    chain: EmbeddedChain
    store: ContentStore
    contract: FederationContract
    count: int
    ledger: ChainLedger = field(init=False)
    meanwhile: Callable[[], None] | None = None
    block_seconds: int = 0

    def __post_init__(self) -> None:
        coordinator = self.chain.account("coordinator")
        self.ledger = ChainLedger(self.contract, coordinator, pass_time=self._pass_time, store=self.store)
        accounts = [self.chain.account("member", index) for index in range(self.count)]
        self.members = sorted(accounts, key=lambda account: int(account.address, 16))

    @property
    def direct(self) -> DirectSubmissionsContract:
        return DirectSubmissionsContract(self.chain.w3, self.contract.direct_submissions())

    def _pass_time(self, seconds: int) -> None:
        until = self.ledger.now() + seconds + self.block_seconds
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        head = self.chain.w3.eth.get_block("latest")
        self.chain.advance_time(max(until - head["timestamp"], 0))

    def signed(self, index: int) -> SignedUpdate:
        opened = self.ledger.round(self.ledger.current_round())
        terms = RoundTerms(
            *(self.ledger.domain, opened.number),
            *(RULES, opened.base_root, opened.deadline),
        )
        vector = np.full(ELEMENTS, 1000 * (index + 1), dtype=np.int32)
        key = self.members[index].key.hex()
        return commit(vector, terms, Attestation(10 * (index + 1), 0.5, 1.0), key)

    def relay_and_settle(self, indices: list[int], form: Literal["auto", "rollup"] = "auto") -> Settlement:
        opened = self.ledger.round(self.ledger.current_round())
        relayed = [self.signed(index) for index in indices]
        for one in relayed:
            self.store.put(to_bytes(one.vector))
        federation = Federation(self.ledger, self.store, submission=form)
        return settle(federation, opened, BASE, [one.submission for one in relayed])

    def mean_of(self, indices: list[int]) -> IntVector:
        signed = [self.signed(index) for index in indices]
        return weighted_mean(
            BASE,
            [
                CountedUpdate(Commitment(one.member, one.update.examples, bytes(32), 0), one.vector)
                for one in signed
            ],
        ).model

    def audit_holds(self) -> bool:
        report = audit(self.chain.w3, self.store, federation=self.contract.address, service=None)
        return not report.findings and report.passed["aggregate"] == 1


@pytest.fixture
def parties(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Parties]:
    with federation_of(tmp_path, MEMBERS, getattr(request, "param", 0)) as made:
        yield made


@contextmanager
def federation_of(tmp_path: Path, members: int, open_seconds: int = 0) -> Iterator[Parties]:
    with open_chain(tmp_path, seed=3, create=True) as chain:
        store = ContentStore(tmp_path / "store")
        contract, _ = FederationContract.deploy(
            chain.w3,
            chain.account("owner"),
            coordinator=chain.account("coordinator").address,
            rules=RULES,
            security=conditions.security(
                stake=STAKE, bond=10**15, post_fee=POST_FEE, open_seconds=open_seconds
            ),
            members=[chain.account("member", index).address for index in range(members)],
            model_root=model_root(BASE),
            model_cid=Cid.parse(store.put(to_bytes(BASE))).binary,
        )
        for index in range(members):
            contract.stake(STAKE).send(chain.account("member", index))
        made = Parties(chain, store, contract, members)
        made.ledger.open_round()
        yield made


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


def some_proposal(parties: Parties) -> Proposal:
    """Over what the round holds, of roots that are true of nothing."""
    cid = b"\1\x55\x12\x20" + bytes(32)
    return Proposal(premises_of(parties.contract), b"\1" * 32, b"\2" * 32, b"\3" * 32, cid)


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
    assert [(one.check, one.place.round) for one in report.findings] == [("open time", 1)]


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


def false_norm(parties: Parties, index: int) -> SignedUpdate:
    """The update of a member that signs another Σd² than its tree has; root, CID and vector are right."""
    honest = parties.signed(index)
    update = replace(honest.update, sum_squares=honest.update.sum_squares - 1)
    signature = sign_update(update, parties.ledger.domain, parties.members[index].key)
    return replace(honest, update=update, signature=signature)


@pytest.mark.parametrize("form", ["auto", "rollup"])
@pytest.mark.parametrize("relayed", [[0, 1], [0, 1, 2]])
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
