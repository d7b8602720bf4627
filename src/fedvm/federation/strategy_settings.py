"""The strategies that a configuration can name, and their parameters. Names only: nothing here loads Flower."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Annotated

from fedvm.settings import Setting, settings

_UINT32 = 2**32


class StrategyName(StrEnum):
    """Flower's strategies (`fedvm.federation.coordinator.flower_strategies`)."""

    FEDAVG = "fedavg"
    FEDPROX = "fedprox"
    FEDAVGM = "fedavgm"
    FEDADAM = "fedadam"
    FEDYOGI = "fedyogi"
    FEDADAGRAD = "fedadagrad"
    FEDMEDIAN = "fedmedian"
    FEDTRIMMEDAVG = "fedtrimmedavg"
    KRUM = "krum"
    MULTIKRUM = "multikrum"
    BULYAN = "bulyan"
    QFEDAVG = "qfedavg"


@settings
class StrategyParameters:
    """Parameters of `federation.strategy`, named as in Flower.

    At most six decimals: the rules hold millionths. `fedavgm`, `fedadam`, `fedyogi` and `fedadagrad` change
    every federated number, including BatchNorm's running variances, which a large step can make negative.
    """

    proximal_mu: Annotated[
        float | None, Setting("fedprox: weight of the proximal term", unset="must be given", gt=0)
    ] = None
    server_learning_rate: Annotated[
        float | None, Setting("fedavgm: the server's learning rate", unset="Flower's 1", gt=0, le=100)
    ] = None
    server_momentum: Annotated[
        float | None, Setting("fedavgm: the server's momentum", unset="must be given", ge=0, lt=1)
    ] = None
    eta: Annotated[
        float | None, Setting("fedadam, fedyogi, fedadagrad: η", unset="Flower's 0.1", gt=0, le=100)
    ] = None
    beta_1: Annotated[float | None, Setting("fedadam, fedyogi: β₁", unset="Flower's 0.9", ge=0, lt=1)] = None
    beta_2: Annotated[float | None, Setting("fedadam, fedyogi: β₂", unset="Flower's 0.99", ge=0, lt=1)] = None
    tau: Annotated[float | None, Setting("The same three: τ", unset="Flower's 0.001", gt=0, le=100)] = None
    beta: Annotated[
        float | None,
        Setting(
            "fedtrimmedavg: share of the values that is cut off at each end",
            unset="Flower's 0.2",
            ge=0,
            lt=0.5,
        ),
    ] = None
    num_malicious_nodes: Annotated[
        int | None,
        Setting(
            "krum, multikrum, bulyan: number of malicious clients to withstand",
            unset="Flower's 0",
            ge=0,
            lt=_UINT32,
        ),
    ] = None
    num_nodes_to_select: Annotated[
        int | None,
        Setting("multikrum: number of updates to average", unset="must be given", ge=1, lt=_UINT32),
    ] = None

    client_learning_rate: Annotated[
        float | None,
        Setting("qfedavg: the rate at which clients learn", unset="must be given", gt=0, le=100),
    ] = None
    q: Annotated[
        float | None,
        Setting(
            "qfedavg: how much a client with a high loss counts; 0: as any other",
            unset="Flower's 0.1",
            ge=0,
            le=100,
        ),
    ] = None

    def given(self) -> dict[str, float | int]:
        """The parameters that are set."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


STRATEGY_KEYS: dict[StrategyName, tuple[str, ...]] = {
    **dict.fromkeys((StrategyName.FEDAVG, StrategyName.FEDMEDIAN), ()),
    StrategyName.FEDPROX: ("proximal_mu",),
    StrategyName.FEDAVGM: ("server_learning_rate", "server_momentum"),
    **dict.fromkeys((StrategyName.FEDADAM, StrategyName.FEDYOGI), ("eta", "beta_1", "beta_2", "tau")),
    StrategyName.FEDADAGRAD: ("eta", "tau"),
    StrategyName.FEDTRIMMEDAVG: ("beta",),
    StrategyName.KRUM: ("num_malicious_nodes",),
    StrategyName.MULTIKRUM: ("num_malicious_nodes", "num_nodes_to_select"),
    StrategyName.BULYAN: ("num_malicious_nodes",),
    StrategyName.QFEDAVG: ("client_learning_rate", "q"),
}
"""The parameters that each strategy takes."""
