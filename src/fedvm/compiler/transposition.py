"""The same network with height and width exchanged: exactly the same scores from the same bytes.

Lanes lie along the width of a map. So a network whose maps are narrow and tall, as those of sound are, costs much less
with its axes exchanged. All that has two axes is transposed: kernels, strides, padding, pools, shapes, and the columns
of dense weights. The input's bytes stay where they are (`Input.layout` says so), and scores keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from fedvm.compiler.graph import (
    INPUT,
    Conv,
    FloatGraph,
    FloatLayer,
    Input,
    IntegerGraph,
    IntegerLayer,
    Layout,
    MaxPool,
    ScoreMap,
    Shape,
    Term,
)

Graph = TypeVar("Graph", FloatGraph, IntegerGraph)
Layer = TypeVar("Layer", FloatLayer, IntegerLayer)

EXCHANGED = (0, 2, 1)
"""Position of each axis of (C, H, W) after the exchange."""
LAYOUTS: dict[Layout, Layout] = {"CHW": "CWH", "HWC": "WHC", "CWH": "CHW", "WHC": "HWC"}


def transposed(graph: Graph) -> Graph:
    """The network with H and W exchanged. Twice gives the network again."""
    shapes = {INPUT: graph.input.shape} | {layer.name: layer.shape for layer in graph.layers}
    return replace(
        graph,
        input=_input(graph.input),
        layers=tuple(_layer(layer, shapes) for layer in graph.layers),
        scores=_scores(graph.scores),
    )


def is_symmetric(graph: FloatGraph | IntegerGraph) -> bool:
    """Whether the exchange changes no size: every map, kernel, stride and padding is as high as it is wide."""
    return graph.input.shape == _shape(graph.input.shape) and all(map(_is_symmetric, graph.layers))


def _is_symmetric(layer: FloatLayer | IntegerLayer) -> bool:
    windows = [(t.weight.shape[2:], t.stride, t.pads) for t in layer.terms if isinstance(t, Conv)]
    if layer.pool is not None:
        windows.append((layer.pool.kernel, layer.pool.stride, layer.pool.pads))
    return layer.shape == _shape(layer.shape) and all(
        _pair(kernel) == kernel and _pair(stride) == stride and _pads(pads) == pads
        for kernel, stride, pads in windows
    )


def _layer(layer: Layer, shapes: Mapping[str, Shape]) -> Layer:
    terms = tuple(_term(term, shapes[term.source]) for term in layer.terms)
    pool = None if layer.pool is None else _pool(layer.pool)
    return replace(layer, terms=terms, shape=_shape(layer.shape), pool=pool)


def _term(term: Term, source: Shape) -> Term:
    if isinstance(term, Conv):
        weight = term.weight.transpose(0, 1, 3, 2)
        return replace(term, weight=weight, stride=_pair(term.stride), pads=_pads(term.pads))
    outputs = len(term.weight)
    weight = term.weight.reshape(outputs, *source).transpose(0, 1, 3, 2)
    return replace(term, weight=weight.reshape(outputs, -1))


def _input(spec: Input) -> Input:
    return replace(spec, layout=LAYOUTS[spec.layout], shape=_shape(spec.shape))


def _scores(scores: ScoreMap) -> ScoreMap:
    first, second, third = (EXCHANGED[axis] for axis in scores.order)
    return replace(scores, order=(first, second, third))


def _pool(pool: MaxPool) -> MaxPool:
    return MaxPool(_pair(pool.kernel), _pair(pool.stride), _pads(pool.pads))


def _shape(shape: Shape) -> Shape:
    channels, height, width = shape
    return channels, width, height


def _pair(pair: tuple[int, int]) -> tuple[int, int]:
    return pair[1], pair[0]


def _pads(pads: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = pads
    return left, top, right, bottom
