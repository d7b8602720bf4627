"""Rewriting an integer network into the forms that have kernels, without changing a single score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.graph import Conv, Dense, IntArray, IntegerGraph, IntegerLayer, MaxPool, Shape


def canonical(graph: IntegerGraph) -> IntegerGraph:
    """The same network with every padded pool in a layer of its own, and convolutions of vectors as dense terms.

    Raises UnsupportedOperator for a padded pool over the scores.
    """
    done = replace(graph, layers=())
    for layer in graph.layers:
        for part in _apart_from_padded_pool(done, layer):
            done = replace(done, layers=(*done.layers, _with_dense_terms(done, part)))
    return done


# -- pools ------------------------------------------------------------------------------------------------------------


def _apart_from_padded_pool(graph: IntegerGraph, layer: IntegerLayer) -> tuple[IntegerLayer, ...]:
    """clip(max(acc) >> k) = max(clip(acc >> k)), where 0, the least value, can stand for the padding."""
    pool = layer.pool
    if pool is None or not any(pool.pads):
        return (layer,)
    if layer.high is None:
        raise UnsupportedOperator(
            f"layer {layer.name!r}: a MaxPool with padding over the scores has no kernel"
        )
    channels = layer.shape[0]
    inner = replace(layer, name=f"{layer.name}/unpooled", shape=_sum_shape(graph, layer), pool=None)
    identity = Conv(inner.name, np.ones((channels, 1, 1, 1), np.int64), pads=pool.pads, groups=channels)
    zeros = np.zeros(channels, np.int64)
    outer = replace(layer, terms=(identity,), bias=zeros, shift=zeros, pool=MaxPool(pool.kernel, pool.stride))
    return inner, outer


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
