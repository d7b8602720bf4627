"""The learning rate from round to round."""

from __future__ import annotations

import pytest

from fedvm.learning.errors import TrainingError
from fedvm.learning.schedule import SCHEDULES, Schedule


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        (Schedule(), [1, 1, 1, 1]),
        (Schedule("constant", warmup=3), [0.25, 0.5, 0.75, 1]),
        (Schedule("cosine"), [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        (Schedule("cosine", final=0.2), [1, 0.2 + 0.4 * (1 + 0.5**0.5), 0.6, 0.2 + 0.4 * (1 - 0.5**0.5)]),
        (Schedule("linear", warmup=1), [0.5, 1, 2 / 3, 1 / 3]),
        (Schedule("linear", final=0.5), [1, 0.875, 0.75, 0.625]),
        (Schedule("step", every=2, factor=0.1), [1, 1, 0.1, 0.1]),
        (Schedule("step", warmup=1, every=1, factor=0.5), [0.5, 1, 0.5, 0.25]),
    ],
)
def test_courses(schedule: Schedule, shares: list[float]) -> None:
    assert [schedule.share(number, 4) for number in (1, 2, 3, 4)] == pytest.approx(shares)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("warmup", [0, 2, 5])
def test_every_round_learns_and_none_faster_than_the_full_rate(name: str, warmup: int) -> None:
    schedule = Schedule(name, warmup=warmup)
    for rounds in (1, 2, 5, 50):
        assert all(0 < schedule.share(number, rounds) <= 1 for number in range(1, rounds + 1))


def test_errors() -> None:
    with pytest.raises(TrainingError, match="did you mean 'cosine'"):
        Schedule("cosin")
    for change in ({"warmup": -1}, {"every": 0}, {"final": 1.5}, {"factor": 0.0}):
        with pytest.raises(TrainingError, match="a schedule needs"):
            Schedule("step", **change)  # type: ignore[arg-type]
    for number in (0, 4):
        with pytest.raises(TrainingError, match=f"no round {number} among 3"):
            Schedule().share(number, 3)
