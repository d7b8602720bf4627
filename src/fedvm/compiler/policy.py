"""How many bits a layer's sums may take: what its shape makes cheap, and no less than quantization can live with."""

from __future__ import annotations

from typing import Literal

from fedvm.compiler.graph import Conv, FloatGraph, FloatLayer, MaxPool
from fedvm.compiler.layout import WORD_BITS, chunks_of

FLOOR_CONV = 18
"""Sums of fewer bits leave too few weight bits for post-training quantization at 6–8-bit activations."""
DENSE = 21
"""12 lanes a word; narrower lanes pay only in steps of 256/13, 256/14, ..."""
DENSE_PACKED = 18
"""Weights of some 6 bits, of which three share a lane of a data word."""
WIDEST = 23
"""The reference carries integers in float32: below 2²⁴ they are exact."""


def lane_budget(
    graph: FloatGraph, weight_bits: int = 8, optimize: Literal["run", "deploy"] = "run"
) -> dict[str, int]:
    """Lane bits by layer name: for convolutions the widest lanes that need no more words than lanes of 18 bits."""
    floor = FLOOR_CONV - max(0, 8 - weight_bits)
    dense = DENSE if optimize == "run" else DENSE_PACKED
    budget = {}
    for layer in graph.layers:
        budget[layer.name] = _conv_bits(layer, floor) if isinstance(layer.terms[0], Conv) else dense
    budget[graph.layers[-1].name] = WIDEST
    return budget


def _conv_bits(layer: FloatLayer, floor: int) -> int:
    convs = [t for t in layer.terms if isinstance(t, Conv)]
    kernel = int(max(max(c.pads[1] for c in convs) - c.pads[1] + c.weight.shape[3] for c in convs))
    pool = layer.pool or MaxPool((1, 1), (1, 1))
    bits = min(floor, WORD_BITS // kernel)
    words = chunks_of(layer.shape[2], bits, kernel, convs[0].stride[1], pool)
    while bits < WIDEST and chunks_of(layer.shape[2], bits + 1, kernel, convs[0].stride[1], pool) == words:
        bits += 1
    return bits
