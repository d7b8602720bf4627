"""How to train: one record of hyperparameters, and measured defaults per data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one client's round; each field is the argument of the same name of `training.train`.

    `train(model, images, labels, **asdict(recipe), seed=…)` uses one. Values are checked there.
    """

    epochs: int = 1
    batch_size: int = 16
    optimizer: str = "nesterov"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 0.0
    criterion: str = "cross_entropy"
    augmentation: str = "none"


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "mnist": Recipe(epochs=3),
        "fashion-mnist": Recipe(),
        "cifar10": Recipe(),
    }
)


def default_recipe(dataset: str) -> Recipe:
    """The measured recipe for a data set, or a sound general one."""
    return RECIPES.get(dataset.lower(), Recipe())
