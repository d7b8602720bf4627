"""The linear models of ai.onnx.ml as matrices, with scores of which the largest names the class (ONNX ML schemas)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import Affine, HeadKind
from fedvm.compiler.graph import FloatArray

STEEP = 4.0
"""Half votes of a pair of classes end where the support vector machine's margin is a quarter of its width."""


def linear_classifier(x: Affine, given: dict[str, Any]) -> Affine:
    """LinearClassifier: scores `[K]`."""
    bias = np.asarray(given.get("intercepts", [0.0]), np.float64)
    weight = np.asarray(given["coefficients"], np.float64).reshape(-1, x.size)
    classes = given.get("classlabels_strings") or given.get("classlabels_ints") or []
    scores = x.times(weight, bias)
    if scores.size == 1 and len(classes) == 2:
        scores = x.times(np.concatenate([-weight, weight]), np.concatenate([-bias, bias]))
    return with_transform(scores, str(given.get("post_transform", "NONE")))


def with_transform(scores: Affine, transform: str) -> Affine:
    """Scores whose softmax, where there is one, is what the file's post_transform makes of them."""
    if transform == "NONE":
        return scores
    if transform in ("SOFTMAX", "SOFTMAX_ZERO"):
        return _head(scores, "softmax")
    if transform == "LOGISTIC":
        if scores.size == 2 and _are_opposite(scores):
            # 1 / (1 + exp(−s)) of s and −s is the softmax of s/2 and −s/2
            return _head(scores.scaled(0.5, 0.0), "softmax")
        return _head(scores, "sigmoid")
    raise UnsupportedOperator(f"post_transform {transform} has no kernel; use NONE, SOFTMAX or LOGISTIC")


def linear_regressor(x: Affine, given: dict[str, Any]) -> Affine:
    """LinearRegressor: `[targets]`."""
    weight = np.asarray(given["coefficients"], np.float64).reshape(-1, x.size)
    if str(given.get("post_transform", "NONE")) != "NONE":
        raise UnsupportedOperator("post_transform of a regressor has no kernel; export it without")
    bias = np.asarray(given.get("intercepts") or np.zeros(len(weight)), np.float64)
    if len(bias) != len(weight):
        raise ModelError(f"a linear regressor has {len(bias)} intercepts for {len(weight)} targets")
    return x.times(weight, bias)


def support_vectors(x: Affine, given: dict[str, Any]) -> FloatArray | None:
    """The vectors with which the kernel compares a row, `[V, K]`: those of an SVMRegressor or an SVMClassifier; None
    for a regressor that holds its weights instead, which is linear whatever kernel it names."""
    count = int(given.get("n_supports", 0)) or sum(int(n) for n in given.get("vectors_per_class") or [])
    if not count:
        return None
    return np.asarray(given["support_vectors"], np.float64).reshape(count, x.size)


def support_vector_sum(given: dict[str, Any]) -> tuple[FloatArray, float]:
    """SVMRegressor: the coefficients `[1, V]` of its vectors, and what is added."""
    if given.get("one_class"):
        raise UnsupportedOperator("one_class gives a sign, which has no kernel; export its decision function")
    return np.asarray(given["coefficients"], np.float64).reshape(1, -1), float(given["rho"][0])


def support_vector_pairs(given: dict[str, Any]) -> tuple[FloatArray, FloatArray, int]:
    """SVMClassifier: the coefficients `[pairs, V]` of its vectors in the decisions of all pairs of classes (i, j),
    i < j, above zero for class i, what is added to these, and the number of classes (Chang and Lin, "LIBSVM: a library
    for support vector machines", 2011)."""
    per_class = [int(n) for n in given.get("vectors_per_class") or []]
    if not per_class:
        raise UnsupportedOperator(
            "the form without vectors_per_class has no kernel; export an SVC or a LinearSVC"
        )
    classes, total = len(per_class), sum(per_class)
    coefficients = np.asarray(given["coefficients"], np.float64).reshape(classes - 1, total)
    starts = np.cumsum([0, *per_class])
    rows, bias = [], []
    for i in range(classes):
        for j in range(i + 1, classes):
            first, second = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
            row = np.zeros(total)
            row[first], row[second] = coefficients[j - 1, first], coefficients[i, second]
            rows.append(row)
            bias.append(float(given["rho"][len(rows) - 1]))
    return np.array(rows), np.array(bias), classes


def pair_scores(pairs: Affine, given: dict[str, Any]) -> Affine:
    """Scores of two classes: the decision and its negative. Platt's probability, where the file has one, is its
    logistic function after a shift, with which the more probable class is not always the one that is decided for. The
    decision holds, and so the shift is left out."""
    steepness = abs(float(given["prob_a"][0])) / 2 if given.get("prob_a") else 1.0
    scores = pairs.times(np.array([[steepness], [-steepness]]))
    return _head(scores, "softmax") if given.get("prob_a") else scores


def pair_votes(classes: int) -> tuple[FloatArray, FloatArray]:
    """`(matrix [classes, pairs], bias [classes])`: the votes of all pairs for each class, of values 1 where the pair
    votes for its first class and 0 for its second."""
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    matrix, bias = np.zeros((classes, len(pairs))), np.zeros(classes)
    for number, (i, j) in enumerate(pairs):
        matrix[i, number], matrix[j, number] = 1.0, -1.0
        bias[j] += 1.0
    return matrix, bias


def normalised(scores: Affine, norm: str) -> Affine:
    """Scores whose function the file divides by its sum (L1) or its largest, which moves none past another."""
    return scores if scores.head == "softmax" or norm != "L1" else replace(scores, shares=True)


def _are_opposite(scores: Affine) -> bool:
    return all(np.allclose(weight[0], -weight[1]) for _, weight in scores.terms) and bool(
        np.isclose(scores.bias[0], -scores.bias[1])
    )


def _head(scores: Affine, head: HeadKind) -> Affine:
    return replace(scores, head=head)
