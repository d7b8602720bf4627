"""Rows and kernels that do not fit a word: how they are cut, and that the pieces compute the same."""

from __future__ import annotations

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

from fedvm.compiler import compile_integer, compile_model
from fedvm.compiler.canonical import canonical
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import run
from fedvm.compiler.tiling import NO_POOL, tile


@settings(max_examples=400, **QUIET)
@given(
    st.integers(1, 90), st.integers(3, 64), st.integers(1, 200), st.integers(1, 20), st.integers(1, 6),
    st.integers(1, 20),
)  # fmt: skip
def test_every_tap_of_every_output_has_one_word(width, lane_bits, kernel, stride, pooled, apart):
    pool = MaxPool((1, pooled), (1, apart))
    tiling = tile(width, lane_bits, kernel, stride, pool)
    lanes = 256 // lane_bits
    if tiling is None:
        assert lanes <= (pooled - 1) * stride
        return
    assert (tiling.chunks - 1) * tiling.columns < width <= tiling.chunks * tiling.columns
    step = tiling.columns * apart * stride
    for chunk in range(tiling.chunks):
        if tiling.chunks > 1:
            assert (chunk * tiling.advance) * tiling.unit == chunk * step
        last = (tiling.columns - 1) * apart * stride + (pooled - 1) * stride
        stretch = kernel if tiling.segments == 1 else tiling.unit
        assert last + stretch <= lanes  # the last tap of a stretch under the last column lies in the word
    assert (
        tiling.segments == 1 or (tiling.segments - 1) * tiling.unit < kernel <= tiling.segments * tiling.unit
    )


def test_what_fits_a_word_is_not_cut():
    assert tile(28, 18, 5, 1).segments == 1
    assert tile(1, 18, 14, 1).segments == 1
    assert tile(1, 18, 15, 1).segments == 2
    assert tile(4, 18, 1, 1, NO_POOL).products == 1


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
