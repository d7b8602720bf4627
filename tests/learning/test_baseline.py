"""Training without federating: the federation's own course, each client alone and all data in one place."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fedvm.learning import baseline as baselines
from fedvm.learning.baseline import Course, run_baselines
from fedvm.learning.data import ImageData
from fedvm.learning.errors import TrainingError
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.partition import Partition, partition
from fedvm.learning.recipes import Recipe, default_recipe
from fedvm.learning.schedule import Schedule

CONSTANT = Schedule()


def few(data: ImageData, count: int) -> ImageData:
    """The data set with `count` training and 100 test images."""
    return replace(data, train=data.train.take(np.arange(count)), test=data.test.take(np.arange(100)))


@pytest.mark.slow
def test_all_data_beat_every_client_alone(mnist: ImageData) -> None:
    parts = partition(mnist.train.labels, 16, seed=0)
    start = build_model(ModelSpec.for_data("lenet", mnist), seed=0)
    before = copy.deepcopy(start.state_dict())
    seen: list[tuple[int, int]] = []
    result = run_baselines(
        mnist,
        parts,
        start,
        Course(default_recipe("mnist"), CONSTANT, rounds=3, played=1),
        clients=3,
        seed=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert result.central.examples == 4052 and result.central.client is None
    assert [one.examples for one in result.alone] == [
        len(parts[one.client or 0].train_indices) for one in result.alone
    ]
    assert result.central.accuracy[-1] > 0.9 > max(one.accuracy[-1] for one in result.alone) + 0.05
    assert seen == [(done, 4) for done in (1, 2, 3, 4)]
    assert all(torch.equal(before[name], tensor) for name, tensor in start.state_dict().items())


def test_every_client_trains_alone_or_a_draw_that_the_seed_decides(mnist: ImageData) -> None:
    data = few(mnist, 200)
    parts = [Partition(np.arange(n * 20, n * 20 + 15), np.arange(n * 20 + 15, n * 20 + 20)) for n in range(8)]
    parts[5] = Partition(np.array([], np.int64), np.arange(3))  # has nothing to train on
    start = build_model(ModelSpec.for_data("linear", data), seed=0)

    def alone(clients: int, seed: int) -> list[int | None]:
        course = Course(Recipe(), CONSTANT, rounds=1, played=1)
        return [
            one.client for one in run_baselines(data, parts, start, course, clients=clients, seed=seed).alone
        ]

    assert alone(16, 0) == [0, 1, 2, 3, 4, 6, 7]
    draws = [alone(3, seed) for seed in range(4)]
    assert all(len(set(draw)) == 3 and draw == sorted(draw, key=str) for draw in draws)
    assert alone(3, 2) == draws[2] and len({tuple(draw) for draw in draws}) > 1


def test_rounds_rates_and_passes_are_the_federation_s(
    mnist: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, trained = few(mnist, 60), []
    tests: list[int] = []
    real_train, real_test = baselines.train, baselines.evaluate

    def train(model: Any, images: Any, labels: Any, **settings: Any) -> Any:
        trained.append((len(images), settings["lr"], settings["epochs"], settings["seed"]))
        return real_train(model, images, labels, **settings)

    def evaluate(*arguments: Any, **settings: Any) -> Any:
        tests.append(len(trained))
        return real_test(*arguments, **settings)

    monkeypatch.setattr(baselines, "train", train)
    monkeypatch.setattr(baselines, "evaluate", evaluate)
    schedule = Schedule("cosine", warmup=1)
    course = Course(Recipe(epochs=2, lr=0.1), schedule, rounds=6, played=5, every=2)
    parts = [Partition(np.arange(40), np.arange(40, 60))]
    result = run_baselines(
        data, parts, build_model(ModelSpec.for_data("linear", data), seed=0), course, clients=1, seed=0
    )
    rates = [0.1 * schedule.share(number, 6) for number in range(1, 6)]
    assert [row[:3] for row in trained] == [(40, rate, 2) for rate in [*rates, *rates]]
    assert len({row[3] for row in trained[:5]}) == 5  # another order each round
    assert course.tested == (2, 4, 5) and tests == [2, 4, 5, 7, 9, 10]
    assert result.central.accuracy == result.alone[0].accuracy  # one client holds everything here


def test_the_trainings_can_be_spread(mnist: ImageData) -> None:
    data, seen = few(mnist, 60), []

    def spread(function: Any, items: Sequence[Any]) -> Iterator[Any]:
        seen.extend(items)
        return map(function, items)

    parts = [Partition(np.arange(20), np.arange(5)), Partition(np.arange(20, 40), np.arange(5))]
    start = build_model(ModelSpec.for_data("linear", data), seed=0)
    course = Course(Recipe(), CONSTANT, rounds=1, played=1)
    run_baselines(data, parts, start, course, clients=9, seed=0, spread=spread)
    assert seen == [None, 0, 1]


@pytest.mark.parametrize(("played", "every"), [(0, 1), (4, 1), (1, 0)])
def test_a_course_that_cannot_be_is_refused(played: int, every: int) -> None:
    with pytest.raises(TrainingError, match="plays 1 to 3 rounds"):
        Course(Recipe(), CONSTANT, rounds=3, played=played, every=every)
