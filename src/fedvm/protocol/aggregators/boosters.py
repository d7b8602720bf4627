"""Federated XGBoost over the bytes of boosters as XGBoost saves them in JSON (`save_raw("json")`): bagging, and turns.

Bagging: Ma et al. 2023, "Gradient-less Federated Gradient Boosting Trees with Learnable Learning Rates",
arXiv:2304.07537. Both give the bytes that Flower's `FedXgbBagging` and `FedXgbCyclic` give for the same replies in the
same order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedvm.jsontext import parse_json
from fedvm.protocol.aggregators.byte_rule import ByteRule


@dataclass(frozen=True)
class BoosterBagging(ByteRule):
    """Each update's trees of one round are appended to the model, in the order of acceptance; the first is taken whole
    where the model is empty.

    The result is JSON as `docs/protocol.md`, section 7, says. An update that is no booster of this form adds nothing.
    """

    title = "FedXgbBagging"
    kind = 10

    def combined(self, base: bytes, updates: Sequence[bytes]) -> bytes:
        """The booster with the updates' trees."""
        boosters = [(data, read) for data in updates if (read := _booster(data)) is not None]
        if not base and boosters:
            base = boosters.pop(0)[0]
        model = _booster(base)
        if model is None or not boosters:
            return base
        for _, update in boosters:
            _append(model, update)
        return json.dumps(model).encode()


@dataclass(frozen=True)
class BoosterTurns(ByteRule):
    """The model is the booster of the member whose turn it was: of the last update that is one."""

    title = "FedXgbCyclic"
    kind = 11
    takes_turns = True

    def combined(self, base: bytes, updates: Sequence[bytes]) -> bytes:
        """The last booster; the base if there is none."""
        boosters = [data for data in updates if _booster(data) is not None]
        return boosters[-1] if boosters else base


def _append(model: dict[str, Any], update: dict[str, Any]) -> None:
    """Append the update's first `num_parallel_tree` trees."""
    inner, theirs = _inside(model), _inside(update)
    count = int(theirs["gbtree_model_param"]["num_parallel_tree"])
    held = int(inner["gbtree_model_param"]["num_trees"])
    inner["gbtree_model_param"]["num_trees"] = str(held + count)
    inner["iteration_indptr"].append(inner["iteration_indptr"][-1] + count)
    for position, tree in enumerate(theirs["trees"][:count]):
        inner["trees"].append({**tree, "id": held + position})
        inner["tree_info"].append(0)


def _inside(booster: dict[str, Any]) -> dict[str, Any]:
    inside: dict[str, Any] = booster["learner"]["gradient_booster"]["model"]
    return inside


def _booster(data: bytes) -> dict[str, Any] | None:
    """A booster of trees, read from JSON; None for anything else."""
    try:
        booster = parse_json(data.decode("utf-8"))
        json.dumps(booster, allow_nan=False)
        inner = _inside(booster)
        stated = inner["gbtree_model_param"]
        trees, parallel = _decimal(stated["num_trees"]), _decimal(stated["num_parallel_tree"])
        lists = [inner[name] for name in ("trees", "tree_info", "iteration_indptr")]
        starts = inner["iteration_indptr"]
        formed = (
            all(isinstance(one, list) for one in lists)
            and len(inner["trees"]) == len(inner["tree_info"]) == trees
            and 1 <= parallel <= trees
            and all(isinstance(tree, dict) for tree in inner["trees"])
            and bool(starts)
            and all(type(one) is int and 0 <= one <= trees for one in starts)
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    return booster if formed else None


def _decimal(text: object) -> int:
    """A number of at most nine digits, as XGBoost writes it. Raises ValueError for anything else."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError("no decimal number")
    return int(text)
