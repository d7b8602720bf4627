"""Two rows of sums made together are the sums of either row, to the bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.canonical import canonical
from fedvm.compiler.compile import compile_integer
from fedvm.compiler.filtering import ROWS, Product, can_filter, is_exact, products, scale_of
from fedvm.compiler.graph import INPUT, Conv, Input, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.layout import ConvPlan, plan_layers
from fedvm.compiler.link import link, measured_steps
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.planning import plan_network
from fedvm.compiler.steps import Measurer


def network(
    kernel: int, channels: int, outputs: int, pool: MaxPool | None, residual: bool = False, stride: int = 1
) -> IntegerGraph:
    """A convolution of `kernel` rows, with a shortcut if `residual`, and one that reads it."""
    rng = np.random.default_rng(kernel)
    shape = (channels, 13 * stride + kernel, 8 * stride + 3)
    height, width = 14, 9
    terms = [Conv(INPUT, rng.integers(-60, 61, (outputs, channels, kernel, 3)), (stride, stride))]
    if residual:
        pads = ((kernel - 1) // 2, 1, kernel - 1 - (kernel - 1) // 2, 1)
        shape, height, width = (channels, 14, 11), 14, 11
        terms = [replace(terms[0], pads=pads), Conv(INPUT, np.full((channels, 1, 1, 1), 16), groups=channels)]
    pooled = (height // 2, width // 2) if pool else (height, width)
    first = IntegerLayer(
        "first",
        tuple(terms),
        rng.integers(-500, 500, outputs),
        np.full(outputs, 7),
        (outputs, *pooled),
        np.ones(outputs),
        high=63,
        pool=pool,
    )
    scores = Conv("first", rng.integers(-9, 10, (2, outputs, *pooled)))
    still = np.zeros(2, np.int64)
    last = IntegerLayer("last", (scores,), still, still, (2, 1, 1), np.ones(2), high=None)
    spec = Input(shape, "CHW", shape, np.ones(channels), np.zeros(channels))
    return IntegerGraph(spec, (first, last))


@pytest.mark.parametrize("kernel, scale, stride", product(range(1, 10), (1, 2), (1, 2, 3)))
def test_products_make_both_sums_and_are_fewer(kernel, scale, stride):
    found = products(kernel, scale, stride)
    assert is_exact(found, kernel, scale, stride)
    pairs = sum(len(range(first, kernel, stride)) // 2 for first in range(stride))
    assert len(found) <= ROWS * kernel - pairs
    if (scale, kernel, stride) == (2, 3, 1):
        assert len(found) == 4
    rng = np.random.default_rng(0)
    x, g = rng.integers(-99, 99, kernel + stride), rng.integers(-99, 99, kernel)
    made = [
        sum(
            p.into[i] * sum(s * x[r] for r, s in p.rows) * sum(k * w for k, w in zip(p.taps, g, strict=True))
            for p in found
        )
        for i in range(ROWS)
    ]
    assert made == [scale * int(g @ x[i * stride : i * stride + kernel]) for i in range(ROWS)]


def test_other_products_are_not_exact():
    found = products(5, 2)
    for at, made in enumerate(found):
        for wrong in (
            replace(made, into=(made.into[1], -made.into[0])),
            replace(made, rows=tuple((row + 1, sign) for row, sign in made.rows)),
            replace(made, taps=tuple(2 * tap for tap in made.taps)),
        ):
            assert not is_exact([*found[:at], wrong, *found[at + 1 :]], 5, 2)
    assert not is_exact([*found, Product(((0, 1),), (1, 0, 0, 0, 0), (1, 0))], 5, 2)
    assert not is_exact(found, 5, 2, stride=2)


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(
    "kernel, channels, outputs, pool, residual, stride",
    [
        (2, 3, 4, None, False, 1), (3, 5, 3, None, False, 1), (3, 16, 4, MaxPool((2, 2), (2, 2)), False, 1),
        (5, 3, 6, MaxPool((2, 2), (2, 2)), False, 1), (3, 4, 4, None, True, 1), (7, 2, 2, None, False, 1),
        (3, 5, 3, None, False, 2), (5, 3, 4, None, False, 2), (7, 2, 3, MaxPool((2, 2), (2, 2)), False, 3),
    ],
)  # fmt: skip
def test_pairs_of_rows_have_the_scores_of_the_reference(
    kernel, channels, outputs, pool, residual, stride, monkeypatch
):
    """`compile_integer` runs the program in revm against ONNX Runtime, on extremes too."""
    graph = network(kernel, channels, outputs, pool, residual, stride)
    layout = plan_layers(canonical(graph))
    first = layout.layers[0]
    assert isinstance(first, ConvPlan) and can_filter(first)
    forced = replace(layout, layers=(replace(first, filtered=True), *layout.layers[1:]))
    prove_moves(forced)

    def planned(*_):
        measure = Measurer(forced)
        return replace(
            plan_network(graph), plan=forced, steps=measured_steps(forced, measure), measure=measure
        )

    monkeypatch.setattr("fedvm.compiler.compile.plan_network", planned)
    compiled = compile_integer(graph)
    assert compiled.manifest["gas"]["evm"] == link(forced, planned().steps, planned().measure).gas


def test_the_cheaper_way_is_taken():
    graph = network(3, 16, 8, None)
    layout = plan_layers(canonical(graph))
    measure = Measurer(layout)
    plain = link(layout, measured_steps(layout, measure), measure).gas
    assert plan_network(graph).gas < plain
    assert any(isinstance(layer, ConvPlan) and layer.filtered for layer in plan_network(graph).plan.layers)


def test_lanes_without_a_bit_above_them_are_not_doubled():
    first = plan_layers(canonical(network(3, 4, 4, None))).layers[0]
    assert isinstance(first, ConvPlan) and scale_of(first) == 2
    tight = replace(first, requant=replace(first.requant, need=256 - first.lane_bits * (first.lanes - 1)))
    assert scale_of(tight) == 1


def test_rows_that_make_no_pairs_are_refused_by_the_proof():
    layout = plan_layers(canonical(network(1, 4, 4, None)))
    first = layout.layers[0]
    assert isinstance(first, ConvPlan) and not can_filter(first)
    with pytest.raises(AssemblyError, match="cannot be made in pairs"):
        prove_moves(replace(layout, layers=(replace(first, filtered=True), *layout.layers[1:])))
