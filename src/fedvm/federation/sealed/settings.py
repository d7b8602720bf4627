"""The settings of sealed rounds."""

from __future__ import annotations

from typing import Annotated

from fedvm.protocol.sealed.bounds import LEAST_SECONDS, MOST_SECONDS
from fedvm.settings import Setting, settings


@settings
class SealedSettings:
    """Sealed rounds: nobody sees an update, everybody can check the sums of groups (docs/sealed.md).

    Off while `group_size` is 0. Fixed when the federation is created. With `privacy.noise_multiplier` every member adds
    noise to its group's sum.
    """

    group_size: Annotated[
        int,
        Setting(
            "Least members of a group, whose sum is what becomes known; 8 to 128, 0: rounds are open",
            ge=0,
            le=128,
        ),
    ] = 0
    epoch_rounds: Annotated[
        int, Setting("Rounds for which groups and keys stay", unit="rounds", ge=1, lt=2**16)
    ] = 20
    min_roster: Annotated[
        int | None,
        Setting("Fewer enrolled members fail an epoch", unset="`group_size` · `min_groups`", ge=8, lt=2**16),
    ] = None
    min_groups: Annotated[
        int, Setting("Fewer groups that count fail the round", unit="groups", ge=1, lt=2**16)
    ] = 1
    group_norm: Annotated[
        float,
        Setting(
            "Bound on the norm of a group's sum, as a share of the sum of its members' bounds", gt=0, le=1
        ),
    ] = 1.0
    assumed_corrupt: Annotated[
        int | None,
        Setting(
            "With `privacy.noise_multiplier`: members of a group that may act together with the coordinator; noise is "
            "added so that a sum has enough without theirs",
            unset="a quarter of `group_size`",
            ge=0,
            le=128,
        ),
    ] = None
    enrol_seconds: Annotated[
        int, Setting("Time in which members enrol for an epoch", unit="s", ge=LEAST_SECONDS, le=MOST_SECONDS)
    ] = 300
    key_seconds: Annotated[
        int,
        Setting(
            "Time after the draw in which keys are exchanged", unit="s", ge=LEAST_SECONDS, le=MOST_SECONDS
        ),
    ] = 300
    unmask_seconds: Annotated[
        int,
        Setting(
            "Time of a round that is kept for opening groups' sums; on a network its time to finality and 120 s",
            unit="s",
            ge=LEAST_SECONDS,
            le=MOST_SECONDS,
        ),
    ] = 120

    @property
    def corrupt(self) -> int:
        """`assumed_corrupt`, or what applies without it."""
        return self.group_size // 4 if self.assumed_corrupt is None else self.assumed_corrupt
