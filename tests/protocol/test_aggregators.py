"""The aggregation rules against slow definitions in exact fractions."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedvm.protocol import Commitment, CountedUpdate, EncodingError, RangeError
from fedvm.protocol.aggregators import (
    Aggregator,
    Bulyan,
    CoordinateMedian,
    FairAverage,
    Krum,
    RoundFacts,
    ServerAdagrad,
    ServerAdam,
    ServerMomentum,
    ServerYogi,
    TrimmedMean,
    WeightedMean,
    aggregate,
    aggregator_named,
)
from fedvm.protocol.aggregators.arithmetic import times_micros
from fedvm.protocol.aggregators.krum import squared_distance

RULES: list[Aggregator] = [
    WeightedMean(),
    ServerMomentum(1_000_000, 900_000),
    ServerMomentum(730_000, 123_456),
    ServerAdam(100_000, 900_000, 990_000, 1_000),
    ServerAdam(10_000, 0, 0, 1),
    ServerYogi(100_000, 900_000, 990_000, 1_000),
    ServerYogi(10_000, 0, 500_000, 1),
    ServerAdagrad(100_000, 1_000),
    CoordinateMedian(),
    TrimmedMean(200_000),
    TrimmedMean(499_999),
    Krum(1, 1),
    Krum(2, 3),
    Bulyan(0),
    Bulyan(1),
    Bulyan(2),
    FairAverage(100_000, 100_000),
    FairAverage(30_000, 2_500_000),
    FairAverage(100_000, 0),
]


def contributions(vectors: list[list[int]], weights: list[int]) -> list[CountedUpdate]:
    return [
        CountedUpdate(
            Commitment(f"0x{at + 1:040x}", weight, bytes(32), 0),
            np.array(vector, dtype=np.int32),
            loss_of(weight),
        )
        for at, (vector, weight) in enumerate(zip(vectors, weights, strict=True))
    ]


def loss_of(weight: int) -> int:
    """An attested loss, in millionths, that a test can tell from the weight."""
    return weight * 7 % 5_000_000


# --- the definitions, one element at a time, in fractions ---


def slow_step(
    rule: Aggregator, rounds: list[tuple[list[list[int]], list[int]]], element: int, bits: int
) -> int:
    """What the last of these rounds adds to an element of the base."""
    vectors, weights = rounds[-1]
    column = [vector[element] for vector in vectors]
    match rule:
        case WeightedMean():
            return math.floor(Fraction(sum(map(int.__mul__, column, weights)), sum(weights)))
        case CoordinateMedian():
            ordered = sorted(column)
            return math.floor(Fraction(ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2], 2))
        case TrimmedMean(beta):
            cut = math.floor(Fraction(beta, 10**6) * len(column))
            kept = sorted(column)[cut : len(column) - cut]
            return math.floor(Fraction(sum(kept), len(kept)))
        case Krum(malicious, select):
            return slow_krum(vectors, weights, malicious, select, element)
        case Bulyan(malicious):
            return slow_bulyan(vectors, malicious, element)
        case FairAverage(rate, fairness):
            shares = slow_shares(vectors, [loss_of(weight) for weight in weights], rate, fairness, bits)
            return math.floor(Fraction(sum(map(int.__mul__, column, shares)), 2**31))
        case ServerMomentum(rate, momentum):
            memory = 0
            for number in range(len(rounds)):
                memory = math.floor(Fraction(momentum, 10**6) * memory) + guarded(rounds[number], element)
            return math.floor(Fraction(rate, 10**6) * memory / 2**16)
        case ServerAdam(eta, beta_1, beta_2, tau):
            first, second = 0, 0
            one, two = Fraction(beta_1, 10**6), Fraction(beta_2, 10**6)
            for played in rounds:
                delta = guarded(played, element)
                first = math.floor(one * first + (1 - one) * delta)
                second = math.floor(two * second + (1 - two) * delta**2)
            power = len(rounds) + 1
            root = math.isqrt(2**64 * (2**64 - math.floor(two**power * 2**64)))
            correction = Fraction(root, 2**64 - math.floor(one**power * 2**64))
            offset = math.ceil(Fraction(tau, 10**6) * 2 ** (bits + 16))
            scaled = 2**bits * Fraction(eta, 10**6) * correction * first
            return math.floor(scaled / (math.isqrt(second) + offset))
        case ServerYogi(eta, beta_1, beta_2, tau):
            first, second = 0, 0
            one, two = Fraction(beta_1, 10**6), Fraction(beta_2, 10**6)
            for played in rounds:
                delta = guarded(played, element)
                first = math.floor(one * first + (1 - one) * delta)
                change = math.floor((1 - two) * delta**2)
                second += change if second < delta**2 else -change if second > delta**2 else 0
            return adaptive(eta, tau, first, second, bits)
        case ServerAdagrad(eta, tau):
            second = sum(guarded(played, element) ** 2 for played in rounds)
            return adaptive(eta, tau, guarded(rounds[-1], element), second, bits)
    raise AssertionError(rule)


def adaptive(eta: int, tau: int, first: int, second: int, bits: int) -> int:
    offset = math.ceil(Fraction(tau, 10**6) * 2 ** (bits + 16))
    return math.floor(2**bits * Fraction(eta, 10**6) * first / (math.isqrt(second) + offset))


def guarded(played: tuple[list[list[int]], list[int]], element: int) -> int:
    vectors, weights = played
    total = sum(vector[element] * weight for vector, weight in zip(vectors, weights, strict=True))
    return math.floor(Fraction(total, sum(weights)) * 2**16)


def slow_shares(
    vectors: list[list[int]], losses: list[int], rate: int, fairness: int, bits: int
) -> list[int]:
    """q-FedAvg's shares; the powers as the greatest integers whose logarithm is not above the true one."""
    eta, q = Fraction(rate, 10**6), Fraction(fairness, 10**6)
    real = [Fraction(loss, 10**6) + Fraction(1, 10**10) for loss in losses]
    powers = [10**30 if one == max(real) else root_power(one / max(real), q) for one in real]
    curved = [
        math.floor(q / eta * power / one * Fraction(sum(value**2 for value in vector), 4**bits))
        for power, one, vector in zip(powers, real, vectors, strict=True)
    ]
    return [math.floor(Fraction(power * 2**31, sum(powers) + sum(curved))) for power in powers]


