"""What the robust strategies are for: attackers bring the mean down and not the others."""

from __future__ import annotations

import pytest
from byzantine_bench.play import ATTACKS, CLIENTS, Arena, Game

ROBUST = ("fedmedian", "fedtrimmedavg", "krum", "multikrum")


@pytest.fixture(scope="module")
def arena() -> Arena:
    return Arena()


@pytest.mark.slow
def test_sign_flipping_by_30_percent_fells_the_mean_alone(arena: Arena) -> None:
    attackers = CLIENTS * 30 // 100
    assert arena.play(Game("fedavg", "sign_flip", 0), rounds=4) > 0.8
    assert arena.play(Game("fedavg", "sign_flip", attackers), rounds=4) < 0.4
    for strategy in ROBUST:
        assert arena.play(Game(strategy, "sign_flip", attackers), rounds=4) > 0.65


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_robust_strategies_bear_what_they_are_set_for(arena: Arena, attack: str) -> None:
    for strategy in ROBUST:
        accuracy = arena.play(Game(strategy, attack, CLIENTS * 40 // 100))
        if (strategy, attack) == (
            "krum",
            "free_rider",
        ):  # equal updates lie closest together: docs/robustness.md
            assert accuracy < 0.3
        else:
            assert accuracy > 0.6, strategy
