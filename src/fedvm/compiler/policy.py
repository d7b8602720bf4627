"""Chooses the bits of tensors and sums: as many as are cheap for each layer's shape, and no fewer than accuracy needs.

The width of lanes decides the gas: a layer needs as many products as its rows have words. Wider lanes cost nothing as
long as the number of words stays the same. So a layer gets the widest lanes that need no more words than lanes of a
minimum width, which follows from the bits of the activations.

"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedvm.compiler.defaults import INPUT_BITS, OPTIMIZE, WEIGHT_BITS, Optimize
from fedvm.compiler.fitted_terms import is_uniform
from fedvm.compiler.graph import INPUT, Conv, FloatGraph, FloatLayer, MaxPool
from fedvm.compiler.layout import span, widest_lanes
from fedvm.compiler.tiling import NO_POOL, is_wide, tile
from fedvm.compiler.transposition import is_symmetric, transposed

LOW = 5
"""Activations of so few bits or fewer go with narrow lanes: nearly all of the accuracy for much less gas."""
FLOOR_CONV = 18
"""Lane bits of convolutions over activations of more than LOW bits."""
DENSE = 21
"""12 lanes a word; narrower lanes pay only in steps of 256/13, 256/14, ..."""
DENSE_PACKED = 18
"""Weights of some 6 bits, of which three share a lane of a data word."""
NARROW = 10
"""Lane bits beside those of the activations, where they are few."""
FROM_INPUT = 9
"""Lane bits beside those of the input, at least: weights below 4 bits lose too much in the first layer."""
NARROWEST = 8
"""Least that `QuantizeOptions.lane_bits` takes."""
PRODUCT, SUM, OUTPUT = 14, 40, 120
"""Gas of a product of words, and of what is done with a word of sums and with one of outputs, about."""
WIDEST = 23
"""The reference carries integers in float32: below 2²⁴ they are exact."""


def lane_budget(
    graph: FloatGraph,
    activation_bits: int,
    input_bits: int = INPUT_BITS,
    weight_bits: int = WEIGHT_BITS[OPTIMIZE],
    optimize: Optimize = OPTIMIZE,
) -> dict[str, int]:
    """Lane bits by layer name, for lanes along the axis of the maps along which the network costs less."""
    budgets = []
    for oriented in (graph,) if is_symmetric(graph) else (graph, transposed(graph)):
        budget = _budget(oriented, activation_bits, input_bits, weight_bits, optimize)
        work = sum(_conv_work(layer, budget[layer.name]) for layer in oriented.layers)
        budgets.append((work, budget))
    return min(budgets, key=lambda found: found[0])[1]


def _budget(
    graph: FloatGraph, activation_bits: int, input_bits: int, weight_bits: int, optimize: Optimize
) -> dict[str, int]:
    """The same for lanes along the width."""
    low = activation_bits <= LOW
    floor = max(NARROWEST, (NARROW + activation_bits if low else FLOOR_CONV) - max(0, 8 - weight_bits))
    dense = NARROW + activation_bits if low else DENSE if optimize == "run" else DENSE_PACKED
    bits = {INPUT: input_bits} | activation_budget(graph, activation_bits)
    budget = {}
    for layer in graph.layers:
        from_input = input_bits + FROM_INPUT if any(t.source == INPUT for t in layer.terms) else 0
        if isinstance(layer.terms[0], Conv):
            budget[layer.name] = _conv_bits(layer, max(floor, from_input, _average_bits(layer, bits)))
        else:
            budget[layer.name] = max(dense, from_input)
    budget[graph.layers[-1].name] = WIDEST
    return budget


def activation_budget(graph: FloatGraph, activation_bits: int) -> dict[str, int]:
    """Output bits by layer name: the same for all, but 8 for layers without an activation. Such tensors (shortcuts,
    averages) are read once, and their rounding error goes directly into a sum. Layers whose integers the file gives
    have up to 8 bits, too."""
    return {
        layer.name: 8 if layer.activation == "linear" or layer.grid is not None else activation_bits
        for layer in graph.layers[:-1]
    }


def _average_bits(layer: FloatLayer, bits: dict[str, int]) -> int:
    """Lane bits that the sums of the layer's averages take with weights of 1: with fewer, the weights would be 0."""
    windows = [(math.prod(t.weight.shape[2:]), t.source) for t in layer.terms if is_uniform(t)]
    return min(
        WIDEST, max((bits[source] + math.ceil(math.log2(size)) for size, source in windows), default=0)
    )


def _conv_bits(layer: FloatLayer, floor: int) -> int:
    shape = _shape(layer)
    return widest_lanes(shape.width, floor, WIDEST, shape.kernel, shape.stride, shape.pool)


@dataclass(frozen=True)
class _Shape:
    """Columns of a convolutional layer's output; kernel, stride and pool along them. A wide pool is another layer."""

    width: int
    kernel: int
    stride: int
    pool: MaxPool


def _shape(layer: FloatLayer) -> _Shape:
    kernel, stride, pool = span(layer)
    width = layer.shape[2]
    if is_wide(pool, stride):
        width, pool = (width - 1) * pool.stride[1] + pool.kernel[1], NO_POOL
    return _Shape(width, kernel, stride, pool)


def _conv_work(layer: FloatLayer, lane_bits: int) -> float:
    """About the gas of a convolutional layer, 0 for others, which do not depend on the axis; infinite without a
    tiling."""
    convs = [t for t in layer.terms if isinstance(t, Conv)]
    if not convs:
        return 0
    shape, pool = _shape(layer), layer.pool or NO_POOL
    tiling = tile(shape.width, lane_bits, shape.kernel, shape.stride, shape.pool)
    if tiling is None:
        return math.inf
    outputs, height = layer.shape[:2]
    rows = (height - 1) * pool.stride[0] + pool.kernel[0]
    products = sum(math.prod(t.weight.shape[:3]) for t in convs) * tiling.products * rows
    words = outputs * tiling.chunks
    return PRODUCT * products + SUM * words * rows + OUTPUT * words * height
