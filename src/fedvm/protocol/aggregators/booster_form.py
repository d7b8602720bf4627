"""What bytes are a booster of trees that a federation takes: JSON as XGBoost saves it, in which nothing leads astray.

XGBoost believes what it loads. A child or a feature that does not exist, a node that is its own descendant or a list of
another length makes it read and write memory that is not its own, or never end, at every member that is sent the model.
So all that it would follow is looked at here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from fedvm.jsontext import parse_json
from fedvm.protocol.errors import EncodingError

_SPARE_BRACKETS: Final = 64
_BYTES_A_BRACKET: Final = 16
_LARGEST_FLOAT: Final = 3.4028234663852886e38
_BASE_SCORE: Final = re.compile(r"\[?[0-9.eE+-]+(,[0-9.eE+-]+)*\]?")
_FLOATS: Final = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
_MOST_CATEGORY: Final = 1 << 16
_ROOTS_PARENT: Final = (1 << 31) - 1


@dataclass(frozen=True)
class Booster:
    """A booster as JSON holds it. shape: what all that are joined must agree on: features, classes, targets, objective.
    trees, parallel: how many it has, and how many belong to one round and class."""

    learner: dict[str, Any]
    whole: dict[str, Any]
    shape: tuple[int, int, int, str]
    trees: int
    parallel: int

    @property
    def inside(self) -> dict[str, Any]:
        """What holds its trees."""
        inside: dict[str, Any] = self.learner["gradient_booster"]["model"]
        return inside


def read_booster(data: bytes) -> Booster:
    """The booster that bytes are. Raises EncodingError, which says what is wrong with them."""
    try:
        return _formed(_parsed(data))
    except KeyError as error:
        raise EncodingError(f"no booster of trees in XGBoost's JSON: {error} is missing") from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise EncodingError(f"no booster of trees in XGBoost's JSON: {error}") from error


def _parsed(data: bytes) -> Any:
    """JSON that every reader reads alike: no name twice in an object, no number that is none."""
    if not data.startswith(b'{"'):
        raise ValueError('it does not begin with {"')
    if data.count(b"[") + data.count(b"{") > _SPARE_BRACKETS + len(data) // _BYTES_A_BRACKET:
        raise ValueError("it is made of brackets")  # each would be an object in memory
    text = data.decode("utf-8")
    parse_json(text)  # not nested deeper than the stack bears
    value = json.loads(text, object_pairs_hook=_once)
    json.dumps(value, allow_nan=False)
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("an object has a name twice")
    return named


def _formed(whole: Any) -> Booster:
    learner = whole["learner"]
    stated, inside = learner["learner_model_param"], learner["gradient_booster"]["model"]
    features, classes = _decimal(stated["num_feature"]), _decimal(stated["num_class"])
    targets, objective = _decimal(stated.get("num_target", "1")), learner["objective"]["name"]
    _require(learner["gradient_booster"].get("name") == "gbtree", "its booster is not gbtree")
    _require(isinstance(objective, str), "its objective has no name")
    start = stated["base_score"]
    _require(isinstance(start, str) and _BASE_SCORE.fullmatch(start) is not None, "base_score is no number")
    counts = inside["gbtree_model_param"]
    trees, parallel = _decimal(counts["num_trees"]), _decimal(counts["num_parallel_tree"])
    groups = max(classes, targets, 1)
    _require(1 <= parallel <= trees, f"it has {trees} trees, {parallel} a round")
    _require(groups <= trees, f"it has {groups} classes or targets and {trees} trees")
    _require(features >= 1, "it has no features")
    _ints("tree_info", inside["tree_info"], trees, 0, groups - 1)
    starts = inside["iteration_indptr"]
    _ints("iteration_indptr", starts, len(starts), 0, trees)
    _require(
        len(starts) >= 2 and starts[0] == 0 and starts[-1] == trees and starts == sorted(starts),
        "iteration_indptr does not go from 0 to num_trees",
    )
    _require(not any((inside.get("cats") or {}).values()), "it has a table of categories of its own")
    held = inside["trees"]
    _require(isinstance(held, list) and len(held) == trees, f"it does not have {trees} trees")
    for position, tree in enumerate(held):
        _check_tree(position, tree, features)
    return Booster(learner, whole, (features, classes, targets, objective), trees, parallel)


def _check_tree(position: int, tree: dict[str, Any], features: int) -> None:
    stated, last = tree["tree_param"], _ROOTS_PARENT
    nodes = _decimal(stated["num_nodes"])
    _require(nodes >= 1, f"tree {position} has no nodes")
    _require(type(tree["id"]) is int and tree["id"] == position, f"tree {position} has another id")
    _require(
        _decimal(stated["num_feature"]) == features, f"tree {position} has other features than the booster"
    )
    _require(_decimal(stated["size_leaf_vector"]) <= 1, f"tree {position} has vectors as leaves")
    for name in _FLOATS:
        _floats(name, tree[name], nodes)
    left, right, parents = tree["left_children"], tree["right_children"], tree["parents"]
    for name, values in (("left_children", left), ("right_children", right)):
        _ints(name, values, nodes, -1, nodes - 1)
    _ints("parents", parents, nodes, 0, last)
    _ints("default_left", tree["default_left"], nodes, 0, 1)
    _ints("split_type", tree["split_type"], nodes, 0, 1)
    _ints("split_indices", tree["split_indices"], nodes, 0, last)
    deleted = nodes - _check_branches(position, tree, features)
    _require(_decimal(stated["num_deleted"]) == deleted, f"tree {position} has nodes that nothing leads to")
    _check_categories(position, tree, nodes)


def _check_branches(position: int, tree: dict[str, Any], features: int) -> int:
    """Follow a tree from its root; how many nodes it has. What nothing leads to must have been deleted."""
    left, right, parents = tree["left_children"], tree["right_children"], tree["parents"]
    indices, last = tree["split_indices"], _ROOTS_PARENT
    _require(parents[0] == last, f"tree {position}: its root has a parent")
    reached, waiting = 0, [0]
    met = bytearray(len(left))
    while waiting:
        node = waiting.pop()
        _require(not met[node], f"tree {position}: two branches lead to node {node}")
        met[node], reached = 1, reached + 1
        children = (left[node], right[node])
        if children == (-1, -1):
            continue
        _require(-1 not in children, f"tree {position}: node {node} has one child")
        _require(indices[node] < features, f"tree {position}: node {node} asks for feature {indices[node]}")
        _require(
            all(parents[child] == node for child in children), f"tree {position}: a child has another parent"
        )
        waiting += children
    rest = (node for node, one in enumerate(met) if not one)
    _require(
        all(left[node] == right[node] == -1 and indices[node] == last for node in rest),
        f"tree {position} has branches that nothing leads to",
    )
    return reached


def _check_categories(position: int, tree: dict[str, Any], nodes: int) -> None:
    """Categories of each split by them: a part of one list, one after another."""
    kinds, where = tree["split_type"], tree["categories_nodes"]
    begins, sizes, categories = (tree[f"categories{part}"] for part in ("_segments", "_sizes", ""))
    _ints("categories_nodes", where, len(where), 0, nodes - 1)
    _ints("categories_segments", begins, len(where), 0, len(categories))
    _ints("categories_sizes", sizes, len(where), 1, len(categories))
    _ints("categories", categories, len(categories), 0, _MOST_CATEGORY - 1)
    _require(
        where == [node for node, kind in enumerate(kinds) if kind]
        and [*begins, len(categories)] == list(accumulate(sizes, initial=0)),
        f"tree {position}: its splits by categories do not have them",
    )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _ints(name: str, values: Any, count: int, least: int, most: int) -> None:
    _require(
        isinstance(values, list)
        and len(values) == count
        and all(type(one) is int and least <= one <= most for one in values),
        f"{name} is no list of {count} integers from {least} to {most}",
    )


def _floats(name: str, values: Any, count: int) -> None:
    _require(
        isinstance(values, list)
        and len(values) == count
        and all(type(one) is float and abs(one) <= _LARGEST_FLOAT for one in values),
        f"{name} is no list of {count} floats",
    )


def _decimal(text: object) -> int:
    """A number of at most nine digits, as XGBoost writes it. Raises ValueError for anything else."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError("what should be a decimal number is none")
    return int(text)
