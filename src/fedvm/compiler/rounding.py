"""Rounds a layer's real weights to integers so that its outputs, not its weights, change least.

The sequential rounding is optimal brain quantization in a fixed order (Frantar et al., "GPTQ", 2022): each
rounding error is carried into the weights not yet rounded, through the second moments of the calibration
inputs.
"""

from __future__ import annotations

import numpy as np

from fedvm.compiler.graph import FloatArray

DAMPING = 0.01
"""Added to the second moments' diagonal, relative to its mean, so that they can be inverted."""


def compensated_round(weight: FloatArray, moments: FloatArray, limit: int) -> FloatArray:
    """Integers of magnitude at most `limit` near `weight` `[O, K]` for inputs of centred `moments` `[K,
    K]`."""
    size = weight.shape[1]
    mean = float(np.trace(moments)) / size
    if size == 1 or mean <= 0:
        return nearest_round(weight, limit)
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[np.ix_(order, order)] + DAMPING * mean * np.eye(size)
    # Rows of the upper factor of the inverse say how an error in one weight spreads over the later ones.
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = weight[:, order].copy()
    result = np.empty_like(left)
    for i in range(size):
        result[:, i] = np.clip(np.rint(left[:, i]), -limit, limit)
        error = (left[:, i] - result[:, i]) / factor[i, i]
        left[:, i + 1 :] -= error[:, None] * factor[i, i + 1 :]
    back = np.empty_like(result)
    back[:, order] = result
    return back


def nearest_round(weight: FloatArray, limit: int) -> FloatArray:
    """The nearest integers of magnitude at most `limit`."""
    result: FloatArray = np.clip(np.rint(weight), -limit, limit)
    return result


def refit(weight: FloatArray, moments: FloatArray, cross: FloatArray, strength: float) -> FloatArray:
    """Ridge step from `weight` `[O, K]` towards the least-squares fit of the float network's outputs.

    moments: centred second moments `[K, K]` of the inputs; cross: moments `[O, K]` of the outputs' remaining
    error with the inputs; strength: weight of staying close, relative to the mean of the moments' diagonal.
    """
    size = weight.shape[1]
    mean = float(np.trace(moments)) / size
    if mean <= 0:
        return weight
    ridge = moments + strength * mean * np.eye(size)
    return weight + np.linalg.solve(ridge, cross.T).T
