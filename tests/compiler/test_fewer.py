"""Whoever asks for less pays no more: fewer bits take no more words, and small code is no longer than fast code."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from graphs import big_network
from models import CASES, export, random_bytes, randomise
from test_snapshot import integer_lenet
from test_verify import network

from fedvm.compiler import CompileOptions, compile_integer
from fedvm.compiler.defaults import Optimize
from fedvm.compiler.frontend import load_graph
from fedvm.compiler.graph import Conv, FloatGraph, IntegerGraph
from fedvm.compiler.link import link
from fedvm.compiler.planning import plan_network
from fedvm.compiler.policy import conv_work, lane_budget
from fedvm.compiler.quantize import QuantizeOptions, quantize
from fedvm.compiler.tiling import WORD_BITS


def cost(graph: IntegerGraph, optimize: Optimize) -> tuple[int, int]:
    """(gas, bytes of all contracts)"""
    planned = plan_network(graph, optimize)
    program = link(planned.plan, planned.steps, planned.measure)
    return program.gas, sum(len(contract.code) for contract in program.contracts)


def lowered(name: str) -> FloatGraph:
    make, shape = CASES[name]
    return load_graph(export(randomise(make(), 3), shape), preprocess=(1 / 255, 0.0))


def with_bits(graph: IntegerGraph, bits: int) -> IntegerGraph:
    """The network with fewer bits of each layer's outputs, and the same weights."""
    high = (1 << bits) - 1
    layers = [layer if layer.high is None else replace(layer, high=high) for layer in graph.layers]
    return replace(graph, layers=tuple(layers))


@pytest.mark.parametrize("name", CASES)
def test_fewer_activation_bits_take_no_more_words(name):
    graph = lowered(name)
    work = [
        {
            layer.name: conv_work(graph, layer, bits[layer.name])
            if isinstance(layer.terms[0], Conv)
            else -(-layer.shape[0] // (WORD_BITS // bits[layer.name]))
            for layer in graph.layers
        }
        for bits in (lane_budget(graph, count) for count in range(8, 0, -1))
    ]
    for more, fewer in pairwise(work):
        assert all(fewer[layer] <= more[layer] for layer in more), (more, fewer)


@pytest.mark.slow
@pytest.mark.parametrize("make", [network, integer_lenet])
def test_fewer_activation_bits_take_no_more_gas(make):
    """But for some gas of longer or shorter constants, and for the upper bound, which 8 bits may not need."""
    gas = [cost(with_bits(make(), bits), "run")[0] for bits in (6, 5, 4, 3, 2, 1)]
    assert all(fewer <= more * 1.001 for more, fewer in pairwise(gas)), gas


@pytest.mark.slow
@pytest.mark.parametrize("make", [network, integer_lenet, big_network])
def test_small_code_of_integers_is_not_longer(make):
    assert cost(make(), "deploy")[1] <= cost(make(), "run")[1]


@pytest.mark.parametrize("name", ["perceptron", "one_dimensional", "lenet", "shuffle"])
def test_small_code_of_models_is_not_longer(name):
    graph = lowered(name)
    integer = quantize(
        graph, random_bytes(CASES[name][1], 32), QuantizeOptions(activation_bits=6, lane_bits=18)
    )
    assert cost(integer, "deploy")[1] <= cost(integer, "run")[1]


def test_weights_may_have_other_bits_in_each_layer():
    graph = lowered("perceptron")
    names = [layer.name for layer in graph.layers]
    bits = dict(zip(names, (2, 5, 3), strict=True))
    integer = quantize(graph, random_bytes(CASES["perceptron"][1], 32), QuantizeOptions(weight_bits=bits))
    for layer in integer.layers:
        largest = max(abs(term.weight).max() for term in layer.terms)
        assert 1 << (bits[layer.name] - 2) <= largest < 1 << (bits[layer.name] - 1)
    compiled = compile_integer(integer, options=CompileOptions(weight_bits=bits, optimize="deploy"))
    assert compiled.manifest["options"]["weight_bits"] == bits
