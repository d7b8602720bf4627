"""The models of ai.onnx.ml, and what ends them."""

from __future__ import annotations

import numpy as np

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular import linear, vectors
from fedvm.compiler.frontend.tabular.affine import ROW, Affine
from fedvm.compiler.frontend.tabular.deferred import Place
from fedvm.compiler.frontend.tabular.ensemble import Ensemble, Votes, ensemble_of
from fedvm.compiler.frontend.tabular.node import Node, Rule, Value


def _linear_classifier(node: Node) -> list[Value]:
    x = node.affine()
    given = dict(node.given)
    scores = linear.linear_classifier(x, given)
    one_row = scores.size == 2 and len(given["coefficients"]) == x.size
    if one_row and given.get("post_transform", "NONE") != "LOGISTIC":
        node.follower.approximate = True  # runtimes differ in the scores that they make of one decision
        scores = linear.linear_classifier(x, given | {"post_transform": "NONE"})
    return [node.value(), scores]


def _linear_regressor(node: Node) -> Value:
    return linear.linear_regressor(node.affine(), node.given)


def _normalizer(node: Node) -> Value:
    value = node.value()
    norm = str(node.given.get("norm", "MAX"))
    # On positive scores it moves no score past another.
    if isinstance(value, Affine) and value.head in ("softmax", "sigmoid") and norm in ("L1", "MAX"):
        return linear.normalised(value, norm)
    if isinstance(value, Votes) and value.positive:
        return value
    return vectors.over_norm(node.follower, node.affine(), norm)


def _svm_regressor(node: Node) -> Value:
    given = node.given
    weight, rho = linear.support_vector_sum(given)
    return _decisions(node, weight).scaled(1.0, rho)


def _decisions(node: Node, coefficients: np.ndarray) -> Affine:
    """Sums of the kernel of the row with each support vector."""
    x, given = node.affine(), node.given
    found = linear.support_vectors(x, given)
    if found is None:  # weights instead of vectors
        return x.times(coefficients)
    return vectors.decisions(node.follower, x, found, coefficients, given)


def _svm_classifier(node: Node) -> list[Value]:
    matrix, rho, classes = linear.support_vector_pairs(node.given)
    pairs = _decisions(node, matrix).scaled(1.0, rho)
    f = node.follower
    f.approximate = True  # the file's own scores of two classes have the other sign
    if classes == 2:
        return [node.value(), linear.pair_scores(pairs, node.given)]
    half = pairs.scaled(linear.STEEP / 2, 0.5)
    clipped = f.add("Clip", [f.realised(half), f.constant(0.0), f.constant(1.0)])
    matrix, bias = linear.pair_votes(classes)
    return [node.value(), Affine.of_root(clipped, pairs.size).times(matrix, bias)]


def _trees(node: Node) -> list[Value]:
    x = node.affine()
    if x.root != ROW:
        raise UnsupportedOperator("trees over the outputs of another layer have no kernel")
    found: Ensemble = ensemble_of(node.proto.op_type, node.given)
    votes = Votes.of(found, x, node.proto.input[0])
    return [votes] if node.proto.op_type in ("TreeEnsembleRegressor", "TreeEnsemble") else [votes, votes]


def _arg_max(node: Node) -> Value:
    """The position of the largest column, the first of equals."""
    value = node.value()
    if node.given.get("axis", 0) not in (1, -1) or node.given.get("select_last_index", 0):
        raise UnsupportedOperator("only the first largest of the columns has a kernel")
    if isinstance(value, Votes):
        return value.mapped(lambda scores: scores.argmax(axis=-1, keepdims=True).astype(np.float64))
    return Place(node.affine())


MODELS: dict[str, Rule] = {
    "ArgMax": _arg_max,
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "SVMClassifier": _svm_classifier,
    "SVMRegressor": _svm_regressor,
    "TreeEnsemble": _trees,
    "TreeEnsembleClassifier": _trees,
    "TreeEnsembleRegressor": _trees,
}
