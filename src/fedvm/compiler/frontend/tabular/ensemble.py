"""Ensembles of decision trees, read from the attributes of ai.onnx.ml (operator schemas, versions 1 to 5).

All comparisons become two forms: is the number at most the threshold, or equal to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import Affine, HeadKind
from fedvm.compiler.graph import FloatArray

MAX_TREE_NODES = 1 << 20
MAX_DEPTH = 200

Test: TypeAlias = Literal["<=", "=="]
_MODES = {0: "BRANCH_LEQ", 1: "BRANCH_LT", 2: "BRANCH_GTE", 3: "BRANCH_GT", 4: "BRANCH_EQ", 5: "BRANCH_NEQ"}


@dataclass(frozen=True)
class Branch:
    """An inner node. feature: position in the tree's input; yes, no: positions of the nodes that follow in the tree;
    missing_yes: where a missing value goes."""

    feature: int
    test: Test
    threshold: float
    yes: int
    no: int
    missing_yes: bool = False


@dataclass(frozen=True, eq=False)
class Leaf:
    """values: `[outputs]`."""

    values: FloatArray


Tree: TypeAlias = tuple[Branch | Leaf, ...]
"""The nodes of a tree, its root first; every branch stands before what follows it."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trees whose leaves' values are added up, and a base `[outputs]` beside them. transform: what the file makes of
    the sums; positive: no value is negative; pair: one output stands for two classes, a share of the second if it is
    positive, else a score."""

    trees: tuple[Tree, ...]
    base: FloatArray
    transform: str
    positive: bool
    pair: bool = False

    @property
    def outputs(self) -> int:
        return len(self.base)

    def run(self, x: NDArray[Any]) -> FloatArray:
        """The sums `[N, outputs]` of inputs `[N, features]`, in float64."""
        result = np.tile(self.base, (len(x), 1))
        for tree in self.trees:
            result += leaf_values(tree)[leaves_of(tree, x)]
        return result


@dataclass(frozen=True, eq=False)
class Votes:
    """`matrix [K, outputs] · sums + bias [K]` of an ensemble. source: the value that the trees read, by name and as a
    function of the columns."""

    ensemble: Ensemble
    source: str
    columns: Affine
    matrix: FloatArray
    bias: FloatArray
    head: HeadKind = ""

    @classmethod
    def of(cls, ensemble: Ensemble, columns: Affine, source: str) -> Votes:
        """What the operator gives, with scores of which the largest names the class."""
        matrix, bias = np.eye(ensemble.outputs), np.zeros(ensemble.outputs)
        if ensemble.pair:
            # one number s: shares 1 − s and s, or scores −s and s
            matrix = np.array([[-1.0], [1.0]])
            bias = np.array([1.0, 0.0]) if ensemble.positive else np.zeros(2)
        votes = cls(ensemble, source, columns, matrix, bias)
        if ensemble.transform in ("SOFTMAX", "SOFTMAX_ZERO"):
            return votes.with_head("softmax")
        if ensemble.transform == "LOGISTIC":
            if ensemble.pair:
                return replace(votes, matrix=np.array([[-0.5], [0.5]]), bias=np.zeros(2), head="softmax")
            return votes.with_head("sigmoid")
        return votes

    @property
    def size(self) -> int:
        return len(self.bias)

    @property
    def positive(self) -> bool:
        """Whether dividing all by their sum keeps their order."""
        return bool(self.head) or self.ensemble.positive

    @property
    def whole(self) -> bool:
        """Whether the sums of one tree are whole numbers, such as the position of a class."""
        values = self._leaf_scores()
        return values is not None and bool((values == np.rint(values)).all())

    @property
    def balanced(self) -> bool:
        """Whether the scores of all outputs add up to zero, whichever leaves are reached."""
        ones = np.ones(self.size) @ self.matrix
        total = float(self.bias.sum() + ones @ self.ensemble.base)
        size = float(np.abs(self.matrix).max(initial=0)) or 1.0
        for tree in self.ensemble.trees:
            sums = [float(ones @ node.values) for node in tree if isinstance(node, Leaf)]
            if max(sums) - min(sums) > 1e-6 * size:
                return False
            total += sums[0]
        return abs(total) <= 1e-6 * size

    def mapped(self, of: Callable[[FloatArray], FloatArray]) -> Votes:
        """A function of the scores of one tree: of those of each of its leaves. of: `[N, K]` to `[N, O]`.

        Raises UnsupportedOperator for the sum of several trees.
        """
        if len(self.ensemble.trees) != 1 or self.head:
            raise UnsupportedOperator("a function of the sum of several trees has no kernel")
        scores = self._leaf_scores()
        assert scores is not None
        values = iter(of(scores))
        (tree,) = self.ensemble.trees
        made = tuple(Leaf(next(values)) if isinstance(node, Leaf) else node for node in tree)
        size = next(len(node.values) for node in made if isinstance(node, Leaf))
        positive = all(bool((node.values >= 0).all()) for node in made if isinstance(node, Leaf))
        merged = Ensemble((made,), np.zeros(size), "NONE", positive)
        return replace(self, ensemble=merged, matrix=np.eye(size), bias=np.zeros(size))

    def _leaf_scores(self) -> FloatArray | None:
        """The scores of every leaf `[leaves, K]` of the only tree, None if there are several."""
        if len(self.ensemble.trees) != 1:
            return None
        leaves = [node.values for node in self.ensemble.trees[0] if isinstance(node, Leaf)]
        found: FloatArray = (np.array(leaves) + self.ensemble.base) @ self.matrix.T + self.bias
        return found

    def chosen(self, positions: NDArray[Any]) -> Votes:
        """Some of the scores."""
        if self.head:
            raise UnsupportedOperator(f"it follows the {self.head}, which ends the model")
        return replace(self, matrix=self.matrix[positions], bias=self.bias[positions])

    def scaled(self, scale: Any, offset: Any) -> Votes:
        """`scale · self + offset`; each a number or `[K]`."""
        if np.all(np.asarray(scale) == 1) and not np.any(offset):
            return self
        if self.head:
            raise UnsupportedOperator(f"it follows the {self.head}, which ends the model")
        scale, offset = (np.broadcast_to(np.asarray(v, np.float64), (self.size,)) for v in (scale, offset))
        return replace(self, matrix=self.matrix * scale[:, None], bias=self.bias * scale + offset)

    def plus(self, other: Votes) -> Votes:
        """The sum of both, as one ensemble. Raises UnsupportedOperator unless both read the same values."""
        if self.source != other.source or self.size != other.size or self.head or other.head:
            raise UnsupportedOperator(
                "trees over different features, or after a function of their sums, cannot be added"
            )
        parts = [(v.ensemble, v.matrix) for v in (self, other)]
        trees = tuple(_folded(tree, matrix) for one, matrix in parts for tree in one.trees)
        base = np.sum([matrix @ one.base for one, matrix in parts], axis=0)
        positive = self.ensemble.positive and other.ensemble.positive
        merged = Ensemble(trees, base, "NONE", positive)
        return replace(self, ensemble=merged, matrix=np.eye(self.size), bias=self.bias + other.bias)

    def joined(self, others: list[Votes]) -> Votes:
        """The scores of this and the others, one after the other. Raises UnsupportedOperator as `plus` does."""
        everything = [self, *others]
        size, start = sum(one.size for one in everything), 0
        total: Votes | None = None
        for one in everything:
            if one.head:
                raise UnsupportedOperator(f"it follows the {one.head}, which ends the model")
            places = np.eye(size)[:, start : start + one.size]
            start += one.size
            wide = replace(one, matrix=places @ one.matrix, bias=places @ one.bias)
            total = wide if total is None else total.plus(wide)
        assert total is not None
        return total

    def with_head(self, head: HeadKind) -> Votes:
        """The same scores, with an increasing function of them left out."""
        return replace(self, head=head)


def leaf_values(tree: Tree) -> FloatArray:
    """The values of the leaves by position in the tree, `[nodes, outputs]`, zeros for branches."""
    outputs = next(len(node.values) for node in tree if isinstance(node, Leaf))
    table = np.zeros((len(tree), outputs))
    for position, node in enumerate(tree):
        if isinstance(node, Leaf):
            table[position] = node.values
    return table


def leaves_of(tree: Tree, x: NDArray[Any]) -> NDArray[np.int64]:
    """The leaf that each input `[N, features]` reaches, `[N]`."""
    at = np.zeros(len(x), np.int64)
    for position, node in enumerate(tree):
        if isinstance(node, Branch):
            here = np.flatnonzero(at == position)
            values = x[here, node.feature]
            hit = values <= node.threshold if node.test == "<=" else values == node.threshold
            hit = np.where(np.isnan(values.astype(np.float64)), node.missing_yes, hit)
            at[here] = np.where(hit, node.yes, node.no)
    return at


def ensemble_of(operator: str, given: dict[str, Any]) -> Ensemble:
    """The trees of a node. Raises ModelError for attributes that contradict each other, UnsupportedOperator for forms
    that have no kernel."""
    if operator == "TreeEnsemble":
        return _newer(given)
    classifier = operator == "TreeEnsembleClassifier"
    names = "class" if classifier else "target"
    transform = str(given.get("post_transform", "NONE"))
    if not classifier and transform != "NONE":
        raise UnsupportedOperator(f"post_transform {transform} of a regressor has no kernel")
    classes = given.get("classlabels_strings") or given.get("classlabels_int64s") or []
    count = len(classes) if classifier else int(given.get("n_targets", 1))
    ids, treeids, nodeids = (
        np.asarray(given[f"{names}_{part}"], np.int64) for part in ("ids", "treeids", "nodeids")
    )
    weights = _floats(given, f"{names}_weights")
    pair = classifier and count == 2 and len(set(ids.tolist())) == 1
    positive = bool((weights >= 0).all()) and transform == "NONE"
    if pair:
        ids, count = np.zeros_like(ids), 1
    if not len(ids) or ids.min() < 0 or ids.max() >= count:
        raise ModelError(f"the leaves name the output {ids.max(initial=0)} of {count}")
    base = _base(given, count, pair)
    aggregate = str(given.get("aggregate_function", "SUM"))
    leaves: dict[tuple[int, int], FloatArray] = {}
    for tree, node, output, weight in zip(
        treeids.tolist(), nodeids.tolist(), ids.tolist(), weights, strict=True
    ):
        leaves.setdefault((tree, node), np.zeros(count))[output] += weight
    trees = _trees(given, leaves, count)
    if aggregate == "AVERAGE":
        trees = tuple(_divided(tree, len(trees)) for tree in trees)
    elif aggregate != "SUM":
        raise UnsupportedOperator(f"the aggregate function {aggregate} has no kernel; SUM and AVERAGE have")
    return Ensemble(trees, base, transform, positive, pair)


def _floats(given: dict[str, Any], name: str) -> FloatArray:
    """An attribute of numbers, which files in double precision give as a tensor."""
    from onnx import numpy_helper

    tensor = given.get(f"{name}_as_tensor")
    if tensor is not None and tensor.ByteSize():
        return np.asarray(numpy_helper.to_array(tensor), np.float64)
    return np.asarray(given.get(name, []), np.float64)


def _base(given: dict[str, Any], count: int, pair: bool) -> FloatArray:
    base = _floats(given, "base_values")
    if not len(base):
        return np.zeros(count)
    if pair and len(base) == 2:
        return base[1:] if base[1] else base[:1]
    if len(base) != count:
        raise ModelError(f"there are {len(base)} base values for {count} outputs")
    return base


def _trees(
    given: dict[str, Any], leaves: dict[tuple[int, int], FloatArray], outputs: int
) -> tuple[Tree, ...]:
    columns = [
        given["nodes_treeids"], given["nodes_nodeids"], given["nodes_modes"], given["nodes_featureids"],
        _floats(given, "nodes_values").tolist(), given["nodes_truenodeids"], given["nodes_falsenodeids"],
    ]  # fmt: skip
    count = len(columns[0])
    missing = given.get("nodes_missing_value_tracks_true") or [0] * count
    if count > MAX_TREE_NODES:
        raise UnsupportedOperator(f"{count:,} nodes; at most {MAX_TREE_NODES:,} are read")
    if any(len(column) != count for column in (*columns, missing)):
        raise ModelError("the attributes of the trees' nodes have different lengths")
    by_tree: dict[int, dict[int, tuple[Any, ...]]] = {}
    for tree, number, *node in zip(*columns, missing, strict=True):
        by_tree.setdefault(tree, {})[number] = tuple(node)
    return tuple(
        _tree(nodes, {n: leaves[tree, n] for n in nodes if (tree, n) in leaves}, outputs)
        for tree, nodes in by_tree.items()
    )


def _tree(nodes: dict[int, tuple[Any, ...]], leaves: dict[int, FloatArray], outputs: int) -> Tree:
    """The nodes that are reached from the first one, in depth-first order."""
    made: list[Branch | Leaf] = []
    links: list[tuple[int, bool]] = []
    root = next(iter(nodes))
    stack: list[tuple[int, int, bool, int]] = [(root, -1, False, 0)]
    while stack:
        number, parent, on_yes, depth = stack.pop()
        if number not in nodes:
            raise ModelError(f"a tree names the node {number}, which it does not have")
        if depth > MAX_DEPTH or len(made) > len(nodes):
            raise UnsupportedOperator(f"a tree deeper than {MAX_DEPTH} comparisons, or one with a cycle")
        here = len(made)
        if parent >= 0:
            links.append((parent, on_yes))
            above = made[parent]
            assert isinstance(above, Branch)
            made[parent] = replace(above, yes=here) if on_yes else replace(above, no=here)
        mode, feature, value, yes, no, missing = nodes[number]
        if mode == "LEAF":
            made.append(Leaf(leaves.get(number, np.zeros(outputs))))
            continue
        branch, swapped = _branch(str(mode), int(feature), float(value), bool(missing))
        made.append(branch)
        yes, no = (no, yes) if swapped else (yes, no)
        stack += [(no, here, False, depth + 1), (yes, here, True, depth + 1)]
    return tuple(made)


def _branch(mode: str, feature: int, value: float, missing: bool) -> tuple[Branch, bool]:
    """The comparison in one of the two forms, and whether its answers are exchanged."""
    if np.isnan(value):
        raise ModelError("a threshold is NaN")
    below = float(np.nextafter(np.float32(value), np.float32(-np.inf)))
    forms: dict[str, tuple[Test, float, bool]] = {
        "BRANCH_LEQ": ("<=", value, False),
        "BRANCH_LT": ("<=", below, False),
        "BRANCH_GTE": ("<=", below, True),
        "BRANCH_GT": ("<=", value, True),
        "BRANCH_EQ": ("==", value, False),
        "BRANCH_NEQ": ("==", value, True),
    }
    if mode not in forms:
        raise UnsupportedOperator(f"comparisons of the kind {mode} have no kernel")
    test, threshold, swapped = forms[mode]
    return Branch(feature, test, threshold, -1, -1, missing != swapped), swapped


def _divided(tree: Tree, count: int) -> Tree:
    return tuple(Leaf(node.values / count) if isinstance(node, Leaf) else node for node in tree)


def _folded(tree: Tree, matrix: FloatArray) -> Tree:
    """The tree with `matrix [K, outputs]` times its leaves."""
    return tuple(Leaf(matrix @ node.values) if isinstance(node, Leaf) else node for node in tree)


def _newer(given: dict[str, Any]) -> Ensemble:
    """TreeEnsemble of version 5: leaves are apart from the nodes, and one operator serves all."""
    from onnx import numpy_helper

    splits = np.asarray(numpy_helper.to_array(given["nodes_splits"]), np.float64)
    modes = np.asarray(numpy_helper.to_array(given["nodes_modes"])).ravel().tolist()
    weights = np.asarray(numpy_helper.to_array(given["leaf_weights"]), np.float64)
    targets, count = list(given["leaf_targetids"]), int(given["n_targets"])
    if given.get("membership_values") is not None or any(mode not in _MODES for mode in modes):
        raise UnsupportedOperator("comparisons with sets of values have no kernel")
    if int(given.get("post_transform", 0)) not in (0, 1, 2, 3):
        raise UnsupportedOperator("this post_transform has no kernel")
    if int(given.get("aggregate_function", 1)) not in (0, 1):
        raise UnsupportedOperator("the aggregate function has no kernel; SUM and AVERAGE have")
    missing = list(given.get("nodes_missing_value_tracks_true") or [0] * len(modes))
    nodes: dict[int, tuple[Any, ...]] = {}
    leaf_values: dict[int, FloatArray] = {}
    first_leaf = len(modes)
    for i, mode in enumerate(modes):
        yes = int(given["nodes_truenodeids"][i]) + first_leaf * int(given["nodes_trueleafs"][i])
        no = int(given["nodes_falsenodeids"][i]) + first_leaf * int(given["nodes_falseleafs"][i])
        nodes[i] = (_MODES[mode], int(given["nodes_featureids"][i]), splits[i], yes, no, missing[i])
    for i, (target, weight) in enumerate(zip(targets, weights, strict=True)):
        value = np.zeros(count)
        value[target] = weight
        nodes[first_leaf + i] = ("LEAF", 0, 0.0, 0, 0, 0)
        leaf_values[first_leaf + i] = value
    trees = []
    for root in given["tree_roots"]:
        ordered = {root: nodes[root], **nodes}
        trees.append(_tree(ordered, leaf_values, count))
    done = tuple(trees)
    if int(given.get("aggregate_function", 1)) == 0:
        done = tuple(_divided(tree, len(done)) for tree in done)
    transform = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")[int(given.get("post_transform", 0))]
    return Ensemble(done, np.zeros(count), transform, bool((weights >= 0).all()) and transform == "NONE")
