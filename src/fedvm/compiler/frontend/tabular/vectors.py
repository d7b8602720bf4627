"""What needs products of a row's numbers: kernels of support vector machines, and rows divided by their norm.

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


def kernel_of(follower: Follower, x: Affine, vectors: FloatArray, given: dict[str, Any]) -> Affine:
    """The kernel of the row with each of `vectors` `[V, K]`, by the attributes of SVMClassifier and SVMRegressor
    (Chang and Lin, "LIBSVM: a library for support vector machines", 2011)."""
    kind = str(given.get("kernel_type", "LINEAR"))
    if kind == "LINEAR":
        return x.times(vectors)
    gamma, constant, degree = (float(v) for v in given.get("kernel_params") or (0.0, 0.0, 3.0))
    f = follower
    if kind == "RBF":
        row = f.realised(x)
        squares = f.add("Mul", [row, row])
        ones = np.full((x.size, len(vectors)), -gamma)
        norms = -gamma * np.square(vectors).sum(axis=1)
        near = f.add("Gemm", [row, f.constant(2 * gamma * vectors.T), f.constant(norms)])
        below = f.add("Add", [near, f.add("MatMul", [squares, f.constant(ones)])])
        return Affine.of_root(f.add("Exp", [below]), len(vectors))
    inner = f.realised(x.times(gamma * vectors, constant))
    if kind == "POLY":
        if degree != int(degree) or degree < 1:
            raise UnsupportedOperator(
                f"a polynomial kernel of degree {degree:g} has no kernel; use a whole number"
            )
        return Affine.of_root(f.add("Pow", [inner, f.constant(degree)]), len(vectors))
    if kind == "SIGMOID":
        return Affine.of_root(f.add("Tanh", [inner]), len(vectors))
    raise UnsupportedOperator(f"the kernel {kind} has no kernel; use LINEAR, RBF, POLY or SIGMOID")


def over_norm(follower: Follower, x: Affine, norm: str) -> Affine:
    """Each row over its norm: L1, L2, or MAX, its largest number."""
    f = follower
    row = f.realised(x)
    ones = f.constant(np.ones((x.size, 1)))
    if norm == "L2":
        total = f.add("Sqrt", [f.add("MatMul", [f.add("Mul", [row, row]), ones])])
    elif norm == "L1":
        total = f.add("MatMul", [f.add("Abs", [row]), ones])
    elif norm == "MAX":
        total = _largest(f, row, x.size)
    else:
        raise UnsupportedOperator(f"the norm {norm} has no kernel; use L1, L2 or MAX")
    return Affine.of_root(f.add("Mul", [row, f.add("Reciprocal", [total])]), x.size)


def _largest(f: Follower, row: str, size: int) -> str:
    """The largest of the columns, in rounds of halves, which may overlap."""
    while size > 1:
        half = -(-size // 2)
        parts = [np.eye(size)[:, :half], np.eye(size)[:, size - half :]]
        row = f.add("Max", [f.add("MatMul", [row, f.constant(part)]) for part in parts])
        size = half
    return row
