"""Local differential privacy: what it costs, that it is counted, and that nobody gives more than the budget."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from federation_bench import MakeBench
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from fedvm.federation import FederationSettings
from fedvm.federation.client.privacy import LocalPrivacy, dp_mod, secure_normal
from fedvm.federation.engines.flower_task import task_identity
from fedvm.federation.errors import PrivacyBudgetSpent, SettingsError


@pytest.mark.parametrize(
    ("noise", "releases", "delta"), [(2.0, 1, 1e-5), (2.0, 10, 1e-5), (0.5, 3, 1e-6), (20, 50, 1e-5)]
)
def test_epsilon_is_the_gaussian_mechanism_s_composed(noise: float, releases: int, delta: float) -> None:
    """By hand: RDP of order a is k·a/(2·s²) with s = σ/Δ; converted by Canonne, Kamath and Steinke (2020)."""
    s = noise / 2
    orders = np.concatenate([1 + np.arange(1, 1000) / 100, np.arange(11, 257)])
    rdp = releases * orders / (2 * s**2)
    by_hand = rdp + np.log((orders - 1) / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    assert LocalPrivacy(1.0, noise, delta).epsilon(releases) == pytest.approx(by_hand.min(), rel=1e-9)


def test_epsilon_bounds_the_exact_value_and_grows() -> None:
    privacy = LocalPrivacy(clip=3.0, noise_multiplier=2.0)
    exact = 4.377  # σ/Δ = 1, δ = 1e-5: the analytic Gaussian mechanism of Balle and Wang (2018)
    assert exact < privacy.epsilon(1) < exact * 1.15
    spent = [privacy.epsilon(count) for count in range(6)]
    assert spent[0] == 0 and spent == sorted(spent)


def test_the_update_is_clipped_before_the_noise_and_the_noise_has_its_size() -> None:
    privacy = LocalPrivacy(clip=2.0, noise_multiplier=0.5)
    long, short = np.array([3.0, 4.0]), np.array([0.3, 0.4])
    assert np.allclose(privacy.privatise(long, np.zeros), [1.2, 1.6])
    assert np.allclose(privacy.privatise(short, np.zeros), short)
    noise = privacy.privatise(np.zeros(100_000), secure_normal)
    assert noise.std() == pytest.approx(1.0, rel=0.03)


def test_the_secure_generator_is_normal() -> None:
    draws = secure_normal(200_001)
    assert draws.shape == (200_001,) and np.isfinite(draws).all()
    for limit, share in ((0.0, 0.5), (1.0, 0.8413), (-2.0, 0.0228), (3.0, 0.99865)):
        assert (draws < limit).mean() == pytest.approx(share, abs=0.005)
    assert abs(np.corrcoef(draws[:100_000], draws[100_001:])[0, 1]) < 0.02, (
        "the halves of a pair are independent"
    )
    assert not np.array_equal(secure_normal(8), secure_normal(8))


def _trained(add: float) -> Callable[[Message, Context], Message]:
    def app(message: Message, context: Context) -> Message:
        state = message.content.array_records["arrays"]
        moved = {
            name: np.asarray(array.numpy() + array.numpy().dtype.type(add)) for name, array in state.items()
        }
        content = {"arrays": ArrayRecord({name: Array(array) for name, array in moved.items()})}
        return Message(
            RecordDict({**content, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message
        )

    return app


def _ask(privacy: LocalPrivacy, context: Context, round_: int) -> RecordDict:
    arrays = ArrayRecord({"w": Array(np.ones((2, 3), np.float32)), "steps": Array(np.array(4))})
    config = ConfigRecord({"server-round": round_})
    content = RecordDict({"arrays": arrays, "config": config})
    with task_identity(run_id=1, node_id=5):
        message = Message(content, dst_node_id=5, message_type="train")
        return dp_mod(privacy, seed=3)(message, context, _trained(1.0)).content


def _context() -> Context:
    return Context(1, 5, {"partition-id": 0}, RecordDict(), {})


def test_the_mod_hides_the_update_and_states_what_was_spent() -> None:
    privacy, context = LocalPrivacy(clip=1.0, noise_multiplier=0.1), _context()
    content = _ask(privacy, context, 1)
    moved = content.array_records["arrays"]["w"].numpy()
    assert moved.shape == (2, 3) and moved.dtype == np.float32
    assert 0 < np.abs(moved - 1 - 6**-0.5).max() < 0.5, "clipped to norm 1, and noise on it"
    assert int(content.array_records["arrays"]["steps"].numpy()) == 5, "integer counters are no update"
    assert content.metric_records["metrics"]["epsilon"] == privacy.epsilon(1)
    assert _ask(privacy, context, 4).metric_records["metrics"]["epsilon"] == privacy.epsilon(2)
    assert not np.array_equal(_ask(privacy, context, 5).array_records["arrays"]["w"].numpy(), moved)
    lost = _ask(privacy, _context(), 4)
    assert lost.metric_records["metrics"]["epsilon"] == privacy.epsilon(4), (
        "never less than may have been spent"
    )


def test_updates_with_little_noise_are_not_counted_as_if_they_had_more() -> None:
    little, much, context = LocalPrivacy(1.0, 2.0), LocalPrivacy(1.0, 8.0), _context()
    for round_ in range(1, 11):
        _ask(little, context, round_)
    stated = _ask(much, context, 11).metric_records["metrics"]["epsilon"]
    assert stated == little.epsilon(11) > little.epsilon(10) > 4 * much.epsilon(11)
    sent = much.one_more(little.one_more(None, 3, excess=1e-2), 4, excess=1e-3)
    assert much.spend(sent) == little.epsilon(4, excess=1e-2), "nor as if they were nearer to Gaussian"


def test_a_spent_budget_is_refused_before_training() -> None:
    two = LocalPrivacy(1.0, 2.0).epsilon(2)
    privacy, context = LocalPrivacy(1.0, 2.0, max_epsilon=two), _context()
    for round_ in (1, 2):
        _ask(privacy, context, round_)
    with pytest.raises(PrivacyBudgetSpent, match=rf"update 3 would bring ε to .* the budget is {two:g}"):
        _ask(privacy, context, 3)


@pytest.mark.slow
def test_a_run_ends_when_the_budgets_do_and_repeats_to_the_bit(make_bench: MakeBench) -> None:
    two = LocalPrivacy(1.0, 2.0).epsilon(2)
    privacy = LocalPrivacy(1.0, 2.0, max_epsilon=two)
    rule = math.ceil(two * 1e6)
    settings = FederationSettings(clients=2, rounds=5, privacy=privacy, seeded_noise=True)
    first = make_bench(2, "first", max_epsilon_micros=rule).run(settings)
    again = make_bench(2, "again", max_epsilon_micros=rule).run(settings, workers=2)
    assert first.model_root == again.model_root
    assert [record.status for record in first.records] == ["final", "final", "failed"]
    assert first.round == 2 and str(first.stopped).startswith("the clients' privacy budgets are spent")
    assert all("budget is spent" in failure.reason for failure in first.records[2].failures)
    stated = [record.accepted[0].epsilon for record in first.records[:2]]
    assert stated == pytest.approx([privacy.epsilon(1), privacy.epsilon(2)], abs=1e-6)


def test_the_contract_refuses_who_overruns_its_budget(make_bench: MakeBench) -> None:
    careless = LocalPrivacy(1.0, 2.0)
    bench = make_bench(2, max_epsilon_micros=math.ceil(careless.epsilon(1) * 1e6))
    settings = FederationSettings(clients=2, rounds=2, privacy=careless, seeded_noise=True)
    records = bench.run(settings).records
    assert [record.status for record in records] == ["final", "failed"]
    assert {refused.reason for refused in records[1].refused} == {"BudgetSpent"}


def test_errors() -> None:
    for change, words in (
        ({"clip": 0.0}, "positive clip"),
        ({"clip": math.nan}, "positive clip"),
        *[
            ({"noise_multiplier": noise}, "noise_multiplier from 0.001 to 1e")
            for noise in (-1.0, 1e-300, 1e200, 1e308, math.nan)
        ],
        *[({"delta": delta}, "above 0 and at most 0.001") for delta in (0.0, 0.0011, 0.99, math.nan)],
        *[
            ({"max_epsilon": budget}, "positive number, or None for no limit")
            for budget in (0.0, math.inf, math.nan)
        ],
        ({"max_epsilon": 1.0}, "a single update costs ε = .*raise noise_multiplier or max_epsilon"),
    ):
        with pytest.raises(SettingsError, match=words):
            LocalPrivacy(**{"clip": 1.0, "noise_multiplier": 1.0, **change})
    assert LocalPrivacy(1.0, 1e6, 1e-3).epsilon(1) > 0 and LocalPrivacy(1.0, 1e-3).epsilon(1) < math.inf
