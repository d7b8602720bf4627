"""Flower's strategies by the names that a configuration gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg

from fedvm.federation.errors import SettingsError

STRATEGIES: Mapping[str, tuple[type[FedAvg], tuple[str, ...]]] = MappingProxyType(
    {
        "fedavg": (flower.FedAvg, ()),
        "fedprox": (flower.FedProx, ("proximal_mu",)),
        "fedavgm": (flower.FedAvgM, ("server_learning_rate", "server_momentum")),
        "fedadam": (flower.FedAdam, ("eta", "beta_1", "beta_2", "tau")),
        "fedmedian": (flower.FedMedian, ()),
        "fedtrimmedavg": (flower.FedTrimmedAvg, ("beta",)),
        "krum": (flower.Krum, ("num_malicious_nodes",)),
        "multikrum": (flower.MultiKrum, ("num_malicious_nodes", "num_nodes_to_select")),
    }
)
"""Each: Flower's class and the parameters, of its own names, that a configuration may set."""


@dataclass(frozen=True)
class StrategySettings:
    """A name in `STRATEGIES`, and parameters other than Flower's defaults.

    Raises:
        SettingsError: an unknown name, or a parameter of another strategy.
    """

    name: str = "fedavg"
    parameters: Mapping[str, float | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in STRATEGIES:
            raise SettingsError(f"unknown strategy {self.name!r}; known: {', '.join(STRATEGIES)}")
        known = STRATEGIES[self.name][1]
        if strange := [name for name in self.parameters if name not in known]:
            has = f"has {', '.join(known)}" if known else "has no parameters"
            raise SettingsError(f"{self.name} {has}, not {', '.join(strange)}")


def make_strategy(settings: StrategySettings, **sampling: float | int) -> FedAvg:
    """Flower's strategy object. sampling: its `fraction_train`, `min_train_nodes` and so on.

    Raises SettingsError for a parameter that the strategy refuses.
    """
    kind, _ = STRATEGIES[settings.name]
    try:
        return kind(**sampling, **settings.parameters)  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(f"{settings.name}: {error}") from error
