"""Rewriting an integer network into the forms that have kernels, without changing a single score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.graph import INPUT, Conv, Dense, IntArray, IntegerGraph, IntegerLayer, MaxPool, Shape
from fedvm.compiler.tiling import WORD_BITS, is_wide


def canonical(graph: IntegerGraph) -> IntegerGraph:
    """The same network with every padded or wide pool in layers of its own, and convolutions of vectors as dense terms,
    but for vectors that a convolution repeats over a map: those are maps of one place.

    Raises UnsupportedOperator for a padded pool over the scores.
    """
    apart = replace(graph, layers=())
    for layer in graph.layers:
        apart = replace(apart, layers=(*apart.layers, *_apart_from_pool(apart, layer)))
    maps = _read_as_maps(apart)
    return replace(
        apart,
        layers=tuple(
            _with_conv_terms(apart, layer) if layer.name in maps else _with_dense_terms(apart, layer)
            for layer in apart.layers
        ),
    )


# -- pools ------------------------------------------------------------------------------------------------------------


def _apart_from_pool(graph: IntegerGraph, layer: IntegerLayer) -> tuple[IntegerLayer, ...]:
    """Move a pool into a layer of its own: clip(max(acc) >> k) = max(clip(acc >> k)). The padding there can be 0, the
    least value. A table follows the pool."""
    pool, first = layer.pool, layer.terms[0]
    if pool is None:
        return (layer,)
    if layer.high is None or layer.clip is None:
        if any(pool.pads):
            raise UnsupportedOperator(
                f"layer {layer.name!r}: a MaxPool with padding over the scores has no kernel"
            )
        return (layer,)
    if not any(pool.pads) and not (isinstance(first, Conv) and is_wide(pool, first.stride[1])):
        return (layer,)
    shape = _sum_shape(graph, layer)
    inner = replace(layer, name=f"{layer.name}/unpooled", shape=shape, pool=None, high=layer.clip, table=None)
    # a pool has no sums, so its lanes hold little more than its values
    most = WORD_BITS // (layer.clip.bit_length() + 1)
    steps = _pool_steps(pool, inner.shape[2] + pool.pads[1] + pool.pads[3], most)
    layers = [inner]
    for number, (step, pads) in enumerate(
        zip(steps, [pool.pads, *[(0, 0, 0, 0)] * len(steps)], strict=False)
    ):
        layers.append(_pooled(layers[-1], step, pads, f"{layer.name}/pooled{number}"))
    return *layers[:-1], replace(layers[-1], name=layer.name, high=layer.high, table=layer.table)


def _pooled(source: IntegerLayer, pool: MaxPool, pads: tuple[int, int, int, int], name: str) -> IntegerLayer:
    """A layer that does nothing but pool another, padded with zeros."""
    channels, height, width = source.shape
    identity = Conv(source.name, np.ones((channels, 1, 1, 1), np.int64), pads=pads, groups=channels)
    zeros = np.zeros(channels, np.int64)
    rows = (height + pads[0] + pads[2] - pool.kernel[0]) // pool.stride[0] + 1
    columns = (width + pads[1] + pads[3] - pool.kernel[1]) // pool.stride[1] + 1
    return replace(
        source,
        name=name,
        terms=(identity,),
        bias=zeros,
        shift=zeros,
        shape=(channels, rows, columns),
        pool=pool,
    )


def _pool_steps(pool: MaxPool, width: int, most: int) -> list[MaxPool]:
    """Pools one after the other, whose windows have at most `most` columns, that give the same maxima of a row of
    `width` columns; rows are pooled by the first."""
    (rows, kernel), (down, stride) = pool.kernel, pool.stride
    single = (width - kernel) // stride == 0
    limit = most if single or stride >= kernel else most // 2  # or words would give few columns
    if kernel <= limit:
        return [MaxPool((rows, kernel), (down, stride))]
    if single:  # cut the window into as few as cover it; the last ones may overlap
        parts = next(m for m in range(2, kernel + 1) if kernel - (m - 1) * (kernel // m) <= most)
        apart = kernel // parts
        first, rest = (
            MaxPool((rows, kernel - (parts - 1) * apart), (down, apart)),
            MaxPool((1, parts), (1, width)),
        )
    elif kernel % stride == 0 and 1 < stride <= limit:
        first, rest = MaxPool((rows, stride), (down, stride)), MaxPool((1, kernel // stride), (1, 1))
    else:
        half = most // 2
        first, rest = MaxPool((rows, half), (down, 1)), MaxPool((1, kernel - half + 1), (1, stride))
    return [first, *_pool_steps(rest, (width - first.kernel[1]) // first.stride[1] + 1, most)]


def _sum_shape(graph: IntegerGraph, layer: IntegerLayer) -> Shape:
    """Shape of the layer's sums, before pooling."""
    term = layer.terms[0]
    if isinstance(term, Dense):
        return layer.shape
    _, height, width = graph.shape_of(term.source)
    top, left, bottom, right = term.pads
    rows = (height + top + bottom - term.weight.shape[2]) // term.stride[0] + 1
    columns = (width + left + right - term.weight.shape[3]) // term.stride[1] + 1
    return len(layer.bias), rows, columns


