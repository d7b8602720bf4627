"""A coordinator that counts an update whose tree is false loses its bond, not the member that signed it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from court_bench import SECURITY, Court, create_court, random_updates
from lies import Facts, honest

from fedvm.chain.court import Fraud
from fedvm.chain.federation_types import RoundState
from fedvm.protocol import Place, UpdateTree, sum_squares, update_tree
from fedvm.protocol.preimages import by_hash, of_update
from fedvm.protocol.vector import IntVector

ELEMENTS, STAKE = 200, 10**17


@pytest.fixture
def court(tmp_path: Path) -> Court:
    made = create_court(tmp_path, elements=ELEMENTS, members=4, security=replace(SECURITY, stake=STAKE))
    for index in range(4):
        made.contract.stake(STAKE).send(made.chain.account("member", index))
    return made


def _tree(court: Court, member: str, vector: IntVector) -> UpdateTree:
    place = Place(court.chain.chain_id, court.contract.address, 1, member)
    return update_tree(vector, place)


def _liar(court: Court) -> str:
    members = (court.chain.account("member", index).address for index in range(4))
    return sorted(members, key=lambda member: int(member, 16))[2]


def _assert_the_coordinator_pays(court: Court, liar: str) -> None:
    contract = court.contract
    assert contract.stake_of(liar) == STAKE
    assert contract.owed(court.challenger.address) == SECURITY.bond // 2
    assert contract.owed(court.coordinator.address) == 0
    assert contract.round(1).state is RoundState.FAILED
    opened, _ = contract.open_round(court.coordinator)
    assert (opened.round, opened.base_root) == (2, contract.opening(1).base_root)


def test_a_norm_made_smaller_than_it_is_costs_the_bond(court: Court) -> None:
    rng = random.Random(1)
    vectors, liar = random_updates(rng, 4, ELEMENTS), _liar(court)
    tree = _tree(court, liar, vectors[2])
    court.signs[liar] = (tree.root, tree.sum_squares - 1)
    facts = court.open_round(vectors, rng)
    court.propose(honest(facts))
    upheld = court.challenge(published={}.get, answered={}.get)
    assert upheld is not None and (upheld.fraud, upheld.demands) == (Fraud.BAD_UPDATE, 0)
    _assert_the_coordinator_pays(court, liar)


def test_an_update_copied_from_another_member_costs_the_bond(court: Court) -> None:
    rng = random.Random(2)
    vectors, liar = random_updates(rng, 4, ELEMENTS), _liar(court)
    victim = next(m for i in range(4) if (m := court.chain.account("member", i).address) != liar)
    copied = _tree(court, victim, vectors[2])  # the right data, bound to another's place
    court.signs[liar] = (copied.root, copied.sum_squares)
    facts = court.open_round(vectors, rng)
    court.propose(honest(facts))
    upheld = court.challenge(published=by_hash(of_update(copied)).get, answered={}.get)
    assert upheld is not None and upheld.fraud is Fraud.BAD_UPDATE
    _assert_the_coordinator_pays(court, liar)


def test_an_update_that_nobody_can_show_costs_the_bond(court: Court) -> None:
    """0 is the hash of no node: it could not be demanded, so it is proof enough."""
    rng = random.Random(6)
    vectors, liar = random_updates(rng, 4, ELEMENTS), _liar(court)
    court.signs[liar] = (bytes(32), sum_squares(vectors[2]))
    facts = court.open_round(vectors, rng)
    court.propose(honest(facts))
    upheld = court.challenge(published={}.get, answered=honest(facts).preimages.get)
    assert upheld is not None and upheld.fraud is Fraud.BAD_UPDATE
    _assert_the_coordinator_pays(court, liar)


def test_other_data_published_than_signed_are_found_by_asking(court: Court) -> None:
    """The signed vector is opened on chain, and an aggregate over the published one falls."""
    rng = random.Random(3)
    vectors, liar = random_updates(rng, 4, ELEMENTS), _liar(court)
    signed = vectors[2].copy()
    signed[77] += 1
    tree = _tree(court, liar, signed)
    assert tree.sum_squares == sum_squares(signed)
    court.signs[liar] = (tree.root, tree.sum_squares)
    facts = court.open_round(vectors, rng)
    lie = honest(facts)
    court.propose(lie)
    known = {**lie.preimages, **by_hash(of_update(tree))}
    known |= {commitment.digest(): commitment.preimage() for commitment in facts.commitments}
    upheld = court.challenge(published={}.get, answered=known.get)
    assert upheld is not None and upheld.fraud is Fraud.WRONG_PRODUCT and upheld.demands == 3


def test_a_bad_update_in_a_rollup_costs_the_bond(court: Court) -> None:
    rng = random.Random(5)
    vectors, liar = random_updates(rng, 4, ELEMENTS), _liar(court)
    tree = _tree(court, liar, vectors[2])
    court.signs[liar] = (tree.root, tree.sum_squares - 1)
    number, judged_at, rollup = court.open_rollup(vectors, rng)
    court.state_honest(number, judged_at, rollup)
    facts = Facts(court.base.tolist(), list(rollup.commitments), [vector.tolist() for vector in vectors])
    court.propose(honest(facts))
    upheld = court.challenge(published={}.get, answered={}.get)
    assert upheld is not None and (upheld.fraud, upheld.demands) == (Fraud.BAD_UPDATE, 0)
    _assert_the_coordinator_pays(court, liar)


def test_a_member_without_stake_is_refused(court: Court) -> None:
    court.contract.unstake().send(
        next(a for i in range(4) if (a := court.chain.account("member", i)).address == _liar(court))
    )
    rng = random.Random(4)
    with pytest.raises(AssertionError):
        court.open_round(random_updates(rng, 4, ELEMENTS), rng)
    assert court.contract.round(1).accepted == 3
