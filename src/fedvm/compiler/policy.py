"""Chooses the bits of tensors and sums: as many as are cheap for each layer's shape, and no fewer than accuracy needs.

The width of lanes decides the gas: a layer needs as many products as its rows have words. Wider lanes cost nothing as
long as the number of words stays the same. So a layer gets the widest lanes that need no more words than lanes of a
minimum width, which follows from the bits of the activations.

"""

from __future__ import annotations

import math

from fedvm.compiler.defaults import INPUT_BITS, OPTIMIZE, WEIGHT_BITS, Optimize
from fedvm.compiler.fitted_terms import is_uniform
from fedvm.compiler.graph import INPUT, Conv, FloatGraph, FloatLayer
from fedvm.compiler.layout import widest_lanes
from fedvm.compiler.tiling import NO_POOL, is_wide

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
WIDEST = 23
"""The reference carries integers in float32: below 2²⁴ they are exact."""


def lane_budget(
    graph: FloatGraph,
    activation_bits: int,
    input_bits: int = INPUT_BITS,
    weight_bits: int = WEIGHT_BITS[OPTIMIZE],
    optimize: Optimize = OPTIMIZE,
) -> dict[str, int]:
    """Lane bits by layer name."""
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
    convs = [t for t in layer.terms if isinstance(t, Conv)]
    kernel = int(max(max(c.pads[1] for c in convs) - c.pads[1] + c.weight.shape[3] for c in convs))
    stride, pool, width = convs[0].stride[1], layer.pool or NO_POOL, layer.shape[2]
    if is_wide(pool, stride):  # the pool becomes a layer of its own
        width, pool = (width - 1) * pool.stride[1] + pool.kernel[1], NO_POOL
    return widest_lanes(width, floor, WIDEST, kernel, stride, pool)