def root_power(ratio: Fraction, q: Fraction) -> int:
    """floor(10^30 · ratio^q) by Newton's method for integers: the q.denominator-th root of an integer."""
    inside = ratio**q.numerator * Fraction(10) ** (30 * q.denominator)
    whole, degree = math.floor(inside), q.denominator
    guess = 1 << -(-whole.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + whole // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better


def slow_bulyan(vectors: list[list[int]], malicious: int, element: int) -> int:
    select = max(1, len(vectors) - 2 * malicious)
    column = sorted(vectors[at][element] for at in slow_selected(vectors, malicious, select))
    median = Fraction(column[(len(column) - 1) // 2] + column[len(column) // 2], 2)
    closest = sorted(column, key=lambda value: (abs(value - median), value))[: max(1, select - 2 * malicious)]
    return math.floor(Fraction(sum(closest), len(closest)))


def slow_krum(vectors: list[list[int]], weights: list[int], malicious: int, select: int, element: int) -> int:
    chosen = slow_selected(vectors, malicious, select)
    total = sum(vectors[at][element] * weights[at] for at in chosen)
    return math.floor(Fraction(total, sum(weights[at] for at in chosen)))


def slow_selected(vectors: list[list[int]], malicious: int, select: int) -> list[int]:
    scored = []
    for at, own in enumerate(vectors):
        distances = sorted(
            sum((a - b) ** 2 for a, b in zip(own, other, strict=True))
            for position, other in enumerate(vectors)
            if position != at
        )
        scored.append((sum(distances[: max(1, len(vectors) - malicious - 2)]), at))
    return [at for _, at in sorted(scored)[:select]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.describe())
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), clients=st.integers(1, 9), wide=st.booleans())
def test_a_rule_is_its_definition_to_the_bit(rule: Aggregator, seed: int, clients: int, wide: bool) -> None:
    rng = random.Random(seed)
    limit = 2**27 if wide else 9
    rounds = [
        (
            [[rng.randrange(-limit, limit + 1) for _ in range(5)] for _ in range(clients)],
            [rng.randrange(1, 2**20) for _ in range(clients)],
        )
        for _ in range(3)
    ]
    base, state = np.array([0, 1, -1, 2**28, -(2**28)], dtype=np.int32), ()
    for number, (vectors, weights) in enumerate(rounds, start=1):
        result = aggregate(rule, base, contributions(vectors, weights), state, RoundFacts(number, 20))
        steps = [slow_step(rule, rounds[:number], element, 20) for element in range(5)]
        assert result.model.tolist() == [int(b) + step for b, step in zip(base, steps, strict=True)]
        state = result.state


def test_momentum_without_memory_is_the_weighted_mean() -> None:
    given_ = contributions([[7, -7, 1], [-3, -9, 0]], [3, 4])
    base, facts = np.zeros(3, np.int32), RoundFacts(1, 8)
    plain = aggregate(WeightedMean(), base, given_, (), facts)
    momentum = aggregate(ServerMomentum(1_000_000, 0), base, given_, (), facts)
    assert momentum.model.tolist() == plain.model.tolist() == [1, -9, 0]
    assert momentum.sums.total_weight == plain.sums.total_weight == 7


def test_krum_takes_the_lower_address_of_equals_and_keeps_the_contracts_weights() -> None:
    same = contributions([[4], [4], [4], [100]], [10, 20, 30, 99])
    assert Krum(1, 1).selected(same) == (0,)
    assert Krum(1, 2).selected(same) == (0, 1)
    far = contributions([[100], [4], [5], [4]], [1, 10, 20, 30])
    assert Krum(1, 3).selected(far) == (1, 2, 3)
    result = aggregate(Krum(1, 3), np.zeros(1, np.int32), far, (), RoundFacts(1, 8))
    assert result.model.tolist() == [(4 * 10 + 5 * 20 + 4 * 30) // 60]
    assert Krum(0, 5).selected(contributions([[1]], [1])) == (0,)


def test_distances_of_extreme_vectors_are_exact() -> None:
    low, high = np.full(3, -(2**31), np.int32), np.full(3, 2**31 - 1, np.int32)
    assert squared_distance(low, high) == 3 * (2**32 - 1) ** 2


def test_scaling_by_millionths_is_exact_far_out() -> None:
    values = [2**54 + 1, -(2**54) - 1, 999_999, -1, 0]
    for micros in (1, 333_333, 999_999, 100_000_000):
        scaled = times_micros(np.array(values, dtype=np.int64), micros)
        assert scaled.tolist() == [value * micros // 10**6 for value in values]


def test_a_model_that_leaves_int32_is_refused_by_every_rule() -> None:
    base = np.array([2**31 - 1, 0], dtype=np.int32)
    for rule in RULES:
        with pytest.raises(RangeError, match="element 0 of the new model"):
            aggregate(rule, base, contributions([[2**24, 0]] * 5, [500_000] * 5), (), RoundFacts(1, 20))


def test_a_momentum_that_runs_away_is_an_error_and_does_not_wrap() -> None:
    rule, sums = ServerMomentum(1, 999_999), contributions([[2**31 - 1]], [1])
    state = ()
    with pytest.raises(RangeError, match="momentum reached"):
        for number in range(1, 2000):
            state = aggregate(rule, np.zeros(1, np.int32), sums, state, RoundFacts(number, 8)).state


def test_an_update_that_attests_no_loss_moves_nothing_under_qfedavg() -> None:
    rule, facts = FairAverage(100_000, 500_000), RoundFacts(1, 20)
    told, silent = contributions([[100], [900]], [5, 5])
    silent = CountedUpdate(silent.commitment, silent.vector)
    assert rule.shares([told, silent], facts)[1] == 0 < rule.shares([told, silent], facts)[0]
    assert rule.shares([silent, silent], facts) == (0, 0)
    assert aggregate(rule, np.zeros(1, np.int32), [silent], (), facts).model.tolist() == [0]


def test_a_loss_of_zero_and_the_greatest_are_weighed_exactly() -> None:
    facts, vector = RoundFacts(1, 20), np.array([2**31 - 1], np.int32)
    for fairness in (1, 999_999, 100_000_000):
        rule = FairAverage(1, fairness)
        updates = [
            CountedUpdate(Commitment(f"0x{at + 1:040x}", 1, bytes(32), 0), vector, loss)
            for at, loss in enumerate((0, 1, 2**64 - 2))
        ]
        low, middle, high = rule.shares(updates, facts)
        assert 0 <= low <= middle <= high and low + middle + high <= 2**31


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.describe())
def test_an_identifier_names_its_rule(rule: Aggregator) -> None:
    assert len(rule.identifier) == 32
    assert aggregator_named(rule.identifier) == rule
    assert rule.is_audit_only == (rule != WeightedMean()) == ("audit-only" in rule.describe())


def test_identifiers_hold_their_parameters_as_written() -> None:
    assert ServerMomentum(1_000_000, 900_000).identifier.hex() == "0101000f4240000dbba0".ljust(64, "0")
    assert Krum(3, 7).identifier.hex() == "05010000000300000007".ljust(64, "0")
    assert CoordinateMedian().identifier.hex() == "0301".ljust(64, "0")


@pytest.mark.parametrize(
    ("identifier", "complaint"),
    [
        ("0c", "not known"),
        ("0302", "version 2"),
        ("030100000001", "more than the 0 parameters"),
        ("0401000f4240", "beta"),
        ("0501", "to select"),
        ("0101000f4240000f4240", "momentum"),
        ("0201000f4240000000000000000000000000", "tau"),
        ("00" * 31 + "01", "not known"),
    ],
)
def test_identifiers_of_no_rule_are_refused(identifier: str, complaint: str) -> None:
    with pytest.raises(EncodingError, match=complaint):
        aggregator_named(bytes.fromhex(identifier.ljust(64, "0")))


def test_the_pages_example_holds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    block = page[page.index("round 1   round 2") :]
    printed = [[int(word) for word in line.split()[-2:]] for line in block.splitlines()[1:8]]
    rules = [
        WeightedMean(),
        RULES[1],
        RULES[3],
        CoordinateMedian(),
        TrimmedMean(250_000),
        Krum(1, 1),
        Krum(1, 3),
    ]
    for rule, expected in zip(rules, printed, strict=True):
        base, state, models = np.array([1000], dtype=np.int32), (), []
        for number, column in enumerate(([12, -3, 7, 40], [5, -8, 0, -1]), start=1):
            given_ = contributions([[value] for value in column], [1, 2, 3, 4])
            result = aggregate(rule, base, given_, state, RoundFacts(number, 20))
            base, state = result.model, result.state
            models.append(int(base[0]))
        assert models == expected, rule
