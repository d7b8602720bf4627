"""The inputs that are hardest on an integer network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.graph import INPUT, Dense, IntegerGraph


def hard_inputs(graph: IntegerGraph, count: int, seed: int) -> NDArray[np.uint8]:
    """`count` inputs `[count, *onnx_shape]`: all 0, all 255, one-hot, extremes of first-layer sums, noise."""
    rng = np.random.default_rng(seed)
    shape = graph.input.shape
    rows: list[NDArray[np.uint8]] = [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]
    for value in (255, 1):
        hot = np.zeros(shape, np.uint8)
        hot.flat[rng.integers(hot.size)] = value
        rows += [hot, 255 - hot]
    rows += _extremes(graph, rng)
    rows += [255 * (rng.random(shape) < share).astype(np.uint8) for share in (0.5, 0.9, 0.1)]
    while len(rows) < count:
        low, high = sorted(rng.integers(0, 256, 2))
        rows.append(rng.integers(low, high + 1, shape).astype(np.uint8))
    batch = np.stack(rows[:count])
    if graph.input.layout == "HWC":
        batch = batch.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(batch.reshape(len(batch), *graph.input.onnx_shape))


def _extremes(graph: IntegerGraph, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Inputs at which some first-layer accumulators reach the ends of their intervals."""
    shape = graph.input.shape
    result = []
    for layer in graph.layers:
        for term in layer.terms:
            if term.source != INPUT:
                continue
            output = int(rng.integers(len(layer.bias)))
            weight = np.zeros(shape, np.int64)
            if isinstance(term, Dense):
                weight = np.asarray(term.weight[output], np.int64).reshape(shape)
            else:
                kernel = np.asarray(term.weight[output], np.int64)
                first = output * term.groups // len(layer.bias) * kernel.shape[0]
                tiles = -(-shape[1] // kernel.shape[1]), -(-shape[2] // kernel.shape[2])
                tiled = np.tile(kernel, (1, *tiles))[:, : shape[1], : shape[2]]
                weight[first : first + kernel.shape[0]] = tiled
            result += [255 * (weight > 0).astype(np.uint8), 255 * (weight < 0).astype(np.uint8)]
    return result
