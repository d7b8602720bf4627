"""Whether an ONNX file's ensemble of trees is a booster's, tree by tree: what an audit asks of a federation over bytes.

The booster is JSON as XGBoost saves it; the file has a TreeEnsembleClassifier or TreeEnsembleRegressor of ai.onnx.ml.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx

from fedvm.protocol.aggregators.booster_form import read_booster

_ENSEMBLES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_CLOSE = 1e-5
Step = tuple[Any, ...]


def same_trees(file: bytes, booster: bytes) -> bool:
    """Whether they have the same trees in the same order, each for the same class, and the same score without trees.

    Raises:
        ValueError: one of them cannot be read.
    """
    try:
        node = _ensemble(file)
        stated = read_booster(booster).learner
        ours, theirs = list(_of_booster(stated)), list(_of_onnx(node))
        return ours == theirs and _same_start(stated, node)
    except (KeyError, IndexError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not an ensemble of trees: {type(error).__name__} {error}") from error


def _ensemble(file: bytes) -> dict[str, Any]:
    """The attributes of the file's only ensemble. Raises ValueError for another file."""
    found = [node for node in onnx.load_model_from_string(file).graph.node if node.op_type in _ENSEMBLES]
    if len(found) != 1:
        raise ValueError(f"the ONNX file has {len(found)} ensembles of trees, a booster is one")
    return {one.name: onnx.helper.get_attribute_value(one) for one in found[0].attribute}


def _of_booster(learner: dict[str, Any]) -> Iterator[tuple[Step, ...]]:
    model = learner["gradient_booster"]["model"]
    for tree, kind in zip(model["trees"], model["tree_info"], strict=True):

        def look(node: int, tree: dict[str, Any] = tree, kind: int = kind) -> tuple[Step, tuple[int, ...]]:
            left, right = int(tree["left_children"][node]), int(tree["right_children"][node])
            value = np.float32(tree["split_conditions"][node])
            if left < 0:
                return ("leaf", int(kind), value), ()
            missing = bool(tree["default_left"][node])
            return ("branch", int(tree["split_indices"][node]), value, missing), (left, right)

        yield _walked(look)


def _of_onnx(node: dict[str, Any]) -> Iterator[tuple[Step, ...]]:
    part = "class" if "class_ids" in node else "target"
    names = [node[f"{part}_{name}"] for name in ("treeids", "nodeids", "ids", "weights")]
    leaves = {(tree, at): (kind, weight) for tree, at, kind, weight in zip(*names, strict=True)}
    fields = ("treeids", "nodeids", "modes", "featureids", "values", "truenodeids", "falsenodeids")
    columns = [node[f"nodes_{name}"] for name in fields]
    missing = node.get("nodes_missing_value_tracks_true") or [0] * len(columns[0])
    nodes = {(one[0], one[1]): (*one[2:], tracks) for *one, tracks in zip(*columns, missing, strict=True)}
    for tree in sorted({tree for tree, _ in nodes}):

        def look(at: int, tree: int = tree) -> tuple[Step, tuple[int, ...]]:
            mode, feature, value, below, above, tracks = nodes[tree, at]
            if mode == b"LEAF":
                kind, weight = leaves[tree, at]
                return ("leaf", kind, np.float32(weight)), ()
            if mode != b"BRANCH_LT":
                raise ValueError(f"a node branches by {mode.decode()}, XGBoost's by BRANCH_LT")
            return ("branch", feature, np.float32(value), bool(tracks)), (below, above)

        yield _walked(look)


def _walked(look: Callable[[int], tuple[Step, tuple[int, ...]]]) -> tuple[Step, ...]:
    """A tree from its root, each node before its children. Raises ValueError if it is none."""
    steps, waiting, seen = list[Step](), [0], set[int]()
    while waiting:
        if (at := waiting.pop()) in seen:
            raise ValueError("a node has two parents: it is no tree")
        seen.add(at)
        step, children = look(at)
        steps.append(step)
        waiting += reversed(children)
    return tuple(steps)


def _same_start(learner: dict[str, Any], node: dict[str, Any]) -> bool:
    """Whether the scores begin at the booster's base score, which is a probability where the objective is logistic."""
    stated = [float(one) for one in learner["learner_model_param"]["base_score"].strip("[]").split(",")]
    if learner["objective"]["name"].endswith("logistic"):
        stated = [math.log(one / (1 - one)) for one in stated]
    given = list(node.get("base_values") or [0.0] * len(stated))
    return len(given) == len(stated) and bool(np.allclose(given, stated, rtol=_CLOSE, atol=_CLOSE))
