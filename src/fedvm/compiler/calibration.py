"""Runs layers on calibration data and gathers the samples that quantization fits to.

Float layers run in float64. Integer layers run in float32 on integers below 2^24, where matrix products are
exact, so that calibration sees precisely the integers that the deployed network computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.graph import (
    SIGNS,
    Conv,
    Dense,
    FloatArray,
    FloatLayer,
    IntegerLayer,
    MaxPool,
    Pointwise,
    Term,
)
from fedvm.compiler.interpreter import patches

CHUNK = 1 << 22
"""Elements of unfolded input handled at a time."""


@dataclass(frozen=True)
class Positions:
    """Sampled output positions of a layer before pooling: sample, row and column, each `[R]`."""

    sample: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


def sample_positions(shape: tuple[int, int, int], limit: int) -> Positions:
    """At most `limit` of the positions `(N, H, W)`, spread by the golden ratio so that no grid is
    favoured."""
    total = int(np.prod(shape))
    if total <= limit:
        chosen = np.arange(total)
    else:
        golden = (np.arange(limit) * ((5**0.5 - 1) / 2)) % 1.0
        chosen = np.unique((golden * total).astype(np.int64))
    sample, row, column = np.unravel_index(chosen, shape)
    return Positions(sample, row, column)


def term_rows(term: Term, x: NDArray[Any], at: Positions) -> FloatArray:
    """What the term's weights multiply at the sampled positions: float64 `[R, groups, K]`."""
    if isinstance(term, Dense):
        return x.reshape(len(x), 1, -1)[at.sample].astype(np.float64)
    windows = patches(x, _kernel(term), term.stride, term.pads, term.pad_value)
    rows = windows[at.sample, :, at.row, at.column]
    return rows.reshape(len(at.sample), term.groups, -1).astype(np.float64)


def grouped_weight(term: Term) -> FloatArray:
    """The term's weights as `[groups, O / groups, K]`, matching `term_rows`."""
    groups = term.groups if isinstance(term, Conv) else 1
    weight = np.asarray(term.weight, np.float64)
    return weight.reshape(groups, len(weight) // groups, -1)


def accumulate(terms: tuple[Term, ...], bias: NDArray[Any], tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Sum of the terms and the bias before pooling, `[N, O, H, W]` in the dtype of the tensors."""
    total: NDArray[Any] = np.zeros(())
    for position, term in enumerate(terms):
        part = _product(term, tensors[term.source])
        total = part + bias.astype(part.dtype)[None, :, None, None] if position == 0 else total + part
    return total


def max_pool(pool: MaxPool | None, x: NDArray[Any]) -> NDArray[Any]:
    """`x` after max pooling; `x` itself if there is no pooling."""
    if pool is None:
        return x
    pads = pool.pads
    if any(pads):
        widths = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
        x = np.pad(x, widths, constant_values=-np.inf)
    height = (x.shape[2] - pool.kernel[0]) // pool.stride[0] + 1
    width = (x.shape[3] - pool.kernel[1]) // pool.stride[1] + 1
    best: NDArray[Any] | None = None
    for dy in range(pool.kernel[0]):
        for dx in range(pool.kernel[1]):
            rows = slice(dy, dy + (height - 1) * pool.stride[0] + 1, pool.stride[0])
            columns = slice(dx, dx + (width - 1) * pool.stride[1] + 1, pool.stride[1])
            tap = x[:, :, rows, columns]
            best = tap.copy() if best is None else np.maximum(best, tap, out=best)
    assert best is not None
    return best


def activate(layer: FloatLayer, x: FloatArray) -> FloatArray:
    """The layer's activation function of `x`, rounded if the file rounds."""
    result: FloatArray = x
    if layer.grid is SIGNS:
        return np.asarray(x >= 0, np.float64)
    if isinstance(layer.activation, Pointwise):
        result = layer.activation.of(x)
    elif layer.activation != "linear":
        low, high = (0.0, np.inf) if layer.activation == "relu" else layer.activation[1:]
        result = np.clip(x, low, high)
    return result if layer.grid is None else layer.grid.rounded(result)


def squash(layer: IntegerLayer, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Integer requantization of pooled accumulators; powers of two keep it exact in float32."""
    if layer.high is None:
        return pooled
    factor = (0.5 ** layer.shift.astype(np.float64)).astype(np.float32)[None, :, None, None]
    clipped = np.asarray(np.clip(np.floor(pooled * factor), 0, layer.clip))
    return clipped if layer.table is None else layer.table.astype(np.float32)[clipped.astype(np.uint8)]


def evaluate(graph_layers: tuple[FloatLayer, ...], tensors: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """All tensors of a float network, given its input under the name `INPUT` (float64 `[N, C, H, W]`)."""
    tensors = dict(tensors)
    for layer in graph_layers:
        tensors[layer.name] = activate(
            layer, max_pool(layer.pool, accumulate(layer.terms, layer.bias, tensors))
        )
    return tensors


def _kernel(term: Conv) -> tuple[int, int]:
    return int(term.weight.shape[2]), int(term.weight.shape[3])


def _product(term: Term, x: NDArray[Any]) -> NDArray[Any]:
    weight = np.asarray(term.weight, x.dtype)
    if isinstance(term, Dense):
        product: NDArray[Any] = x.reshape(len(x), -1) @ weight.T
        return product[:, :, None, None]
    windows = patches(x, _kernel(term), term.stride, term.pads, term.pad_value)
    height, width = windows.shape[2:4]
    outputs = len(weight)
    result = np.empty((len(x), outputs, height, width), x.dtype)
    if weight.shape[1] == 1 and term.groups == outputs:  # depthwise: cheaper tap by tap
        result[:] = 0
        for dy in range(weight.shape[2]):
            for dx in range(weight.shape[3]):
                result += weight[None, :, 0, dy, dx, None, None] * windows[..., dy, dx]
        return result
    matrices = weight.reshape(term.groups, outputs // term.groups, -1)
    step = max(1, CHUNK // max(1, windows[0].size))
    for start in range(0, len(x), step):
        # Samples side by side: one large product per group, for which BLAS is fastest.
        part = windows[start : start + step]
        columns = part.transpose(1, 4, 5, 0, 2, 3).reshape(term.groups, matrices.shape[2], -1)
        product = np.concatenate([matrices[g] @ columns[g] for g in range(term.groups)])
        result[start : start + step] = product.reshape(outputs, len(part), height, width).transpose(
            1, 0, 2, 3
        )
    return result
