"""Every lie about an aggregate is caught by the automatic challenger, on a real chain."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from court_bench import SECURITY, Court, create_court, random_updates
from lies import LIES, Facts, Lie, honest, random_roots, tell

from fedvm.chain.court import Fraud
from fedvm.chain.federation_types import RoundState
from fedvm.chain.rollups import submit_rollup
from fedvm.store import Cid

ELEMENTS, MEMBERS = 150, 5
MODES = ("published", "answered", "withheld")


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    made = create_court(tmp_path_factory.mktemp("court"), elements=ELEMENTS, members=MEMBERS)
    yield made
    made.chain.close()


def _play(court: Court, number: int) -> tuple[str, str]:
    """Lie number `number`: propose it and challenge it; returns what the lie was and how it fell."""
    rng = random.Random(number)
    lie_about = LIES[number % len(LIES)]
    mode = MODES[number // len(LIES) % len(MODES)]
    facts = court.open_round(random_updates(rng, rng.randrange(1, MEMBERS + 1), court.base.size), rng)
    lie = tell(lie_about, facts, rng)
    assert (lie.aggregation_root, lie.aggregate_root, lie.model_root) != _roots(honest(facts))
    court.propose(lie)
    known, nothing = lie.preimages.get, {}.get
    before = court.contract.owed(court.challenger.address)
    upheld = court.challenge(
        published=known if mode == "published" else nothing,
        answered=known if mode == "answered" else nothing,
    )
    assert upheld is not None, f"{lie_about.__name__} ({mode}) was not caught"
    assert upheld.reward == SECURITY.bond // 2
    assert court.contract.owed(court.challenger.address) == before + SECURITY.bond // 2
    assert (upheld.fraud is Fraud.MISSING_DATA) == (mode == "withheld" and upheld.demands > 0)
    assert mode == "published" or upheld.demands > 0 or upheld.fraud is Fraud.WRONG_NODE
    assert court.contract.round(upheld.round).state is RoundState.SUBMITTED
    court.give_up()
    return f"{lie_about.__name__} {mode}", upheld.fraud.name


def _roots(lie: Lie) -> tuple[bytes, bytes, bytes]:
    return lie.aggregation_root, lie.aggregate_root, lie.model_root


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize("number", range(len(LIES)))
def test_each_kind_of_lie_is_caught_and_the_bond_won(court: Court, number: int) -> None:
    _play(court, number)


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("lie", ["_wrong_product_or_sum", "_wrong_model", "_malformed_model"])
@pytest.mark.parametrize("mode", MODES[1:])
def test_lies_whose_data_are_not_published_are_caught(court: Court, lie: str, mode: str) -> None:
    kind = [about.__name__ for about in LIES].index(lie)
    _play(court, MODES.index(mode) * len(LIES) + kind)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(8))
def test_two_hundred_random_lies_are_all_caught(tmp_path: Path, batch: int) -> None:
    court = create_court(tmp_path, elements=random.Random(batch).randrange(1, 300), members=MEMBERS)
    fell = [_play(court, 1000 + 25 * batch + number) for number in range(25)]
    assert len(fell) == 25 and len({fraud for _, fraud in fell}) >= 4
    court.chain.close()


def test_the_honest_proposal_stands(court: Court) -> None:
    rng = random.Random(1)
    facts = court.open_round(random_updates(rng, 3, ELEMENTS), rng)
    truth = honest(facts)
    court.propose(truth)
    assert court.challenge(published=truth.preimages.get, answered={}.get) is None
    court.chain.advance_time(SECURITY.challenge_seconds + 1)
    final, _ = court.contract.finalize_round(court.challenger, court.contract.current_round())
    assert final.model_root == truth.model_root


def test_roots_of_nothing_fall_for_missing_data(tmp_path: Path) -> None:
    court = create_court(tmp_path, elements=ELEMENTS, members=2)
    rng = random.Random(2)
    court.open_round(random_updates(rng, 2, ELEMENTS), rng)
    court.propose(random_roots(rng))
    upheld = court.challenge(published={}.get, answered={}.get)
    assert upheld is not None and (upheld.fraud, upheld.demands) == (Fraud.MISSING_DATA, 1)
    court.chain.close()


def test_a_lie_about_a_rolled_up_round_is_caught(tmp_path: Path) -> None:
    court = create_court(tmp_path, elements=ELEMENTS, members=3)
    rng = random.Random(5)
    vectors = random_updates(rng, 3, ELEMENTS)
    number, judged_at, rollup = court.open_rollup(vectors, rng)
    cid = Cid.parse(court.store.put(rollup.to_bytes())).binary
    submit_rollup(court.contract, court.coordinator, number, rollup, judged_at=judged_at, cid=cid)
    facts = Facts(court.base.tolist(), list(rollup.commitments), [vector.tolist() for vector in vectors])
    lie = tell(LIES[0], facts, rng)
    court.propose(lie)
    upheld = court.challenge(published=lie.preimages.get, answered={}.get)
    assert upheld is not None and upheld.fraud in (Fraud.WRONG_PRODUCT, Fraud.WRONG_SUM)
    truth = honest(facts)
    court.propose(truth)
    assert court.challenge(published=truth.preimages.get, answered={}.get) is None
    court.chain.close()
