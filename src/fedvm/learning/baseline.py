"""The comparison with training that is not federated: each client alone, and all data in one place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import numpy as np
from torch import nn

from fedvm.learning.data import ImageData
from fedvm.learning.errors import TrainingError
from fedvm.learning.partition import Indices, Partition
from fedvm.learning.schedule import Schedule
from fedvm.learning.settings import Recipe
from fedvm.learning.training import evaluate, train

Item = TypeVar("Item")
Value = TypeVar("Value")
Spread = Callable[[Callable[[Item], Value], Sequence[Item]], Iterable[Value]]
"""Like `map`, in whatever processes; values come in the order of the items."""


@dataclass(frozen=True)
class Course:
    """How the federation trains: `recipe` for one round, `schedule` of the rates over `rounds` rounds, of which
    `played` were played; tested after every `every` rounds and after the last one played.

    Raises:
        TrainingError: no round was played.
    """

    recipe: Recipe
    schedule: Schedule
    rounds: int
    played: int
    every: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.played <= self.rounds or self.every < 1:
            raise TrainingError(
                f"a course plays 1 to {self.rounds} rounds and tests after every 1 or more, not {self.played} and "
                f"{self.every}"
            )

    @property
    def tested(self) -> tuple[int, ...]:
        """The rounds that are tested."""
        rounds = range(1, self.played + 1)
        return tuple(number for number in rounds if number % self.every == 0 or number == self.played)


@dataclass(frozen=True)
class Curve:
    """Test accuracy (0..1) and mean test loss after each tested round of training on `examples` examples.

    client: the client whose examples they are, None for those of all clients.
    """

    client: int | None
    examples: int
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True)
class Baselines:
    """`central`: all clients' training examples together; `alone`: each of these clients' own, by its number."""

    central: Curve
    alone: tuple[Curve, ...]


def run_baselines(
    data: ImageData,
    partitions: Sequence[Partition],
    start: nn.Module,
    course: Course,
    *,
    clients: int,
    seed: int,
    device: str = "cpu",
    spread: Spread[int | None, Curve] = map,
    progress: Callable[[int, int], None] | None = None,
) -> Baselines:
    """Train without federating, otherwise as the federation does, and test.

    Initial weights, recipe, schedule and number of passes over a client's examples are the federation's, and the
    optimizer is reset each round, too. Validation examples are not used either, so that federating is the only
    difference.

    Args:
        start: the federation's initial network; left as it is.
        clients: how many train alone. If more clients have examples, that many are drawn, as `seed` decides.
        spread: runs the trainings.
        progress: called after each training with (trainings done, trainings).

    Raises:
        TrainingError: see `training.train`.
    """

    def curve(client: int | None) -> Curve:
        if client is None:
            together = np.sort(np.concatenate([part.train_indices for part in partitions]))
            return _curve(None, data, together, start, course, seed, device)
        return _curve(client, data, partitions[client].train_indices, start, course, seed, device)

    able = [number for number, part in enumerate(partitions) if len(part.train_indices)]
    chosen = np.random.default_rng((seed, 2)).permutation(able)[:clients]
    # All data first: if trainings run in parallel, the longest should not begin last.
    wanted: list[int | None] = [None, *sorted(int(client) for client in chosen)]
    curves = list(_counted(spread(curve, wanted), len(wanted), progress))
    return Baselines(curves[0], tuple(curves[1:]))


def _counted(
    curves: Iterable[Curve], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[Curve]:
    for done, curve in enumerate(curves, start=1):
        if progress is not None:
            progress(done, total)
        yield curve


def _curve(
    client: int | None,
    data: ImageData,
    indices: Indices,
    start: nn.Module,
    course: Course,
    seed: int,
    device: str,
) -> Curve:
    model, examples = copy.deepcopy(start), data.train.take(indices)
    accuracy: list[float] = []
    loss: list[float] = []
    for number in range(1, course.played + 1):
        rate = course.recipe.lr * course.schedule.share(number, course.rounds)
        train(
            model,
            examples.images,
            examples.labels,
            **asdict(replace(course.recipe, lr=rate)),
            normalisation=data.normalisation,
            device=device,
            seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]),
        )
        if number not in course.tested:
            continue
        result = evaluate(
            model,
            data.test.images,
            data.test.labels,
            criterion=course.recipe.criterion,
            normalisation=data.normalisation,
            device=device,
        )
        accuracy.append(result.accuracy)
        loss.append(result.loss)
    return Curve(client, len(examples), tuple(accuracy), tuple(loss))
