"""Federated XGBoost over bytes: Flower's own results, and what is no booster."""

from __future__ import annotations

import json
from functools import reduce

import numpy as np
import pytest
from flwr.serverapp.strategy.strategy_utils import aggregate_bagging

from fedvm.protocol.aggregators import BoosterBagging, BoosterTurns, aggregator_named

xgboost = pytest.importorskip("xgboost")
PARAMS = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "nthread": 1}


def booster(seed: int, parallel: int = 1) -> bytes:
    x = np.random.default_rng(seed).normal(size=(60, 4))
    data = xgboost.DMatrix(x, label=(x[:, 0] > 0).astype(int))
    trained = xgboost.train({**PARAMS, "num_parallel_tree": parallel, "seed": seed}, data, num_boost_round=1)
    return bytes(trained.save_raw("json"))


@pytest.mark.parametrize("parallel", [1, 3])
def test_bagging_gives_the_bytes_that_flower_gives(parallel: int) -> None:
    updates = [booster(seed, parallel) for seed in range(4)]
    rule = BoosterBagging()
    first = rule.combined(b"", updates)
    assert first == reduce(aggregate_bagging, updates, b"")
    assert rule.combined(first, updates) == reduce(aggregate_bagging, updates, first)
    loaded = xgboost.Booster()
    loaded.load_model(bytearray(first))
    assert loaded.num_boosted_rounds() == 4
    assert rule.combined(b"", updates[:1]) == updates[0]


def test_what_is_no_booster_adds_nothing() -> None:
    good = booster(1)
    changed = json.loads(good)
    inner = changed["learner"]["gradient_booster"]["model"]
    wrong = [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        good[:-10],
        good.replace(b'"num_trees":"1"', b'"num_trees":"2"'),
        good.replace(b'"num_parallel_tree":"1"', b'"num_parallel_tree":"0"'),
        good.replace(b'"num_parallel_tree":"1"', b'"num_parallel_tree":"-1"'),
        good.replace(b'"num_trees":"1"', b'"num_trees":1'),
        json.dumps({**changed, "extra": float("nan")}).encode(),
        json.dumps({**changed, "learner": {"gradient_booster": {"model": {**inner, "trees": [7]}}}}).encode(),
        json.dumps(
            {**changed, "learner": {"gradient_booster": {"model": {**inner, "iteration_indptr": []}}}}
        ).encode(),
    ]
    rule = BoosterBagging()
    model = rule.combined(b"", [good, booster(2)])
    assert rule.combined(b"", [*wrong, good, *wrong, booster(2)]) == model
    for one in wrong:
        assert rule.combined(model, [one]) == model, one[:40]
        assert BoosterTurns().combined(model, [one]) == model
    assert rule.combined(b"", [b"none"]) == b""


def test_in_turns_the_model_is_the_members() -> None:
    assert BoosterTurns().combined(booster(1), [booster(2)]) == booster(2)


def test_identifiers_name_the_rules() -> None:
    for rule in (BoosterBagging(), BoosterTurns()):
        assert aggregator_named(rule.identifier) == rule and rule.is_audit_only and rule.over_bytes
