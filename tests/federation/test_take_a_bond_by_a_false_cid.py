"""A member wants the bond of an honest coordinator: it signs a CID of nothing, posts its vector on demand, and asks for
data that only this vector gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from direct_parties import BASE, ELEMENTS, Parties, federation_of

from fedvm.audit.challenge import Challenger
from fedvm.audit.contributions import contributions
from fedvm.audit.pending_round import PendingRound, pending_round
from fedvm.audit.replay import audit
from fedvm.chain.disputes import DataDemanded, DisputesContract, Question
from fedvm.chain.federation_types import RoundState
from fedvm.federation import ChainLedger, Federation
from fedvm.federation.commitment import SignedUpdate
from fedvm.federation.coordinator.server_memory import recall_memory
from fedvm.federation.coordinator.settlement import Settlement, settle
from fedvm.protocol import Update, sign_update, to_bytes
from fedvm.protocol.aggregators import ServerMomentum
from fedvm.store import Cid, ContentStore, StoreError
from fedvm.store.vectors import UpdateVectors


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    with federation_of(tmp_path, 3) as made:
        yield made


def under(parties: Parties, index: int, cid: bytes) -> SignedUpdate:
    """The honest update of a member, signed under another CID."""
    honest = parties.signed(index)
    update: Update = replace(honest.update, cid=cid)
    signature = sign_update(update, parties.ledger.domain, parties.members[index].key)
    return replace(honest, update=update, signature=signature)


@pytest.fixture(params=["nothing", "another vector"])
def false(parties: Parties, request: pytest.FixtureRequest) -> SignedUpdate:
    """The update of the third member, under a CID of nothing or of another member's vector."""
    another = Cid.parse(parties.store.put(to_bytes(parties.signed(0).vector))).binary
    cid = another if request.param == "another vector" else Cid.of_block(0x55, b"nothing").binary
    return under(parties, 2, cid)


def settled(
    parties: Parties,
    false: SignedUpdate,
    while_proposed: Callable[[], None],
    form: Literal["auto", "rollup"] = "auto",
) -> Settlement:
    """Submit the false update, post its vector when it is demanded, and do something to the proposal with it in."""
    member, direct = parties.members[2], parties.direct
    direct.submit(member, 1, false.submission)

    def post() -> None:
        direct.post(member, 1, member.address, to_bytes(false.vector))
        parties.meanwhile = while_proposed

    parties.meanwhile = post
    settlement = parties.relay_and_settle([0, 1], form)
    assert parties.meanwhile is None, "the round was never awaited"
    return settlement


def without_the_vector(parties: Parties, tmp_path: Path, false: SignedUpdate) -> ContentStore:
    """A store as a mirror has it: what is signed as CIDs, so not the vector that was posted on chain."""
    store = ContentStore(shutil.copytree(parties.store.path, tmp_path / "mirror"))
    store.file_of(store.put(to_bytes(false.vector))).unlink()
    return store


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("form", ["auto", "rollup"])
def test_what_was_posted_is_answered_from(
    parties: Parties, false: SignedUpdate, form: Literal["auto", "rollup"]
) -> None:
    def ask() -> None:
        disputes = DisputesContract(parties.chain.w3, parties.contract.disputes())
        root = parties.contract.round(1).aggregation_root
        disputes.demand(parties.chain.account("user"), 1, Question(root, (), 6))

    settlement = settled(parties, false, ask, form)
    assert settlement.model is not None and (settlement.model == parties.mean_of([0, 1, 2])).all()
    assert settlement.round.status.is_over
    assert parties.contract.owed(parties.chain.account("coordinator").address) == 10**15


