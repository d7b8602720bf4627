"""Rows and kernels that do not fit a word: how they are cut, and that the pieces compute the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_bench.inputs import hard_inputs
from graphs import draw_input
from hypothesis import given, settings
from hypothesis import strategies as st
from models import export, random_bytes, randomise
from onnxruntime import InferenceSession
from test_program import QUIET, assert_right, reference_scores
from torch import nn

from fedvm.compiler import compile_integer, compile_model, planning, tiling
from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.canonical import canonical
from fedvm.compiler.compiled import units_of
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import run
from fedvm.compiler.layout import ConvPlan, Plan, plan_layers
from fedvm.compiler.link import link, measured_steps
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.probe import Program
from fedvm.compiler.steps import Measured, Measurer
from fedvm.compiler.tiling import Rows, tile


@settings(max_examples=400, **QUIET)
@given(
    st.integers(1, 90), st.integers(3, 64), st.integers(1, 200), st.integers(1, 20), st.integers(1, 6),
    st.integers(1, 20),
)  # fmt: skip
def test_every_tap_of_every_output_has_one_word(width, lane_bits, kernel, stride, pooled, apart):
    pool = MaxPool((1, pooled), (1, apart))
    cut = tile(Rows(width, kernel, stride, pool), lane_bits)
    lanes = 256 // lane_bits
    if cut is None:
        assert lanes <= (pooled - 1) * stride
        return
    assert (cut.chunks - 1) * cut.columns < width <= cut.chunks * cut.columns
    step = cut.columns * apart * stride
    for chunk in range(cut.chunks):
        if cut.chunks > 1:
            assert (chunk * cut.advance) * cut.unit == chunk * step
        last = (cut.columns - 1) * apart * stride + (pooled - 1) * stride
        stretch = kernel if cut.segments == 1 else cut.unit
        assert last + stretch <= lanes  # the last tap of a stretch under the last column lies in the word
    assert cut.segments == 1 or (cut.segments - 1) * cut.unit < kernel <= cut.segments * cut.unit


def test_what_fits_a_word_is_not_cut():
    assert tile(Rows(28, 5), 18).segments == 1
    assert tile(Rows(1, 14), 18).segments == 1
    assert tile(Rows(1, 15), 18).segments == 2
    assert tile(Rows(4, 1), 18).products(1) == 1


def wide_sum(kernel: int, width: int, stride: int, pool: MaxPool | None, groups: int) -> IntegerGraph:
    """A convolution with a wide kernel beside one with a narrow one, then a dense layer."""
    rng = np.random.default_rng(kernel * 100 + width)
    columns = (width + 3 - kernel) // stride + 1
    wide = Conv(
        INPUT, rng.integers(-9, 10, (2, 2 // groups, 1, kernel)), (1, stride), (0, 2, 0, 1), 7, groups
    )
    right = (columns - 1) * stride + 2 - width
    narrow = Conv(INPUT, rng.integers(-9, 10, (2, 2, 1, 2)), (1, stride), (0, 0, 0, max(0, right)), 7)
    terms = (wide, narrow) if right >= 0 else (wide,)
    pooled = columns if pool is None else (columns - pool.kernel[1]) // pool.stride[1] + 1
    ones = np.ones(2)
    bias = rng.integers(-500, 500, 2)
    return IntegerGraph(
        draw_input((2, 2, width), "CHW"),
        (
            IntegerLayer("wide", terms, bias, np.array([9, 8]), (2, 2, pooled), ones, 0, 63, pool),
            IntegerLayer("scores", (Dense("wide", rng.integers(-9, 10, (3, 4 * pooled))),), np.zeros(3, np.int64),
                         np.zeros(3, np.int64), (3, 1, 1), np.ones(3), 0, None),
        ),
    )  # fmt: skip


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("pool", [None, MaxPool((1, 3), (1, 2))], ids=["plain", "pooled"])
@pytest.mark.parametrize(
    ("kernel", "width", "stride"),
    [(14, 40, 1), (15, 40, 1), (17, 17, 1), (24, 60, 1), (40, 70, 3), (33, 70, 17)],
)
def test_kernels_wider_than_a_word(kernel, width, stride, pool, groups):
    if pool is not None and (width + 3 - kernel) // stride + 1 < 3:
        pool = None
    graph = wide_sum(kernel, width, stride, pool, groups)
    inputs = hard_inputs(graph, 8, 0)
    assert_right(compile_integer(graph), inputs, run(graph, inputs))


def wide_pool(
    kernel: tuple[int, int], stride: tuple[int, int], width: int, pads=(0, 0, 0, 0)
) -> IntegerGraph:
    rng = np.random.default_rng(width)
    rows = (4 + pads[0] + pads[2] - kernel[0]) // stride[0] + 1
    columns = (width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1
    size = 2 * rows * columns
    return IntegerGraph(
        draw_input((1, 4, width), "CHW"),
        (
            IntegerLayer("pooled", (Conv(INPUT, rng.integers(-9, 10, (2, 1, 1, 1))),), np.array([800, 300]),
                         np.array([5, 4]), (2, rows, columns), np.ones(2), 0, 63, MaxPool(kernel, stride, pads)),
            IntegerLayer("scores", (Dense("pooled", rng.integers(-9, 10, (3, size))),), np.zeros(3, np.int64),
                         np.zeros(3, np.int64), (3, 1, 1), np.ones(3), 0, None),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "stride", "width", "pads"),
    [
        ((1, 11), (1, 1), 30, (0, 0, 0, 0)),
        ((2, 24), (2, 24), 24, (0, 0, 0, 0)),
        ((4, 61), (1, 1), 61, (0, 0, 0, 0)),
        ((1, 66), (1, 70), 70, (0, 0, 0, 0)),
        ((1, 60), (1, 20), 100, (0, 0, 0, 0)),
        ((2, 41), (1, 7), 66, (0, 0, 0, 0)),
        ((3, 40), (2, 40), 70, (1, 5, 1, 5)),
    ],
)
def test_pools_wider_than_a_word(kernel, stride, width, pads):
    graph = wide_pool(kernel, stride, width, pads)
    inputs = hard_inputs(graph, 8, 0)
    expected = run(graph, inputs)
    assert np.array_equal(run(canonical(graph), inputs), expected)
    assert_right(compile_integer(graph), inputs, expected)


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("columns", [21, 22, 23, 24, 25, 26, 28, 32, 33, 70, 500])
def test_averages_of_any_width_keep_the_model(columns):
    """Lanes that have to hold a whole window in one word left the weights no bits."""
    shape = (3, columns)
    module = nn.Sequential(
        nn.Conv1d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    data = random_bytes(shape, 48)
    model = export(randomise(module, 5), shape)
    compiled = compile_model(model, data)
    assert_right(compiled, data[:3])
    scale = np.asarray(compiled.manifest["output"]["scale"])
    wanted = InferenceSession(model).run(None, {"x": data.astype(np.float32)})[0]
    error = reference_scores(compiled, data) * scale - wanted
    assert np.sqrt((error**2).mean()) < 0.02 * wanted.std()


def test_readers_that_look_at_different_columns():
    """A strided convolution leaves columns out that a dense layer reads, whatever comes first."""
    for width in range(3, 36):
        rng = np.random.default_rng(width)
        columns = (width - 2) // 3 + 1
        graph = IntegerGraph(
            draw_input((1, 1, width), "CHW"),
            (
                IntegerLayer("a", (Conv(INPUT, rng.integers(-9, 10, (2, 1, 1, 1))),), np.array([800, 300]),
                             np.array([5, 4]), (2, 1, width), np.ones(2), 0, 63),
                IntegerLayer("b", (Conv("a", rng.integers(-9, 10, (2, 2, 1, 2)), (1, 3)),), np.array([800, 300]),
                             np.array([5, 4]), (2, 1, columns), np.ones(2), 0, 63),
                IntegerLayer("scores", (Dense("b", rng.integers(-9, 10, (3, 2 * columns))),
                                        Dense("a", rng.integers(-9, 10, (3, 2 * width)))), np.zeros(3, np.int64),
                             np.zeros(3, np.int64), (3, 1, 1), np.ones(3), 0, None),
            ),
        )  # fmt: skip
        inputs = hard_inputs(graph, 4, 0)
        assert_right(compile_integer(graph), inputs, run(graph, inputs))


def skipping(width: int, every: int, groups: int, pool: MaxPool | None, layout: str) -> IntegerGraph:
    """Convolutions of single columns that skip others, over the input and over a map that another reads whole."""
    rng = np.random.default_rng(width * every)
    columns, apart, bias = (width - 1) // every + 1, (every, every), np.array([800, 300])
    pooled = columns if pool is None else (columns - pool.kernel[1]) // pool.stride[1] + 1
    rows = 2 * every

    def conv(source, rows=1, taps=1, stride=(1, 1), pads=(0, 0, 0, 0), groups=1):
        return Conv(source, rng.integers(-9, 10, (2, 2 // groups, rows, taps)), stride, pads, 0, groups)

    def layer(name, terms, shape, pool=None):
        return IntegerLayer(name, terms, bias, np.array([5, 4]), shape, np.ones(2), 0, 63, pool)

    return IntegerGraph(
        draw_input((2, rows, width), layout),
        (
            layer("a", (conv(INPUT),), (2, rows, width)),
            layer("b", (conv(INPUT, 1, 1, apart, groups=groups), conv("a", 1, 1, apart)), (2, 2, pooled),
                  None if pool is None else MaxPool((1, pool.kernel[1]), (1, pool.stride[1]))),
            layer("c", (conv("a", 1, 3, (1, 1), (0, 1, 0, 1)),), (2, rows, width)),
            layer("d", (conv("a", 2, 1, apart),), (2, 2, columns)),
            IntegerLayer("scores", tuple(Dense(name, rng.integers(-9, 10, (3, 4 * size))) for name, size in
                                         (("b", pooled), ("d", columns), ("c", width * every))),
                         np.zeros(3, np.int64), np.zeros(3, np.int64), (3, 1, 1), np.ones(3), 0, None),
        ),
    )  # fmt: skip


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("layout", ["CHW", "HWC"])
@pytest.mark.parametrize(
    ("width", "every", "groups", "pool"),
    [(7, 2, 1, None), (29, 2, 2, None), (32, 2, 1, MaxPool((1, 2), (1, 2))), (40, 3, 1, None), (70, 3, 2, None),
     (33, 4, 1, MaxPool((1, 3), (1, 1)))],
)  # fmt: skip
def test_columns_that_no_reader_looks_at_take_no_lanes(width, every, groups, pool, layout, monkeypatch):
    graph = skipping(width, every, groups, pool, layout)
    plan = plan_layers(canonical(graph))
    views = {term.view for one in plan.layers if isinstance(one, ConvPlan) for term in one.terms}
    assert {view.every for view in views} == {1, every}
    monkeypatch.setattr(planning, "plan_layers", lambda graph, aim, *_, **__: plan_layers(graph, aim))
    inputs = hard_inputs(graph, 8, 0)
    assert_right(compile_integer(graph), inputs, run(graph, inputs))


# -- rows that share words --------------------------------------------------------------------------------------------


def rows_of_a_word(width: int, height: int, kernel: int, stride: int, pad: int, table: bool) -> IntegerGraph:
    """A convolution whose rows share words, read by a convolution, by a depthwise one and by a dense layer."""
    rng = np.random.default_rng(width + height)

    def layer(name, terms, shape, high: int | None = 31, shift=9):
        shifts = np.full(shape[0], shift if high else 0)
        bias = rng.integers(-99, 900, shape[0])
        entries = rng.integers(0, 32, 64) if table and name == "b" else None
        return IntegerLayer(name, terms, bias, shifts, shape, np.ones(shape[0]), 0, high, None, entries)

    def weights(*shape):
        return rng.integers(-60, 61, shape)

    side = (kernel - 1) // 2
    around = (side, side, side, side)
    rows, columns = (
        (height + 2 * side - kernel) // stride + 1,
        (width + 2 * side - kernel) // stride + 1,
    )
    first = Conv("a", weights(4, 3, kernel, kernel), (stride, stride), around, pad)
    second = Conv(INPUT, weights(4, 2, 1, 1), (stride, stride))
    both = (first, second) if rows == -(-height // stride) and columns == -(-width // stride) else (first,)
    size = rows * columns
    return IntegerGraph(
        draw_input((2, height, width), "HWC"),
        (
            layer("a", (Conv(INPUT, weights(3, 2, 1, 1)),), (3, height, width)),
            layer("b", both, (4, rows, columns)),
            layer("c", (Conv("b", weights(4, 1, 3, 3), pads=(1, 1, 1, 1), pad_value=7, groups=4),), (4, rows, columns)),
            layer("d", (Dense("b", weights(3, 4 * size)), Dense("c", weights(3, 4 * size))), (3, 1, 1), None),
        ),
    )  # fmt: skip


SHARED = {
    "pointwise": (3, 6, 1, 1, 0, False),
    "five rows": (2, 5, 1, 1, 0, True),
    "padded": (2, 4, 3, 1, 0, False),
    "padded with another value": (2, 4, 3, 1, 9, True),
    "strides that leave columns out": (6, 8, 1, 2, 0, False),
    "strides and padding": (5, 12, 3, 2, 5, False),
}


def measured(plan: Plan) -> tuple[list[Measured], Measurer]:
    measure = Measurer(plan)
    return measured_steps(plan, measure), measure


def planned(graph: IntegerGraph) -> dict[str, int]:
    plan = planning.plan_network(graph).plan
    return {one.layer.name: one.tiling.rows for one in plan.layers if isinstance(one, ConvPlan)}


@pytest.mark.parametrize("name", SHARED)
def test_rows_share_words(name, monkeypatch):
    graph = rows_of_a_word(*SHARED[name])
    monkeypatch.setattr(planning, "candidates", lambda graph, optimize: [(graph, optimize)])
    assert planned(graph)["b"] > 1
    inputs = hard_inputs(graph, 24, 0)
    together = compile_integer(graph)
    assert_right(together, inputs, run(graph, inputs))
    monkeypatch.setattr(tiling, "_together", lambda rows, lanes: (1, 0))
    assert set(planned(graph).values()) == {1}
    assert together.manifest["gas"]["evm"] < compile_integer(graph).manifest["gas"]["evm"]


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("wrong", [{"rows": 1}, {"rows": -1}, {"pitch": 1}, {"pitch": -1}])
def test_rows_that_lie_wrongly_are_found(name, wrong, monkeypatch):
    """A row more or less in a word, or a lane nearer or farther, ends the build or is as right."""
    monkeypatch.setattr(planning, "candidates", lambda graph, optimize: [(graph, optimize)])
    plan = planning.plan_network(rows_of_a_word(*SHARED[name])).plan
    number = next(i for i, one in enumerate(plan.layers) if one.layer.name == "b")
    layer = plan.layers[number]
    ((key, by),) = wrong.items()
    other = replace(layer, tiling=replace(layer.tiling, **{key: getattr(layer.tiling, key) + by}))
    broken = replace(plan, layers=(*plan.layers[:number], other, *plan.layers[number + 1 :]))
    try:
        prove_moves(broken)
    except AssemblyError:
        return
    # one row a word, or rows farther apart where lanes are to spare, are as good
    inputs = hard_inputs(plan.graph, 8, 0)
    program = Program(units_of(link(broken, *measured(broken)).contracts))
    found = [program.predict(row.tobytes())[0] for row in inputs]
    assert np.array_equal(found, run(plan.graph, inputs).reshape(8, -1))


@settings(max_examples=200, **QUIET)
@given(
    st.integers(1, 20), st.integers(1, 12), st.integers(1, 5), st.integers(1, 3), st.integers(8, 40), st.integers(0, 9)
)  # fmt: skip
def test_rows_together_fit_a_word(width, height, kernel, stride, lane_bits, more):
    reach = (width - 1) * stride + kernel
    found = tile(Rows(width, kernel, stride, height=height, extent=reach + more), lane_bits)
    assert found.rows == 1 or found.chunks == found.segments == 1
    assert height % found.rows == 0 and found.products(height) <= tile(
        Rows(width, kernel, stride), lane_bits
    ).products(height)
    if found.rows > 1:
        assert found.pitch == reach + more and (found.rows - 1) * found.pitch + reach <= 256 // lane_bits
