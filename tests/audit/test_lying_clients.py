"""Clients that lie to a coordinator get the same verdict in either form of round, and the contract upholds it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from court_bench import Court, create_court, random_updates
from lies import random_roots

from fedvm.chain.court import Fraud
from fedvm.chain.federation_types import RoundOpened
from fedvm.chain.rollups import judged_rollup, rollup_judge
from fedvm.protocol import Domain, EncodingError, Refusal, Submission, sign_update

ELEMENTS, MEMBERS, LIAR = 3, 4, 2
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the group of secp256k1."""

Lie = Callable[[Court, Submission, dict[str, Submission]], Submission]
"""From what was honestly signed, and what each member sent in the round before, to what is sent."""


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    made = create_court(tmp_path_factory.mktemp("court"), elements=ELEMENTS, members=MEMBERS)
    yield made
    made.chain.close()


def _resigned(court: Court, one: Submission, **fields: object) -> Submission:
    update = replace(one.update, **fields)  # type: ignore[arg-type]
    return Submission(one.member, update, court.sign_as(one.member, update))


def _replay(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    return before[one.member]


def _other_chain(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    domain = Domain(court.chain.chain_id + 1, court.contract.address)
    return replace(one, signature=sign_update(one.update, domain, court.key_of(one.member)))


def _other_federation(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    domain = Domain(court.chain.chain_id, "0x" + "fe" * 20)
    return replace(one, signature=sign_update(one.update, domain, court.key_of(one.member)))


def _malleable(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    r, s, v = one.signature[:32], int.from_bytes(one.signature[32:64]), one.signature[64]
    return replace(one, signature=r + (ORDER - s).to_bytes(32) + bytes([55 - v]))


def _another_key(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    return replace(one, signature=court.sign_as("", one.update))


def _next_round(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    return _resigned(court, one, round=one.update.round + 1)


def _too_great_a_norm(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    return _resigned(court, one, sum_squares=2**100 + 1)


def _no_examples(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    return _resigned(court, one, examples=0)


def _late(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    return _resigned(court, one, deadline=1)


def _too_many_examples(court: Court, one: Submission, before: dict[str, Submission]) -> Submission:
    return _resigned(court, one, examples=4_000_000_000)


LIES: dict[Lie, Refusal] = {
    _replay: Refusal.WRONG_ROUND,
    _other_chain: Refusal.BAD_SIGNATURE,
    _other_federation: Refusal.BAD_SIGNATURE,
    _malleable: Refusal.BAD_SIGNATURE,
    _another_key: Refusal.BAD_SIGNATURE,
    _next_round: Refusal.WRONG_ROUND,
    _too_great_a_norm: Refusal.NORM_TOO_LARGE,
    _no_examples: Refusal.TOO_FEW_EXAMPLES,
    _late: Refusal.EXPIRED,
    _too_many_examples: Refusal.NONE,
}


def _open(court: Court, rng: random.Random) -> tuple[RoundOpened, list[Submission]]:
    vectors = random_updates(rng, MEMBERS, ELEMENTS)
    opened, _ = court.contract.open_round(court.coordinator)
    return opened, court.sign(opened, vectors, rng)


def _relayed(court: Court, number: int, submissions: list[Submission]) -> dict[str, tuple[Refusal, int]]:
    result = court.contract.submit(court.coordinator, number, submissions)
    told = {one.member: (Refusal.NONE, one.weight) for one in result.accepted}
    return told | {one.member: (one.reason, 0) for one in result.refused}


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__.strip("_"))
def test_a_lie_counts_for_nothing_in_either_form(court: Court, lie: Lie) -> None:
    rng = random.Random(1)
    opened, sent = _open(court, rng)
    before = {one.member: one for one in sent}
    court.give_up()

    opened, sent = _open(court, rng)
    sent[LIAR] = lie(court, sent[LIAR], before)
    relayed = _relayed(court, opened.round, sent)
    court.give_up()

    opened, sent = _open(court, random.Random(2))
    sent[LIAR] = lie(court, sent[LIAR], before)
    judged_at = int(court.chain.w3.eth.get_block("latest")["timestamp"])
    judge = rollup_judge(court.contract, opened.round, [one.member for one in sent], judged_at)
    rollup = judged_rollup(judge, sent)
    stated = {one.member: (Refusal(one.reason), one.weight) for one in rollup.judged}
    reason = LIES[lie]
    assert relayed[sent[LIAR].member][0] is stated[sent[LIAR].member][0] is reason
    assert stated[sent[LIAR].member][1] == (1000 if reason is Refusal.NONE else 0)  # the cap

    court.state_honest(opened.round, judged_at, rollup)
    court.propose(random_roots(rng))
    upheld = court.challenge(published={}.get, answered={}.get)
    # Nothing is wrong with the roll-up: only the proposal's first root had to be asked for.
    assert upheld is not None and (upheld.fraud, upheld.demands) == (Fraud.MISSING_DATA, 1)
    court.give_up()


def test_of_two_updates_of_a_member_a_rollup_can_count_one_alone(court: Court) -> None:
    """Direct rounds refuse the second as a duplicate; a roll-up has no place for it (`test_rollup_challenge`)."""
    opened, sent = _open(court, random.Random(3))
    twice = [*sent[: LIAR + 1], _resigned(court, sent[LIAR], examples=999), *sent[LIAR + 1 :]]
    result = court.contract.submit(court.coordinator, opened.round, twice)
    assert [(one.member, one.reason) for one in result.refused] == [(sent[LIAR].member, Refusal.DUPLICATE)]
    judge = rollup_judge(court.contract, opened.round, [one.member for one in sent], opened.deadline)
    with pytest.raises(EncodingError, match="drop duplicates"):
        judged_rollup(judge, twice)
    court.give_up()