def test_another_process_answers_from_what_was_posted(
    parties: Parties, false: SignedUpdate, tmp_path: Path
) -> None:
    """`fedvm answer`, with a store that has only what the CIDs lead to."""

    def ask_and_answer() -> None:
        disputes = DisputesContract(parties.chain.w3, parties.contract.disputes())
        root = parties.contract.round(1).aggregation_root
        disputes.demand(parties.chain.account("user"), 1, Question(root, (), 6))
        store = without_the_vector(parties, tmp_path, false)
        assert (
            ChainLedger(parties.contract, parties.chain.account("coordinator"), store=store).answer_questions(
                1
            )
            == 1
        )

    assert settled(parties, false, ask_and_answer).round.status is RoundState.FINAL


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("form", ["auto", "rollup"])
def test_a_coordinator_that_restarts_comes_to_the_same(
    parties: Parties, false: SignedUpdate, tmp_path: Path, form: Literal["auto", "rollup"]
) -> None:
    again: list[Settlement] = []

    def restart() -> None:
        store = without_the_vector(parties, tmp_path, false)
        ledger = ChainLedger(
            parties.contract,
            parties.chain.account("coordinator"),
            pass_time=parties.chain.advance_time,
            store=store,
        )
        again.append(settle(Federation(ledger, store), ledger.round(1), BASE, []))

    first = settled(parties, false, restart, form)
    assert again[0].round == first.round and first.round.status is RoundState.FINAL
    assert first.model is not None and again[0].model is not None and (first.model == again[0].model).all()


def test_a_challenger_sees_what_was_posted(parties: Parties, false: SignedUpdate, tmp_path: Path) -> None:
    """Else it would ask, and pay, for data that are there, or take another vector for the signed one."""
    seen: list[PendingRound | None] = []

    def look() -> None:
        store = without_the_vector(parties, tmp_path, false)
        seen.append(pending_round(parties.contract, store))
        assert Challenger(parties.contract, store, parties.chain.account("user")).challenge() is None

    assert settled(parties, false, look).round.status is RoundState.FINAL
    assert seen[0] is not None and len(seen[0].published) == 3
    for tree, commitment in zip(seen[0].published, seen[0].commitments, strict=True):
        assert (tree.root, tree.sum_squares) == (commitment.update_root, commitment.sum_squares)
    questions = DisputesContract(parties.chain.w3, parties.contract.disputes()).events([DataDemanded])
    assert not list(questions)


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("form", ["auto", "rollup"])
def test_who_reads_a_final_round_finds_what_was_posted(
    parties: Parties, false: SignedUpdate, tmp_path: Path, form: Literal["auto", "rollup"]
) -> None:
    settlement = settled(parties, false, lambda: None, form)
    assert settlement.round.status is RoundState.FINAL
    store = without_the_vector(parties, tmp_path, false)
    found = contributions(parties.contract, store, 1)
    assert sorted(one.commitment.member for one in found) == sorted(one.address for one in parties.members)
    report = audit(parties.chain.w3, store, federation=parties.contract.address, service=None)
    assert not report.findings and report.passed["update root"] == 3
    ledger = ChainLedger(parties.contract, parties.chain.account("coordinator"), store=store)
    rule = ServerMomentum(1, 999_999)
    here, there = (
        recall_memory(Federation(one, of), rule)
        for one, of in [(parties.ledger, parties.store), (ledger, store)]
    )
    assert len(here) == len(there) == 1 and (here[0] == there[0]).all() and here[0].any()


def test_only_the_vector_that_was_signed_is_taken(parties: Parties, false: SignedUpdate) -> None:
    """What was posted answers for what was submitted directly, and for no other update of the member."""
    asked: list[tuple[int, str]] = []

    def posted(number: int, member: str) -> bytes:
        asked.append((number, member))
        return to_bytes(false.vector)

    vectors = UpdateVectors(parties.store, parties.ledger.domain, ELEMENTS, posted)
    assert (vectors.vector(1, false.member, false.update) == false.vector).all()
    assert asked == [(1, false.member)]
    kept = vectors.cid(1, false.member, false.update)
    assert kept != false.update.cid and parties.store.get(kept) == to_bytes(false.vector)
    assert vectors.is_compared(1, false.member, replace(false.update, cid=kept))
    assert not vectors.is_compared(1, false.member, false.update)
    other = replace(false.update, sum_squares=false.update.sum_squares + 1)
    with pytest.raises(StoreError):
        vectors.vector(1, false.member, other)
    with pytest.raises(StoreError):
        vectors.vector(1, parties.members[1].address, false.update)
    honest = parties.signed(0)
    here = UpdateVectors(parties.store, parties.ledger.domain, ELEMENTS, lambda number, member: None)
    parties.store.put(to_bytes(honest.vector))
    for _ in range(2):
        assert (here.vector(1, honest.member, honest.update) == honest.vector).all()
        assert here.cid(1, honest.member, honest.update) == honest.update.cid
    with pytest.raises(StoreError):
        here.vector(1, parties.members[1].address, honest.update)  # in another place it has another root
