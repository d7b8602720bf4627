"""How a client trains."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedvm.learning.schedule import Schedule


@dataclass(frozen=True)
class TrainingSettings:
    """What a client does in one round; names as in `fedvm.learning.training.train`.

    schedule: how `lr` changes over the rounds; the server tells clients each round's rate.
    """

    epochs: int = 1
    batch_size: int = 16
    optimizer: str = "nesterov"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 0.0
    criterion: str = "cross_entropy"
    augmentation: str = "none"
    device: str = "cpu"
    schedule: Schedule = field(default_factory=Schedule)
