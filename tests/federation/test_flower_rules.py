"""Which of Flower's strategies can be made accountable, as what, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.serverapp import strategy as flower

from fedvm.federation.coordinator.flower_rules import check_rule, micros, rule_of
from fedvm.federation.coordinator.flower_strategies import STRATEGIES, StrategySettings, make_strategy
from fedvm.federation.errors import SettingsError
from fedvm.federation.strategy_settings import STRATEGY_KEYS
from fedvm.protocol.aggregators import (
    Aggregator,
    BoosterBagging,
    BoosterTurns,
    Bulyan,
    CoordinateMedian,
    FairAverage,
    Krum,
    ServerAdagrad,
    ServerAdam,
    ServerMomentum,
    ServerYogi,
    TrimmedMean,
    WeightedMean,
)


class MyMedian(flower.FedMedian):
    """A user's own, which only changes what is sent."""

    def configure_train(self, *args, **kwargs):
        return super().configure_train(*args, **kwargs)


class MyCounting(flower.FedAvg):
    """A user's own, which only looks at the replies."""

    def aggregate_train(self, server_round, replies):
        return super().aggregate_train(server_round, list(replies))


class MyAverage(flower.FedAvg):
    """A user's own, which aggregates by itself."""

    def aggregate_train(self, server_round, replies):
        return None, None


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        (flower.FedAvg(), WeightedMean()),
        (flower.FedProx(proximal_mu=0.1), WeightedMean()),
        (
            flower.FedAvgM(server_learning_rate=0.5, server_momentum=0.875),
            ServerMomentum(500_000, 875_000),
        ),
        (
            flower.FedAdam(eta=0.01, beta_1=0.9, beta_2=0.99, tau=1e-6),
            ServerAdam(10_000, 900_000, 990_000, 1),
        ),
        (flower.FedYogi(eta=0.01, beta_1=0.5, tau=1e-6), ServerYogi(10_000, 500_000, 990_000, 1)),
        (flower.FedAdagrad(eta=0.02), ServerAdagrad(20_000, 1_000)),
        (flower.FedMedian(), CoordinateMedian()),
        (MyMedian(), CoordinateMedian()),
        (MyCounting(), WeightedMean()),
        (flower.FedTrimmedAvg(beta=0.3), TrimmedMean(300_000)),
        (flower.Krum(num_malicious_nodes=3), Krum(3, 1)),
        (flower.MultiKrum(num_malicious_nodes=3, num_nodes_to_select=5), Krum(3, 5)),
        (flower.Bulyan(num_malicious_nodes=2), Bulyan(2)),
        (flower.FedXgbBagging(), BoosterBagging()),
        (flower.FedXgbCyclic(), BoosterTurns()),
        (flower.QFedAvg(client_learning_rate=0.05, q=0.3), FairAverage(50_000, 300_000)),
    ],
)
def test_a_strategy_stands_for_its_rule(strategy: flower.FedAvg, rule: Aggregator) -> None:
    assert rule_of(strategy) == rule
    check_rule(strategy, rule, rule.identifier)


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        (flower.DifferentialPrivacyServerSideFixedClipping(flower.FedAvg(), 1, 1, 2), "noise .* secret"),
        (
            flower.DifferentialPrivacyServerSideAdaptiveClipping(flower.FedAvg(), 0.01, 2),
            "noise .* secret",
        ),
        (flower.DifferentialPrivacyClientSideFixedClipping(flower.FedAvg(), 1, 1, 2), "max_norm"),
        (flower.DifferentialPrivacyClientSideAdaptiveClipping(flower.FedAvg(), 0.01, 2), "max_norm"),
        (MyAverage(), "aggregate_train is its own"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_fixed_point_form_is_refused_with_the_reason(strategy: flower.Strategy, why: str) -> None:
    with pytest.raises(
        SettingsError, match=f"{type(strategy).__name__} cannot be made.*{why}.*(Use one of|must call super)"
    ):
        rule_of(strategy)


@pytest.mark.parametrize(
    ("strategy", "complaint"),
    [
        (flower.FedAdam(tau=1e-9), "tau is 1e-09; .*at most six decimals"),
        (flower.FedAvgM(server_momentum=1.5), "momentum"),
        (flower.FedAvgM(server_momentum=float("nan")), "at most six decimals"),
        (flower.MultiKrum(num_nodes_to_select=0), "to select"),
        (flower.QFedAvg(client_learning_rate=0.0), "client_learning_rate"),
        (flower.Bulyan(selection_rule=lambda contents, malicious, select: contents), "selection_rule"),
    ],
)
def test_parameters_that_the_rules_cannot_hold_are_refused(strategy: flower.FedAvg, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        rule_of(strategy)


def test_the_page_has_a_row_for_every_strategy_of_flowers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "flower.md").read_text()
    table = page[page.index("| strategy | |") :]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")]
    said = {name.strip(): meaning for names, meaning in rows for name in names.split(",")}
    strategies = set(flower.__all__) - {"Strategy", "Result"}
    assert strategies <= set(said)
    disputable = {name for name in strategies if "disputed on chain" in said[name]}
    refused = {name for name in strategies if said[name].strip().startswith("refused before the first round")}
    assert {name for name in strategies if _standing(name) == "disputable"} == disputable
    assert {name for name in strategies if _standing(name) == "refused"} == refused
    assert all("audit-only" in said[name] for name in strategies - disputable - refused)


def _standing(name: str) -> str:
    """What becomes of a strategy, made with parameters that any of them takes."""
    kind = getattr(flower, name)
    required: dict[str, tuple[Any, ...]] = {
        "QFedAvg": (0.1,),
        "DifferentialPrivacyServerSideFixedClipping": (flower.FedAvg(), 1, 1, 2),
        "DifferentialPrivacyClientSideFixedClipping": (flower.FedAvg(), 1, 1, 2),
        "DifferentialPrivacyServerSideAdaptiveClipping": (flower.FedAvg(), 0.01, 2),
        "DifferentialPrivacyClientSideAdaptiveClipping": (flower.FedAvg(), 0.01, 2),
    }
    try:
        rule = rule_of(kind(*required.get(name, ())))
    except SettingsError:
        return "refused"
    return "audit-only" if rule.is_audit_only else "disputable"


def test_a_mismatch_names_both() -> None:
    strategy = flower.FedTrimmedAvg(beta=0.2)
    with pytest.raises(
        SettingsError, match=r"FedTrimmedAvg \(beta 0.2; audit-only\), but .* \(beta 0.3; audit-only\)"
    ):
        check_rule(strategy, rule_of(strategy), TrimmedMean(300_000).identifier)
    with pytest.raises(SettingsError, match="does not know"):
        check_rule(strategy, rule_of(strategy), b"\xff" * 32)


def test_decimal_floats_become_exact_millionths() -> None:
    assert [micros("x", value) for value in (0.1, 0.29, 0.999999, 1, 1e-6)] == [
        100_000,
        290_000,
        999_999,
        10**6,
        1,
    ]


def test_every_strategy_has_a_name_and_takes_its_parameters() -> None:
    for name, kind in STRATEGIES.items():
        parameters = STRATEGY_KEYS[name]
        strategy = make_strategy(StrategySettings(name, dict.fromkeys(parameters, 0.25)), fraction_train=0.5)
        assert type(strategy) is kind and strategy.fraction_train == 0.5
        assert all(getattr(strategy, parameter) == 0.25 for parameter in parameters)
    with pytest.raises(SettingsError, match="fedmedian has no parameters, not beta"):
        StrategySettings("fedmedian", {"beta": 0.1})
    with pytest.raises(SettingsError, match="unknown strategy 'fedxgbbagging'; known: fedavg, "):
        StrategySettings("fedxgbbagging")
    with pytest.raises(SettingsError, match="fedtrimmedavg"):
        make_strategy(StrategySettings("fedtrimmedavg", {"beta": 0.5}))