# -- vectors ----------------------------------------------------------------------------------------------------------


def _read_as_maps(graph: IntegerGraph) -> set[str]:
    """Layers that give a vector which a convolution over more than one place reads, and the vectors that those read."""
    found: set[str] = set()
    for layer in reversed(graph.layers):
        if layer.name in found or _sum_shape(graph, layer)[1:] != (1, 1):
            found.update(
                term.source
                for term in layer.terms
                if term.source != INPUT
                and graph.shape_of(term.source)[1:] == (1, 1)
                and (isinstance(term, Conv) or layer.name in found)
            )
    return found


def _with_conv_terms(graph: IntegerGraph, layer: IntegerLayer) -> IntegerLayer:
    """The layer with dense terms as convolutions whose kernels are as large as what they read."""
    terms = tuple(
        Conv(term.source, term.weight.reshape(len(term.weight), *graph.shape_of(term.source)))
        if isinstance(term, Dense)
        else term
        for term in layer.terms
    )
    return replace(layer, terms=terms)


def _with_dense_terms(graph: IntegerGraph, layer: IntegerLayer) -> IntegerLayer:
    """The layer with only dense terms, if it gives a vector and some term is dense or reads a vector."""
    if _sum_shape(graph, layer)[1:] != (1, 1):
        return layer
    if not any(isinstance(t, Dense) or graph.shape_of(t.source)[1:] == (1, 1) for t in layer.terms):
        return layer
    bias = layer.bias
    terms = []
    for term in layer.terms:
        if isinstance(term, Conv):
            term, padding = _as_dense(term, len(bias), graph.shape_of(term.source))
            bias = bias + padding
        terms.append(term)
    return replace(layer, terms=tuple(terms), bias=bias, pool=None)


def _as_dense(conv: Conv, outputs: int, source: Shape) -> tuple[Dense, IntArray]:
    """The dense term that equals a convolution with one output position, and what its padding adds, `[O]`."""
    channels, height, width = source
    top, left = conv.pads[:2]
    per_group = conv.weight.shape[1]
    weight = np.zeros((outputs, channels, height, width), np.int64)
    padding = np.zeros(outputs, np.int64)
    for output in range(outputs):
        first = output * conv.groups // outputs * per_group
        kernel = np.asarray(conv.weight[output], np.int64)
        inside = kernel[:, top : top + height, left : left + width]
        weight[output, first : first + per_group, : inside.shape[1], : inside.shape[2]] = inside
        padding[output] = int(conv.pad_value) * int(kernel.sum() - inside.sum())
    return Dense(conv.source, weight.reshape(outputs, -1)), padding
