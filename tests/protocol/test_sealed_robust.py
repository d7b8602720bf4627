"""Robust rules in sealed rounds: the means of groups are what they compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import floor
from statistics import median

import numpy as np
import pytest
from sealed_federation import FIRST_ROUND, Federation, play

from fedvm.protocol.aggregators import Aggregator, CoordinateMedian, Krum, TrimmedMean
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.aggregation_fold import group_subtotal
from fedvm.protocol.sealed.recomputation import recompute

GROUPS, SIZE = 4, 8


def _median(means: list[list[int]], weights: list[int]) -> list[int]:
    return [floor(Fraction(median(map(Fraction, lane)))) for lane in zip(*means, strict=True)]


def _trimmed(means: list[list[int]], weights: list[int]) -> list[int]:
    return [floor(Fraction(sum(sorted(lane)[1:-1]), len(lane) - 2)) for lane in zip(*means, strict=True)]


def _krum(means: list[list[int]], weights: list[int]) -> list[int]:
    def distance(left: list[int], right: list[int]) -> int:
        return sum((a - b) ** 2 for a, b in zip(left, right, strict=True))

    scores = [min(distance(one, other) for other in means if other is not one) for one in means]
    return means[scores.index(min(scores))]


@pytest.mark.parametrize(
    ("rule", "plain"),
    [(CoordinateMedian(), _median), (TrimmedMean(250_000), _trimmed), (Krum(1, 1), _krum)],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_rule_over_groups_is_that_over_their_means(
    rule: Aggregator, plain: Callable[[list[list[int]], list[int]], list[int]]
) -> None:
    game = Federation(count=GROUPS * SIZE, group_size=SIZE, min_groups=3)
    played = play(game, range(game.count))
    opened = {
        group.group.number: played.open(
            group, {rank: played.answer_of(group, rank) for rank in group.group.ready}
        )
        for group in played.close.groups
    }
    file, counting = played.file(opened), sorted(opened)
    terms = replace(game.terms, rules=replace(game.terms.rules, aggregator=rule.identifier))
    means, weights, sums = [], [], [0] * game.elements
    for group in played.close.groups:
        updates = [game.update(group.group.first + rank) for rank in range(len(group.group.members))]
        added = [
            sum(weight * int(values[lane]) for weight, values in updates) for lane in range(game.elements)
        ]
        weights.append(sum(weight for weight, _ in updates))
        means.append([value // weights[-1] for value in added])
        sums = [left + right for left, right in zip(sums, added, strict=True)]
    # The submissions were signed under the game's own rules; their digest alone differs.
    made = terms.result(FIRST_ROUND, recompute(played.close, counting, file, played.files, game.terms).groups)
    assert made.aggregate.sums.tolist() == sums and made.aggregate.total_weight == sum(weights)
    assert made.aggregate.model.tolist() == [
        base + step for base, step in zip(game.base.tolist(), plain(means, weights), strict=True)
    ]


def test_one_spoilt_group_moves_the_mean_but_not_the_median() -> None:
    game = Federation(count=24, group_size=SIZE, min_groups=3)
    lanes = np.ones(game.elements, dtype=np.int64)
    groups = [group_subtotal([UnmaskedUpdate(1, value * lanes, bytes(32))], 0, 4) for value in (7, 8, 10**6)]
    robust = replace(game.terms, rules=replace(game.terms.rules, aggregator=CoordinateMedian().identifier))
    assert (robust.result(1, groups).aggregate.model - game.base).tolist() == [8] * game.elements
    assert (game.terms.result(1, groups).aggregate.model - game.base).tolist() == [333_338] * game.elements


def test_a_mean_beyond_int32_is_cut_off() -> None:
    lanes = np.array([1 << 40, (1 << 48) - (1 << 40), 5], dtype=np.int64)
    node = group_subtotal([UnmaskedUpdate(2, lanes, bytes(32))], 0, 6)
    assert node.vector.dtype == np.int32
    assert node.vector.tolist() == [2**31 - 1, -(2**31), 2]
