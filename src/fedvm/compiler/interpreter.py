"""The integer network in plain int64 numpy: the definition against which every other form of it is tested.

It uses no kernel library, and so shares no code with ONNX Runtime or the emitted program.

"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.graph import (
    INPUT,
    Conv,
    Input,
    IntArray,
    IntegerGraph,
    IntegerLayer,
    MaxPool,
    ScoreMap,
    Term,
)


def run(graph: IntegerGraph, inputs: NDArray[np.uint8]) -> IntArray:
    """Scores of `inputs` (uint8 `[N, *onnx_shape]`): int64 `[N, O]`, or if the scores are a map, `[N, C, H, W]` with
    its axes in their order.

    Raises ValueError if `inputs` have another shape or dtype.
    """
    scores = run_all(graph, inputs)[graph.layers[-1].name]
    return in_order(graph.scores, scores).reshape(len(inputs), *scores_shape(graph))


def in_order(scores: ScoreMap, values: NDArray[Any]) -> NDArray[Any]:
    """The last layer's outputs `[N, C, H, W]` with the axes in the order of the scores."""
    return values.transpose(0, *(axis + 1 for axis in scores.order))


def run_all(graph: IntegerGraph, inputs: NDArray[np.uint8]) -> dict[str, IntArray]:
    """Every tensor of the network by name, int64 `[N, C, H, W]`, for `inputs` (uint8 `[N, *onnx_shape]`)."""
    tensors: dict[str, IntArray] = {INPUT: as_chw(graph.input, inputs).astype(np.int64) >> graph.input_shift}
    for layer in graph.layers:
        tensors[layer.name] = run_layer(layer, tensors)
    return tensors


def run_layer(layer: IntegerLayer, tensors: dict[str, IntArray]) -> IntArray:
    """Output of one layer, int64 `[N, *layer.shape]`, given the tensors it reads."""
    total = layer.bias[None, :, None, None] + sum(_term(term, tensors[term.source]) for term in layer.terms)
    if layer.pool is not None:
        total = _max_pool(layer.pool, total)
    if layer.high is None:
        return np.asarray(total, np.int64)
    clipped = np.clip(total >> layer.shift[None, :, None, None], 0, layer.clip)
    return np.asarray(clipped if layer.table is None else layer.table[clipped], np.int64)


def accumulator_bounds(graph: IntegerGraph) -> dict[str, tuple[IntArray, IntArray]]:
    """Exact interval `(min[O], max[O])` of every layer's accumulators over all inputs in range.

    Each source element ranges over 0..high on its own; padded positions hold a value in that range too, so
    the interval holds at the borders as well.
    """
    bounds: dict[str, tuple[IntArray, IntArray]] = {}
    for layer in graph.layers:
        low, high = layer.bias.astype(np.int64), layer.bias.astype(np.int64)
        for term in layer.terms:
            weight = np.asarray(term.weight, np.int64).reshape(len(layer.bias), -1)
            low = low + np.minimum(weight, 0).sum(axis=1) * graph.high_of(term.source)
            high = high + np.maximum(weight, 0).sum(axis=1) * graph.high_of(term.source)
        bounds[layer.name] = low, high
    return bounds


def as_chw(spec: Input, inputs: NDArray[Any]) -> NDArray[Any]:
    """`inputs` `[N, *onnx_shape]` as `[N, C, H, W]`, dtype kept; ValueError if they are not bytes of that
    shape."""
    if inputs.dtype != np.uint8 or inputs.shape[1:] != spec.onnx_shape:
        raise ValueError(
            f"the inputs are {inputs.dtype} {list(inputs.shape)}; give uint8 [N, "
            f"{', '.join(map(str, spec.onnx_shape))}]"
        )
    size = dict(zip("CHW", spec.shape, strict=True))
    lying = inputs.reshape(-1, *(size[axis] for axis in spec.layout))
    return lying.transpose(0, *(1 + spec.layout.index(axis) for axis in "CHW"))


def scores_shape(graph: IntegerGraph) -> tuple[int, ...]:
    """Shape of one input's scores: `(O,)` when they are a vector, else `(C, H, W)` in the order of the scores."""
    channels, height, width = graph.layers[-1].shape
    if height == width == 1:
        return (channels,)
    return tuple(graph.layers[-1].shape[axis] for axis in graph.scores.order)


def patches(
    x: NDArray[Any],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    pad_value: Any = 0,
) -> NDArray[Any]:
    """Windows of `x` `[N, C, H, W]` as `[N, C, Ho, Wo, kh, kw]`; a view unless there is padding. pad_value: a number
    or one a channel."""
    top, left, bottom, right = pads
    if any(pads):
        height, width = x.shape[2:]
        padded = np.empty((*x.shape[:2], top + height + bottom, left + width + right), x.dtype)
        padded[:] = np.reshape(pad_value, (1, -1, 1, 1))
        padded[:, :, top : top + height, left : left + width] = x
        x = padded
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1]]


def _term(term: Term, x: IntArray) -> IntArray:
    weight = np.asarray(term.weight, np.int64)
    if not isinstance(term, Conv):
        product: IntArray = x.reshape(len(x), -1) @ weight.T
        return product[:, :, None, None]
    outputs, inputs, *kernel = weight.shape
    windows = patches(x, (kernel[0], kernel[1]), term.stride, term.pads, int(term.pad_value))
    grouped = windows.reshape(len(x), term.groups, inputs, *windows.shape[2:])
    weight = weight.reshape(term.groups, outputs // term.groups, inputs, *kernel)
    result: IntArray = np.einsum("ngiyxhw,goihw->ngoyx", grouped, weight, optimize=True)
    return result.reshape(len(x), outputs, *windows.shape[2:4])


def _max_pool(pool: MaxPool, x: IntArray) -> IntArray:
    result: IntArray = patches(x, pool.kernel, pool.stride, pool.pads, np.iinfo(np.int64).min).max(
        axis=(4, 5)
    )
    return result
