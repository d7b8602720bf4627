"""Flower's own float results against the fixed-point rules, on the same updates."""

from __future__ import annotations

import numpy as np
import pytest
from flower_replies import flower_round
from flwr.serverapp import strategy as flower

from fedvm.protocol import Commitment, CountedUpdate
from fedvm.protocol.aggregators import (
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
)

FLOWER = {
    "FedAvg": (flower.FedAvg(), WeightedMean()),
    "FedAvgM": (
        flower.FedAvgM(server_learning_rate=0.8, server_momentum=0.9),
        ServerMomentum(800_000, 900_000),
    ),
    "FedAdam": (flower.FedAdam(eta=0.05, tau=1e-3), ServerAdam(50_000, 900_000, 990_000, 1_000)),
    "FedYogi": (flower.FedYogi(eta=0.05, tau=1e-3), ServerYogi(50_000, 900_000, 990_000, 1_000)),
    "FedAdagrad": (flower.FedAdagrad(eta=0.05, tau=1e-3), ServerAdagrad(50_000, 1_000)),
    "FedMedian": (flower.FedMedian(), CoordinateMedian()),
    "FedTrimmedAvg": (flower.FedTrimmedAvg(beta=0.2), TrimmedMean(200_000)),
    "Krum": (flower.Krum(num_malicious_nodes=2), Krum(2, 1)),
    "Bulyan": (flower.Bulyan(num_malicious_nodes=1), Bulyan(1)),
    "QFedAvg": (flower.QFedAvg(client_learning_rate=0.05, q=0.7), FairAverage(50_000, 700_000)),
    "MultiKrum": (flower.MultiKrum(num_malicious_nodes=2, num_nodes_to_select=4), Krum(2, 4)),
}


def contributions(updates: np.ndarray, weights: list[int]) -> list[CountedUpdate]:
    pairs = enumerate(zip(updates, weights, strict=True))
    return [
        CountedUpdate(Commitment(f"0x{at + 1:040x}", weight, bytes(32), 0), update, weight * 100)
        for at, (update, weight) in pairs
    ]


@pytest.mark.parametrize("name", FLOWER)
def test_flowers_own_results_agree_within_the_resolution(name: str) -> None:
    strategy, rule = FLOWER[name]
    rng = np.random.default_rng(3)
    base, state = rng.integers(-(2**20), 2**20, 300).astype(np.int32), ()
    for number in (1, 2, 3, 4):
        updates = rng.normal(0, 2**13, (9, 300)).astype(np.int32)
        weights = rng.integers(1, 300, 9).tolist()
        floats = flower_round(strategy, number, base / 2**20, list(updates / 2**20), weights)
        result = aggregate(rule, base, contributions(updates, weights), state, RoundFacts(number, 20))
        # A unit for each rounding down, and a little for the memory's. Flower's FedAvgM goes on from its own
        # unrounded model instead of the one it is given.
        rounded = number if name == "FedAvgM" else 1
        assert np.abs(result.model - floats * 2**20).max() <= rounded + 0.01
        assert np.abs(result.model - base).max() > 100
        base, state = result.model, result.state
