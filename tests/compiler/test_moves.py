"""Moves between layouts: networks whose rows meet every case, and a build that ends where a move is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import export, random_bytes, randomise
from test_program import assert_right
from torch import nn

from fedvm.compiler import compile_model
from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.kernels import squash


def twice(width: int, rows: int = 4) -> nn.Module:
    """Convolution, ReLU and batch normalisation twice: layers that hand their words on at another lane width."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(3),
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4),
        nn.Flatten(), nn.Linear(4 * rows * width, 3),
    )  # fmt: skip


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("width", [13, 14, 15, 27, 28, 29, 31, 32, 33, 42, 43, 56, 70])
def test_rows_that_are_wider_than_their_readers_lanes(width):
    shape = (1, 4, width)
    module = randomise(twice(width), seed=width)
    data = random_bytes(shape, 12, seed=width)
    compiled = compile_model(export(module, shape), data)
    extremes = np.stack([np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)])
    assert_right(compiled, np.concatenate([data[:4], extremes]))


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_an_average_before_a_convolution(kernel):
    shape = (2, 6, 30)
    module = nn.Sequential(
        nn.AvgPool2d(kernel, stride=1),
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )
    module(torch.zeros(1, *shape))
    data = random_bytes(shape, 12, seed=kernel)
    assert_right(compile_model(export(randomise(module, kernel), shape), data), data[:6])


def wrong_targets(change):
    """`squash._targets` whose result is changed."""
    right = squash._targets

    def targets(view, columns):
        return change(view, right(view, columns))

    return targets


@pytest.mark.parametrize(
    "change",
    [
        lambda view, bits: {c: b - view.lane_bits if c == max(bits) else b for c, b in bits.items()},
        lambda view, bits: {c: b + c % 2 for c, b in bits.items()},
        lambda view, bits: {c: bits[min(bits)] if c == max(bits) else b for c, b in bits.items()},
    ],
    ids=["one column a lane off", "every second a bit off", "two columns in one lane"],
)
def test_a_wrong_move_ends_the_build_before_any_code_is_emitted(monkeypatch, change):
    monkeypatch.setattr(squash, "_targets", wrong_targets(change))
    shape = (1, 4, 28)
    with pytest.raises(AssemblyError, match=r"layer '\w+'|does not lie in the word"):
        compile_model(export(randomise(twice(28), 1), shape), random_bytes(shape, 8, seed=1))
