"""A lying coordinator wants the automatic challenger to give up: an accomplice asks its questions right before it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from court_bench import create_court, random_updates
from lies import LIES, tell

from fedvm.chain.disputes import DisputesContract, Question
from fedvm.chain.sender import Receipt


@pytest.mark.parametrize("answers", [True, False], ids=["answered", "withheld"])
def test_a_question_that_another_asked_first_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    court = create_court(tmp_path, elements=150, members=3)
    rng = random.Random(7)
    facts = court.open_round(random_updates(rng, 3, 150), rng)
    kind = [about.__name__ for about in LIES].index("_wrong_product_or_sum")
    lie = tell(LIES[kind], facts, rng)
    court.propose(lie)
    ask = DisputesContract.demand

    def in_front(disputes: DisputesContract, account: object, number: int, question: Question) -> Receipt:
        ask(disputes, court.coordinator, number, question)
        return ask(disputes, account, number, question)  # type: ignore[arg-type]

    monkeypatch.setattr(DisputesContract, "demand", in_front)
    upheld = court.challenge(published={}.get, answered=lie.preimages.get if answers else {}.get)
    assert upheld is not None and upheld.reward > 0
    court.chain.close()


def test_a_price_that_others_drove_up_meanwhile_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    court = create_court(tmp_path, elements=150, members=3)
    rng = random.Random(7)
    facts = court.open_round(random_updates(rng, 3, 150), rng)
    kind = [about.__name__ for about in LIES].index("_wrong_product_or_sum")
    lie = tell(LIES[kind], facts, rng)
    court.propose(lie)
    price_of, looks = DisputesContract.demand_price, [4, 1]

    def before_they_asked(disputes: DisputesContract, number: int, levels: int) -> int:
        return price_of(disputes, number, levels) // (looks.pop(0) if looks else 1)

    monkeypatch.setattr(DisputesContract, "demand_price", before_they_asked)
    upheld = court.challenge(published={}.get, answered=lie.preimages.get)
    assert upheld is not None and upheld.reward > 0
    court.chain.close()
