"""How dense layers take activations out of words: whatever the numbers hold, their products are the weights'."""

from __future__ import annotations

import random
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from graphs import draw_input
from test_snapshot import integer_lenet

from fedvm.compiler import layout
from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer
from fedvm.compiler.kernels.rescale import channels_of, together
from fedvm.compiler.layout import ConvPlan, DensePlan, plan_layers
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.scalars import MODULUS, PRODUCT, Scalar, input_offset, scalars_of

WORD = 32


def layer(name, term, shape, high: int | None, shift=6):
    outputs = shape[0]
    return IntegerLayer(
        name, (term,), np.arange(outputs) * 7, np.full(outputs, 0 if high is None else shift), shape, np.ones(outputs),
        0, high, None,
    )  # fmt: skip


def dense_plan(graph: IntegerGraph, name: str) -> DensePlan:
    (plan,) = (one for one in plan_layers(graph).layers if one.layer.name == name)
    assert isinstance(plan, DensePlan)
    return plan


def number(scalar: Scalar, memory: bytes) -> int:
    """What the code leaves on the stack."""
    word = int.from_bytes((memory + bytes(WORD))[scalar.offset : scalar.offset + WORD], "big")
    value = (word & scalar.only if scalar.only else word) >> scalar.shift
    return value & scalar.keep if scalar.keep else value


def sums(plan: DensePlan, memory: bytes) -> list[int]:
    total = [0] * plan.words
    for scalar in plan.scalars:
        for word, weight in enumerate(scalar.weights):
            total[word] += number(scalar, memory) * weight
    return [one % MODULUS for one in total]


def wanted(plan: DensePlan, values: list[int]) -> list[int]:
    (words,) = plan.weight_words
    return [
        sum(value * element[word] for value, element in zip(values, words, strict=True)) % MODULUS
        for word in range(plan.words)
    ]


def of_bytes(unused: set[int], layout_: str = "CHW") -> DensePlan:
    rng = np.random.default_rng(1)
    weight = rng.integers(-100, 100, (30, 2 * 5 * 9))
    weight[:, sorted(unused)] = 0
    graph = IntegerGraph(
        draw_input((2, 5, 9), layout_), (layer("scores", Dense(INPUT, weight), (30, 1, 1), None),)
    )
    return dense_plan(graph, "scores")


@pytest.mark.parametrize("layout_", ["CHW", "HWC"])
@pytest.mark.parametrize(
    "unused", [set(), {0}, {89}, {3, 40, 41, 42}, set(range(10, 90, 2)), set(range(50))], ids=len
)
def test_bytes_of_the_input(unused, layout_):
    plan, rng = of_bytes(unused, layout_), random.Random(len(unused))
    for memory in (rng.randbytes(90), b"\xff" * 90, bytes(90)):
        values = [memory[input_offset(plan.raw, element)] for element in range(90)]
        assert sums(plan, memory) == wanted(plan, values)


def test_a_byte_takes_one_load():
    plan = of_bytes(set())
    assert len(plan.scalars) == 90
    assert all(not scalar.shift for scalar in plan.scalars[WORD - 1 :])
    assert not any(scalar.keep or scalar.only for scalar in plan.scalars)


def test_lanes_of_a_convolution_and_of_a_dense_layer():
    graph, rng = integer_lenet(), random.Random(3)
    for name in ("fc1", "fc2", "fc3"):
        plan = dense_plan(graph, name)
        ((dense, view, high),) = plan.terms
        assert view is not None
        count = dense.weight.shape[1]
        for values in ([rng.randrange(high + 1) for _ in range(count)], [high] * count):
            memory = bytearray(view.bytes)
            for element, value in enumerate(values):
                offset, bit = view.locate(element)
                word = int.from_bytes(memory[offset : offset + WORD], "big") | value << bit
                memory[offset : offset + WORD] = word.to_bytes(WORD, "big")
            assert sums(plan, bytes(memory)) == wanted(plan, values)
        loaded = [
            one
            for one, before in zip(plan.scalars[1:], plan.scalars, strict=False)
            if not one.follows(before)
        ]
        assert len(loaded) + 1 == view.bytes // WORD, "a word is loaded more than once"


def test_lanes_are_cut_out_where_weights_are_mostly_zero():
    """The lanes above would take products of their own."""
    rng = np.random.default_rng(2)
    weight = rng.integers(-50, 50, (60, 30))
    weight[rng.random((60, 30)) < 0.97] = 0
    graph = IntegerGraph(
        draw_input((1, 1, 20), "CHW"),
        (
            layer("hidden", Dense(INPUT, rng.integers(-50, 50, (30, 20))), (30, 1, 1), 15, shift=12),
            layer("scores", Dense("hidden", weight), (60, 1, 1), None),
        ),
    )
    plan = dense_plan(graph, "scores")
    used = sum(1 for element in plan.weight_words[0] for word in element if word)
    assert PRODUCT * sum(scalar.products for scalar in plan.scalars) <= PRODUCT * used + 9 * len(plan.scalars)
    prove_moves(plan_layers(graph))


@pytest.mark.parametrize("what", ["weights", "shift", "only", "missing"])
def test_wrong_numbers_end_the_build(what):
    graph = integer_lenet()

    def wrong(*arguments):
        found = scalars_of(*arguments)
        at = len(found) // 2
        other = {
            "weights": replace(found[at], weights=(found[at].weights[0] ^ 1 << 77, *found[at].weights[1:])),
            "shift": replace(found[at], shift=found[at].shift + 1),
            "only": replace(found[at], only=1),
            "missing": replace(found[at], weights=(0,) * len(found[at].weights)),
        }[what]
        return [*found[:at], other, *found[at + 1 :]]

    with mock.patch.object(layout, "scalars_of", wrong):
        plan = plan_layers(graph)
        with pytest.raises(AssemblyError, match=r"layer 'fc1': (activation|a number)"):
            prove_moves(plan)


# -- channels that share words ----------------------------------------------------------------------------------------


def conv_plan(high: int, spread: int) -> ConvPlan:
    """weights up to `spread`; outputs up to `high`."""
    rng = np.random.default_rng(4)
    conv = Conv(INPUT, rng.integers(-spread, spread + 1, (5, 2, 3, 3)))
    bits = (18 * spread * 255).bit_length()
    graph = IntegerGraph(
        draw_input((2, 6, 20), "CHW"),
        (
            layer("conv", conv, (5, 4, 18), high, shift=bits - high.bit_length() - 1),
            layer("scores", Dense("conv", rng.integers(-9, 9, (3, 360))), (3, 1, 1), None),
        ),
    )
    plan = plan_layers(graph).layers[0]
    assert isinstance(plan, ConvPlan)
    prove_moves(plan_layers(graph))
    return replace(plan, requant=plan.requant.unlifted)


def test_two_channels_share_words_where_lanes_have_room():
    plan = conv_plan(high=7, spread=60)
    shared = channels_of(plan, range(5), paired=True)
    assert [channels.outputs for channels in shared] == [(0, 1), (2, 3), (4,)]
    for channels in shared[:2]:
        bits, (_, up) = channels.shape.bits, channels.shape.beside
        assert bits < up and up + bits < plan.lane_bits, "no free bit above each value"
    assert all(len(channels.outputs) == 1 for channels in channels_of(plan, range(5), paired=False))


def test_channels_of_many_bits_have_words_of_their_own():
    plan = conv_plan(high=255, spread=20)
    assert together(plan, 0, 1) is None
