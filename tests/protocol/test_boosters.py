"""Federated XGBoost over bytes: Flower's own results, and what is no booster."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy.strategy_utils import aggregate_bagging

from fedvm.protocol.aggregators import MOST_BYTES, BoosterBagging, BoosterTurns, aggregator_named, boosters
from fedvm.protocol.aggregators.booster_form import read_booster

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


def tree(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda model: model["trees"][0].update(fields)


def parameter(**fields: str) -> Callable[[dict[str, Any]], None]:
    return lambda model: model["trees"][0]["tree_param"].update(fields)


LEAVES = {"left_children": [-1, -1, -1], "right_children": [-1, -1, -1]}
CATEGORIES = {
    "categories_nodes": [0],
    "categories_segments": [0],
    "categories_sizes": [2],
    "categories": [1, 3],
}
ASTRAY: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    # What XGBoost 3.2 follows out of its memory, in circles or to an error, once it is asked for a prediction.
    (tree(left_children=[3, -1, -1]), "left_children is no list of 3 integers from -1 to 2"),
    (tree(left_children=[-5, -1, -1]), "left_children"),
    (tree(right_children=[-1, -1, -1]), "node 0 has one child"),
    (tree(right_children=[1, -1, -1]), "two branches lead to node 1"),
    (tree(left_children=[0, -1, -1]), "has another parent"),
    (tree(left_children=[True, -1, -1]), "left_children"),
    (tree(parents=[2**31 - 1, 0, 10**8]), "has another parent"),
    (tree(parents=[0, 0, 0]), "its root has a parent"),
    (tree(split_indices=[4, 0, 0]), "node 0 asks for feature 4"),
    (tree(split_indices=[2**31, 0, 0]), "split_indices"),
    (tree(split_conditions=[0.5]), "split_conditions is no list of 3 floats"),
    (tree(split_conditions=[1, 0.5, 0.5]), "split_conditions"),
    (tree(base_weights=[1e39, 0.5, 0.5]), "base_weights"),
    (tree(default_left=[2, 0, 0]), "default_left"),
    (tree(**LEAVES), "branches that nothing leads to"),
    (tree(**LEAVES, split_indices=[0, 2**31 - 1, 2**31 - 1]), "nodes that nothing leads to"),
    (tree(id=1), "tree 0 has another id"),
    (tree(split_type=[1, 0, 0]), "do not have them"),
    (tree(split_type=[1, 0, 0], **{**CATEGORIES, "categories_segments": [1]}), "do not have them"),
    (tree(split_type=[1, 0, 0], **{**CATEGORIES, "categories_sizes": [10**6]}), "categories_sizes"),
    (tree(split_type=[1, 0, 0], **{**CATEGORIES, "categories": [1, 2**30]}), "categories"),
    (parameter(num_nodes="4"), "base_weights"),
    (parameter(size_leaf_vector="5"), "vectors as leaves"),
    (parameter(num_feature="5"), "other features"),
    (lambda model: model["trees"][0].pop("sum_hessian"), "'sum_hessian' is missing"),
    (lambda model: model.update(tree_info=[1]), "tree_info"),
    (lambda model: model.update(tree_info=[-1]), "tree_info"),
    (lambda model: model.update(iteration_indptr=[0]), "iteration_indptr"),
    (lambda model: model.update(iteration_indptr=[1, 0]), "iteration_indptr"),
    (lambda model: model.update(cats={"enc": [1]}), "a table of categories"),
]


@pytest.mark.parametrize(("lead", "why"), ASTRAY)
def test_a_tree_that_leads_astray_is_no_part_of_a_booster(
    lead: Callable[[dict[str, Any]], None], why: str
) -> None:
    changed = json.loads(booster(1))
    lead(changed["learner"]["gradient_booster"]["model"])
    data, rule = json.dumps(changed).encode(), BoosterBagging()
    assert why in rule.objection(data) and not rule.objection(booster(1))
    assert rule.combined(booster(2), [data]) == booster(2)
    assert BoosterTurns().combined(b"", [data]) == b""


def test_splits_by_categories_are_taken() -> None:
    changed = json.loads(booster(1))
    tree(split_type=[1, 0, 0], **CATEGORIES)(changed["learner"]["gradient_booster"]["model"])
    assert not BoosterBagging().objection(json.dumps(changed).encode())


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("num_class", "1000000000", "decimal"),
        ("num_class", "100000000", "100000000 classes or targets and 1 trees"),
        ("num_target", "2", "2 classes or targets"),
        ("num_feature", "0", "no features"),
        ("base_score", "[]", "base_score"),
    ],
)
def test_what_a_booster_says_of_itself_is_what_it_has(name: str, value: str, why: str) -> None:
    changed = json.loads(booster(1))
    changed["learner"]["learner_model_param"][name] = value
    assert why in BoosterBagging().objection(json.dumps(changed).encode())


def test_bytes_that_readers_read_in_two_ways_are_no_booster() -> None:
    twice = booster(1).replace(b'"left_children":[', b'"left_children":[9,-1,-1],"left_children":[')
    assert json.loads(twice) == json.loads(booster(1))  # Python's reader takes the last, XGBoost's the first
    assert "a name twice" in BoosterBagging().objection(twice)
    assert BoosterBagging().objection(b" " + booster(1))


def test_brackets_are_counted_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = b'{"a":[' + b"[]," * 100_000 + b"[]]}"

    def reading(*_: object, **__: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("fedvm.protocol.aggregators.booster_form.parse_json", reading)
    assert "made of brackets" in BoosterBagging().objection(bomb)


def test_an_update_of_another_shape_than_the_model_adds_nothing() -> None:
    model, others = booster(1), []
    for path, value in (
        (("objective", "name"), "reg:squarederror"),
        (("learner_model_param", "num_target"), "1"),
    ):
        changed = json.loads(booster(2))
        changed["learner"][path[0]][path[1]] = value
        others.append(json.dumps(changed).encode())
    wide = json.loads(booster(3))
    wide["learner"]["learner_model_param"]["num_feature"] = "5"
    wide["learner"]["gradient_booster"]["model"]["trees"][0]["tree_param"]["num_feature"] = "5"
    others.append(json.dumps(wide).encode())
    assert not any(BoosterBagging().objection(one) for one in others)
    assert [BoosterBagging().combined(model, [one]) != model for one in others] == [False, True, False]


def test_of_bytes_that_are_too_many_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_BYTES == 1 << 26
    monkeypatch.setattr(boosters, "MOST_BYTES", len(booster(1)) - 1)
    assert BoosterBagging().combined(b"", [booster(1)]) == BoosterTurns().combined(b"", [booster(1)]) == b""
    assert BoosterBagging().combined(booster(1), []) == booster(1)


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "reg:squarederror", "num_parallel_tree": 3, "subsample": 0.5},
        {"grow_policy": "lossguide", "max_leaves": 5},
        {"tree_method": "exact", "gamma": 5, "max_depth": 6},
        {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]},
        {"objective": "binary:logistic", "gamma": 1e9},
    ],
)
def test_whatever_xgboost_trains_is_a_booster(params: dict[str, Any]) -> None:
    x = np.random.default_rng(5).normal(size=(200, 4))
    data = xgboost.DMatrix(
        x, label=np.arange(200) % 3 if "num_class" in params else (x[:, 0] > x[:, 1]) * 1.0
    )
    trained = xgboost.train({"nthread": 1, **params}, data, num_boost_round=3)
    assert (
        read_booster(bytes(trained.save_raw("json"))).trees == trained.trees_to_dataframe()["Tree"].max() + 1
    )


def test_nodes_that_were_pruned_away_are_no_fault() -> None:
    x = np.random.default_rng(5).normal(size=(200, 4))
    data = xgboost.DMatrix(x, label=x[:, 0] * x[:, 1])
    grown = xgboost.train({"nthread": 1, "tree_method": "exact"}, data, 2)
    how = {"nthread": 1, "process_type": "update", "updater": "prune", "gamma": 3.0}
    pruned = read_booster(bytes(xgboost.train(how, data, 2, xgb_model=grown).save_raw("json")))
    assert any(int(one["tree_param"]["num_deleted"]) for one in pruned.inside["trees"])


def test_in_turns_the_model_is_the_members() -> None:
    assert BoosterTurns().combined(booster(1), [booster(2)]) == booster(2)


def test_identifiers_name_the_rules() -> None:
    for rule in (BoosterBagging(), BoosterTurns()):
        assert aggregator_named(rule.identifier) == rule and rule.is_audit_only and rule.over_bytes
