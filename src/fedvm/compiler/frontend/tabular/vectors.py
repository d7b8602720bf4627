"""What needs products of a row's numbers: squares, kernels of support vector machines, rows divided by their norm.

A distance is linear in the numbers and their squares: |x − v|² = |x|² − 2·x·v + |v|². The squares and the kernel's
function are tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import Affine
from fedvm.compiler.frontend.tabular.node import Follower
from fedvm.compiler.graph import FloatArray

NOTHING = 1e-12
"""Beside the square of a norm."""


def squares(follower: Follower, x: Affine) -> Affine:
    """The square of every element. Elements that are one column each, moved and stretched, share the square of that
    column, moved to the mean of their zeros, where it has the least range."""
    root = x.root
    used = x.weight != 0 if root else np.zeros((x.size, 0), bool)
    if not root or (used.sum(axis=1) > 1).any() or not used.any():
        return _squared(follower, x)
    columns, rows = np.flatnonzero(used.any(axis=0)), np.flatnonzero(used.any(axis=1))
    column = used[rows].argmax(axis=1)
    place = np.searchsorted(columns, column)
    slope = x.weight[rows, column]
    steep = np.abs(x.weight).max(axis=0)[columns]
    middle = np.bincount(place, -x.bias[rows] / slope) / np.bincount(place)
    moved = np.zeros((len(columns), x.weight.shape[1]))
    moved[np.arange(len(columns)), columns] = steep
    # (a·x + b)² = (a/s)²·(s·(x − m))² + 2·a·r·(x − m) + r² with r = a·m + b
    rest = slope * middle[place] + x.bias[rows]
    curve, line, bias = np.zeros((x.size, len(columns))), np.zeros_like(x.weight), np.square(x.bias)
    curve[rows, place] = np.square(slope / steep[place])
    line[rows, column] = 2 * slope * rest
    bias[rows] = np.square(rest) - 2 * slope * rest * middle[place]
    bent = _squared(follower, Affine.of(root, moved, -steep * middle)).times(curve)
    return bent.plus(Affine.of(root, line, bias)) if line.any() else bent.scaled(1.0, bias)


def _squared(follower: Follower, x: Affine) -> Affine:
    row = follower.realised(x)
    return Affine.of_root(follower.add("Mul", [row, row]), x.size)


def decisions(
    follower: Follower, x: Affine, vectors: FloatArray, coefficients: FloatArray, given: dict[str, Any]
) -> Affine:
    """`coefficients [D, V] ·` the kernel of the row with each of `vectors` `[V, K]`, by the attributes of SVMClassifier
    and SVMRegressor (Chang and Lin, "LIBSVM: a library for support vector machines", 2011)."""
    kind = str(given.get("kernel_type", "LINEAR"))
    if kind == "LINEAR":
        return x.times(coefficients @ vectors)
    gamma, constant, degree = (float(v) for v in given.get("kernel_params") or (0.0, 0.0, 3.0))
    f = follower
    if kind == "RBF":
        norm = squares(f, x).times(np.full((1, x.size), -gamma)).chosen(np.zeros(len(vectors), int))
        near = x.times(2 * gamma * vectors, -gamma * np.square(vectors).sum(axis=1))
        kernel = Affine.of_root(f.add("Exp", [f.realised(near.plus(norm))]), len(vectors))
        return kernel.times(coefficients)
    inner = x.times(gamma * vectors, constant)
    if kind == "POLY":
        if degree != int(degree) or degree < 1:
            raise UnsupportedOperator(
                f"a polynomial kernel of degree {degree:g} has no kernel; use a whole number"
            )
        if degree == 1:
            return inner.times(coefficients)
        if degree == 2 and x.size * len(coefficients) < len(vectors):
            return _quadratic(f, x, gamma * vectors, constant, coefficients)
        kernel = Affine.of_root(f.add("Pow", [f.realised(inner), f.constant(degree)]), len(vectors))
        return kernel.times(coefficients)
    if kind == "SIGMOID":
        return Affine.of_root(f.add("Tanh", [f.realised(inner)]), len(vectors)).times(coefficients)
    raise UnsupportedOperator(f"the kernel {kind} has no kernel; use LINEAR, RBF, POLY or SIGMOID")


def _quadratic(
    follower: Follower, x: Affine, vectors: FloatArray, constant: float, coefficients: FloatArray
) -> Affine:
    """`Σ_v coefficients[d, v]·(vectors[v]·x + constant)²`: a quadratic form for each d, so that the squares along its
    axes are as many as the numbers of the row, not as the vectors."""
    axes, values = [], []
    for row in coefficients:
        size, direction = np.linalg.eigh((vectors.T * row) @ vectors)
        axes.append(direction.T * np.sqrt(np.abs(size))[:, None])  # so that all squares count alike
        values.append(np.sign(size))
    bent = squares(follower, x.times(np.concatenate(axes)))
    count = len(coefficients)
    curve = np.zeros((count, count * x.size))
    for number, size in enumerate(values):
        curve[number, number * x.size : (number + 1) * x.size] = size
    line = x.times(2 * constant * coefficients @ vectors, np.square(constant) * coefficients.sum(axis=1))
    return bent.times(curve).plus(line)


def over_norm(follower: Follower, x: Affine, norm: str) -> Affine:
    """Each row over its norm: L1, L2, or MAX, its largest number. A row without a norm stays as it is, all zeros."""
    f = follower
    row = f.realised(x)
    ones = f.constant(np.ones((x.size, 1)))
    if norm == "L2":
        total = f.add("Sqrt", [f.add("MatMul", [f.add("Mul", [row, row]), ones])])
    elif norm == "L1":
        total = f.add("MatMul", [f.add("Abs", [row]), ones])
    elif norm == "MAX":
        total = f.largest(row, x.size)
    else:
        raise UnsupportedOperator(f"the norm {norm} has no kernel; use L1, L2 or MAX")
    # t / (t² + ε), which is 1 / t but for a norm of 0
    square = f.add("Add", [f.add("Mul", [total, total]), f.constant(NOTHING)])
    inverse = f.add("Mul", [total, f.add("Reciprocal", [square])])
    return Affine.of_root(f.add("Mul", [row, inverse]), x.size)
