"""Chooses the bits of tensors and sums: as many as are cheap for each layer's shape, and no fewer than accuracy needs.

The width of lanes decides the gas: a layer needs as many products as its rows have words. Wider lanes cost nothing as
long as the number of words stays the same. So a layer gets the widest lanes that need no more words than lanes of a
minimum width, which follows from the bits of the activations.

"""

from __future__ import annotations

import math
from dataclasses import replace

from fedvm.compiler.defaults import (
    INPUT_BITS,
    LARGE_DENSE,
    LARGE_DENSE_BITS,
    OPTIMIZE,
    WEIGHT_BITS,
    Optimize,
)
from fedvm.compiler.fitted_terms import is_uniform
from fedvm.compiler.graph import INPUT, SQUARE, Conv, Dense, FloatGraph, FloatLayer
from fedvm.compiler.layout import rows_of, widest_lanes, widths_of
from fedvm.compiler.tiling import NO_POOL, WORD_BITS, Rows, is_wide, tile
from fedvm.compiler.transposition import is_symmetric, transposed

LOW = 5
"""Activations of so few bits or fewer go with narrow lanes: nearly all of the accuracy for much less gas."""
FLOOR_CONV = 18
"""Lane bits of convolutions over activations of more than LOW bits."""
DENSE = 21
"""12 lanes a word: the most of a dense layer's lanes, unless wider ones take no more words."""
DENSE_WEIGHT = 5
"""Mean size of a dense layer's weights for which its lanes have room, from which on it loses next to nothing."""
DENSE_PACKED = 18
"""Weights of some 6 bits, of which three share a lane of a data word."""
NARROW = 10
"""Lane bits beside those of the activations, where they are few."""
WORTH = 0.05
"""Share of a network's gas that a lane bit less in one convolution must save, for that bit to be given up."""
SHARED = 14
"""Lane bits at least with which several rows of a map may share a word."""
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
        work = sum(conv_work(oriented, layer, budget[layer.name]) for layer in oriented.layers)
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
    budget, narrower = {}, {}
    for layer in graph.layers:
        from_input = input_bits + FROM_INPUT if any(t.source == INPUT for t in layer.terms) else 0
        if isinstance(layer.terms[0], Conv):
            least = max(from_input, _average_bits(layer, bits))
            budget[layer.name] = _conv_bits(graph, layer, max(floor, least))
            if least < floor == FLOOR_CONV:
                narrower[layer.name] = _conv_bits(graph, layer, floor - 1)
        else:
            budget[layer.name] = max(dense, from_input)
            wide = _dense_bits(layer, bits)
            if optimize == "run" and (not low or _words(layer, wide) <= _words(layer, budget[layer.name])):
                budget[layer.name] = wide
    work = {layer.name: conv_work(graph, layer, budget[layer.name]) for layer in graph.layers}
    for layer in graph.layers:
        if layer.name in narrower:
            saved = work[layer.name] - conv_work(graph, layer, narrower[layer.name])
            if saved > WORTH * sum(work.values()):
                budget[layer.name] = narrower[layer.name]
    budget[graph.layers[-1].name] = WIDEST
    return budget


def weight_budget(graph: FloatGraph, optimize: Optimize) -> int | dict[str, int]:
    """Bits of weights, by layer name where they differ: with "deploy" large dense layers have fewer than the others."""
    usual = WEIGHT_BITS[optimize]
    large = {
        layer.name
        for layer in graph.layers
        if isinstance(layer.terms[0], Dense) and sum(t.weight.size for t in layer.terms) >= LARGE_DENSE
    }
    if optimize == "run" or not large:
        return usual
    return {layer.name: LARGE_DENSE_BITS if layer.name in large else usual for layer in graph.layers}


def activation_budget(graph: FloatGraph, activation_bits: int) -> dict[str, int]:
    """Output bits by layer name: the same for all, but 8 for layers without an activation. Such tensors (shortcuts,
    averages) are read once, and their rounding error goes directly into a sum. So does that of a product's squares.
    Layers whose integers the file gives have up to 8 bits, too."""
    return {
        layer.name: 8 if layer.activation in ("linear", SQUARE) or layer.grid is not None else activation_bits
        for layer in graph.layers[:-1]
    }


def _conv_bits(graph: FloatGraph, layer: FloatLayer, least: int) -> int:
    """As many lane bits as cost no more than `least`."""
    rows = _conv_rows(graph, layer)
    alone = replace(rows, extent=0)
    if all(t.groups > 1 for t in layer.terms if isinstance(t, Conv)):
        return widest_lanes(alone, least, WIDEST)
    if least >= SHARED:
        return widest_lanes(rows, least, WIDEST)
    # so few bits are widened first; rows share words only if as many do with more bits
    apart, together = widest_lanes(alone, least, WIDEST), widest_lanes(rows, SHARED, WIDEST)
    return min((apart, together), key=lambda bits: _products(rows, bits))


def _products(rows: Rows, lane_bits: int) -> float:
    """Products of a channel and a row of the kernel; infinite without a tiling."""
    tiling = tile(rows, lane_bits)
    return math.inf if tiling is None else tiling.products(rows.height)


def _dense_bits(layer: FloatLayer, bits: dict[str, int]) -> int:
    """The widest lanes that take no more words than those with room for weights of the mean size `DENSE_WEIGHT`."""
    largest = sum(((1 << bits[t.source]) - 1) * t.weight.shape[1] for t in layer.terms)
    least = min(DENSE, max(NARROWEST, math.ceil(math.log2(DENSE_WEIGHT * largest))))
    words = _words(layer, least)
    return max(b for b in range(least, WIDEST + 1) if _words(layer, b) == words)


def _words(layer: FloatLayer, lane_bits: int) -> int:
    """Words of a dense layer's outputs."""
    return -(-layer.shape[0] // (WORD_BITS // lane_bits))


def _average_bits(layer: FloatLayer, bits: dict[str, int]) -> int:
    """Lane bits that the sums of the layer's averages take with weights of 1: with fewer, the weights would be 0."""
    windows = [(math.prod(t.weight.shape[2:]), t.source) for t in layer.terms if is_uniform(t)]
    return min(
        WIDEST, max((bits[source] + math.ceil(math.log2(size)) for size, source in windows), default=0)
    )


def _conv_rows(graph: FloatGraph, layer: FloatLayer) -> Rows:
    """The rows of a convolutional layer; a wide pool is a layer of its own."""
    rows = rows_of(layer, widths_of(graph), scores=layer is graph.layers[-1])
    if not is_wide(rows.pool, rows.stride):
        return rows
    return replace(rows, width=(rows.width - 1) * rows.pool.stride[1] + rows.pool.kernel[1], pool=NO_POOL)


def conv_work(graph: FloatGraph, layer: FloatLayer, lane_bits: int) -> float:
    """About the gas of a convolutional layer, 0 for others, which do not depend on the axis; infinite without a
    tiling."""
    convs = [t for t in layer.terms if isinstance(t, Conv)]
    if not convs:
        return 0
    rows = _conv_rows(graph, layer)
    tiling = tile(rows, lane_bits)
    if tiling is None:
        return math.inf
    products = sum(math.prod(t.weight.shape[:3]) for t in convs) * tiling.products(rows.height)
    words = layer.shape[0] * tiling.chunks
    return (
        PRODUCT * products
        + SUM * words * (rows.height // tiling.rows)
        + OUTPUT * words * (layer.shape[1] // tiling.rows)
    )
