"""Federated XGBoost over the bytes of boosters as XGBoost saves them in JSON (`save_raw("json")`): bagging, and turns.

Bagging: Ma et al. 2023, "Gradient-less Federated Gradient Boosting Trees with Learnable Learning Rates",
arXiv:2304.07537. Both give the bytes that Flower's `FedXgbBagging` and `FedXgbCyclic` give for the same replies in the
same order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fedvm.protocol.aggregators.booster_form import Booster, read_booster
from fedvm.protocol.aggregators.byte_rule import MOST_BYTES, ByteRule
from fedvm.protocol.errors import EncodingError


class _BoosterRule(ByteRule):
    """Bytes that are boosters."""

    def objection(self, data: bytes) -> str:
        """Why bytes are no booster of trees; empty if they are one."""
        try:
            read_booster(data)
        except EncodingError as error:
            return str(error)
        return ""


@dataclass(frozen=True)
class BoosterBagging(_BoosterRule):
    """Each update's trees of one round are appended to the model, in the order of acceptance; the first is taken whole
    where the model is empty.

    The result is JSON as `docs/protocol.md`, section 7, says. An update that is no booster of this form adds nothing,
    nor does one of other features, classes, targets or another objective than the model.
    """

    title = "FedXgbBagging"
    kind = 10

    def combined(self, base: bytes, updates: Iterable[bytes]) -> bytes:
        """The booster with the updates' trees."""
        model, gathered = _read(base), False
        if base and model is None:
            return base
        for data in updates:
            update = _update(data)
            if update is None:
                continue
            if model is None:
                base, model = data, update
            elif update.shape == model.shape:
                model, gathered = _appended(model, update), True
        return json.dumps(model.whole).encode() if model is not None and gathered else base


@dataclass(frozen=True)
class BoosterTurns(_BoosterRule):
    """The model is the booster of the member whose turn it was: of the last update that is one."""

    title = "FedXgbCyclic"
    kind = 11
    takes_turns = True

    def combined(self, base: bytes, updates: Iterable[bytes]) -> bytes:
        """The last booster; the base if there is none."""
        for data in updates:
            if _update(data) is not None:
                base = data
        return base


def _appended(model: Booster, update: Booster) -> Booster:
    """With the update's first `num_parallel_tree` trees."""
    inner, count, held = model.inside, update.parallel, model.trees
    inner["gbtree_model_param"]["num_trees"] = str(held + count)
    inner["iteration_indptr"].append(inner["iteration_indptr"][-1] + count)
    for position, tree in enumerate(update.inside["trees"][:count]):
        inner["trees"].append({**tree, "id": held + position})
        inner["tree_info"].append(0)
    return replace(model, trees=held + count)


def _update(data: bytes) -> Booster | None:
    return _read(data) if len(data) <= MOST_BYTES else None


def _read(data: bytes) -> Booster | None:
    """A booster of trees; None for anything else."""
    try:
        return read_booster(data)
    except EncodingError:
        return None
