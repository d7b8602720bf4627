"""The comparison every federation owes: one client alone, and all data in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from fedvm.learning.data import ImageData, Split
from fedvm.learning.errors import PartitionError
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.partition import Partition
from fedvm.learning.recipes import Recipe
from fedvm.learning.training import evaluate, train


@dataclass(frozen=True)
class Curve:
    """Test accuracy (0..1) and mean test loss after each epoch of training on `examples` examples."""

    name: str
    examples: int
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True)
class Baselines:
    """`alone`: one client's training examples only; `central`: those of all clients together."""

    alone: Curve
    central: Curve


def run_baselines(
    data: ImageData,
    partitions: Sequence[Partition],
    spec: ModelSpec,
    recipe: Recipe,
    *,
    epochs: int,
    seed: int,
    client: int = 0,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> Baselines:
    """Train centrally, with the federation's own recipe and initial weights, and test after each epoch.

    Validation examples stay unused, as in the federation, so that only the federating differs.

    Args:
        epochs: passes over the data (the recipe's own count is for one round).
        client: whose data the first baseline uses.
        progress: called after each epoch with (curve's name, epochs done, epochs).

    Raises:
        PartitionError: there is no such client.
        TrainingError: see `training.train`.
    """
    if not 0 <= client < len(partitions):
        raise PartitionError(f"there is no client {client}; there are {len(partitions)}")
    together = np.sort(np.concatenate([part.train_indices for part in partitions]))
    shares = {"alone": partitions[client].train_indices, "central": together}
    curves = {
        name: _curve(name, data, data.train.take(indices), spec, recipe, epochs, seed, device, progress)
        for name, indices in shares.items()
    }
    return Baselines(**curves)


def _curve(
    name: str,
    data: ImageData,
    examples: Split,
    spec: ModelSpec,
    recipe: Recipe,
    epochs: int,
    seed: int,
    device: str,
    progress: Callable[[str, int, int], None] | None,
) -> Curve:
    model = build_model(spec, seed=seed)
    accuracy: list[float] = []
    loss: list[float] = []

    def measure(done: int, total: int) -> None:
        result = evaluate(
            model,
            data.test.images,
            data.test.labels,
            criterion=recipe.criterion,
            normalisation=data.normalisation,
            device=device,
        )
        accuracy.append(result.accuracy)
        loss.append(result.loss)
        if progress is not None:
            progress(name, done, total)

    train(
        model,
        examples.images,
        examples.labels,
        **asdict(replace(recipe, epochs=epochs)),
        normalisation=data.normalisation,
        device=device,
        seed=seed,
        progress=measure,
    )
    return Curve(name, len(examples), tuple(accuracy), tuple(loss))
