"""Flower's strategies by the names that a configuration gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg

from fedvm.federation.errors import SettingsError
from fedvm.federation.metrics import MetricNames
from fedvm.federation.settings import ServerSettings
from fedvm.federation.strategy_settings import STRATEGY_KEYS, StrategyName

STRATEGIES: Mapping[str, type[FedAvg]] = MappingProxyType(
    {
        StrategyName.FEDAVG: flower.FedAvg,
        StrategyName.FEDPROX: flower.FedProx,
        StrategyName.FEDAVGM: flower.FedAvgM,
        StrategyName.FEDADAM: flower.FedAdam,
        StrategyName.FEDYOGI: flower.FedYogi,
        StrategyName.FEDADAGRAD: flower.FedAdagrad,
        StrategyName.FEDMEDIAN: flower.FedMedian,
        StrategyName.FEDTRIMMEDAVG: flower.FedTrimmedAvg,
        StrategyName.KRUM: flower.Krum,
        StrategyName.MULTIKRUM: flower.MultiKrum,
        StrategyName.BULYAN: flower.Bulyan,
        StrategyName.QFEDAVG: flower.QFedAvg,
    }
)
"""Flower's class for each name."""


@dataclass(frozen=True)
class StrategySettings:
    """A name in `STRATEGIES`, and parameters other than Flower's defaults.

    Raises:
        SettingsError: an unknown name, or a parameter of another strategy.
    """

    name: str = ServerSettings.strategy
    parameters: Mapping[str, float | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in STRATEGIES:
            raise SettingsError(f"unknown strategy {self.name!r}; known: {', '.join(STRATEGIES)}")
        known = STRATEGY_KEYS[StrategyName(self.name)]
        if strange := [name for name in self.parameters if name not in known]:
            has = f"has {', '.join(known)}" if known else "has no parameters"
            raise SettingsError(f"{self.name} {has}, not {', '.join(strange)}")


def make_strategy(settings: StrategySettings, **sampling: float | int) -> FedAvg:
    """Flower's strategy object. sampling: its `fraction_train`, `min_train_nodes` and so on.

    Raises SettingsError for a parameter that the strategy refuses.
    """
    kind = STRATEGIES[settings.name]
    own: dict[str, Any] = {**sampling, **settings.parameters}
    if kind is flower.QFedAvg:
        own["train_loss_key"] = MetricNames.attested_loss
    try:
        return kind(**own)
    except ValueError as error:
        raise SettingsError(f"{settings.name}: {error}") from error
