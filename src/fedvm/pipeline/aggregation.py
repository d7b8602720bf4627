"""The aggregation that a configuration names: Flower's strategy, and the contract's rule."""

from __future__ import annotations

from fedvm.federation.coordinator.flower_rules import rule_of
from fedvm.federation.coordinator.flower_strategies import StrategySettings, make_strategy
from fedvm.pipeline.config import RunConfig
from fedvm.protocol.aggregators import Aggregator


def strategy_settings(config: RunConfig) -> StrategySettings:
    """The strategy's name and its parameters."""
    return StrategySettings(config.federation.strategy, config.strategy.given())


def aggregation_rule(config: RunConfig) -> Aggregator:
    """The rule that corresponds to `federation.strategy`. Raises SettingsError for parameters that the rule cannot
    have."""
    return rule_of(make_strategy(strategy_settings(config)))
