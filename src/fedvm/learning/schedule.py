"""How the learning rate changes from round to round."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fedvm.learning.errors import TrainingError, unknown_name
from fedvm.learning.settings import ScheduleName, TrainingSettings


@dataclass(frozen=True)
class Schedule:
    """A warm-up of `warmup` rounds, in equal steps up to the full rate, then one of:

    * `constant`;
    * `cosine`: half a cosine down towards the share `final` (I. Loshchilov and F. Hutter, arXiv:1608.03983);
    * `linear`: a straight line down towards the share `final`;
    * `step`: multiplied by `factor` every `every` rounds.

    The last round's rate is above the share `final`, which would be reached one round later.

    Raises:
        TrainingError: unknown name, or a value out of range.
    """

    name: str = TrainingSettings.schedule
    warmup: int = TrainingSettings.warmup_rounds
    final: float = TrainingSettings.final_lr
    every: int = TrainingSettings.step_rounds
    factor: float = TrainingSettings.step_factor

    @classmethod
    def of(cls, training: TrainingSettings) -> Schedule:
        """The schedule that a run's settings name."""
        return cls(
            training.schedule,
            training.warmup_rounds,
            training.final_lr,
            training.step_rounds,
            training.step_factor,
        )

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise TrainingError(unknown_name("learning-rate schedule", self.name, SCHEDULES))
        if self.warmup < 0 or self.every < 1:
            raise TrainingError(
                f"a schedule needs warmup ≥ 0 and every ≥ 1 rounds, got {self.warmup} and {self.every}"
            )
        if not 0 <= self.final <= 1 or not 0 < self.factor <= 1:
            raise TrainingError(
                f"a schedule needs 0 ≤ final ≤ 1 and 0 < factor ≤ 1, got {self.final} and {self.factor}"
            )

    def share(self, number: int, rounds: int) -> float:
        """The share of the full learning rate (0 < share ≤ 1) in round `number` (1 …) of `rounds`.

        Raises:
            TrainingError: there is no such round.
        """
        if not 1 <= number <= rounds:
            raise TrainingError(f"there is no round {number} among {rounds}")
        if number <= self.warmup:
            return number / (self.warmup + 1)
        return SCHEDULES[self.name](self, number - 1 - self.warmup, rounds - self.warmup)


def _cosine(schedule: Schedule, done: int, rounds: int) -> float:
    return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * done / rounds)) / 2


def _linear(schedule: Schedule, done: int, rounds: int) -> float:
    return schedule.final + (1 - schedule.final) * (1 - done / rounds)


def _step(schedule: Schedule, done: int, rounds: int) -> float:
    return float(schedule.factor ** (done // schedule.every))


# Each: (schedule, rounds done since the warm-up, rounds after the warm-up) -> share.
SCHEDULES: Mapping[str, Callable[[Schedule, int, int], float]] = MappingProxyType(
    {
        ScheduleName.CONSTANT: lambda schedule, done, rounds: 1.0,
        ScheduleName.COSINE: _cosine,
        ScheduleName.LINEAR: _linear,
        ScheduleName.STEP: _step,
    }
)
