"""The accountant of differential privacy: what the updates that a client has sent have spent, and its budget.

Rounds compose by Rényi differential privacy (I. Mironov, arXiv:1702.07476), computed with Opacus. There is no
amplification by subsampling: who takes part is public.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedvm.federation.errors import BUDGET_SPENT, PrivacyBudgetSpent, SettingsError
from fedvm.federation.settings import PrivacySettings

_ORDERS = [1 + step / 100 for step in range(1, 1000)] + list(range(11, 257))
"""Rényi orders; the low ones are the best where there is little noise."""
_LEAST_NOISE, _MOST_NOISE = 1e-3, 1e6
"""A single update costs ε = 2 · 10^6 with the one, and with the other what δ alone makes of it."""
_MOST_DELTA = 1e-3
"""With more the conversion from Rényi divergence would give a negative ε at the greatest order."""


@dataclass(frozen=True)
class Releases:
    """Updates that a client has sent, each counted as if it had the least noise of them all: a client's settings can
    change from one to the next.

    count: how many. noise_multiplier: the least of theirs. excess: the greatest of theirs, as for
    `PrivacyBudget.epsilon`.

    Raises:
        ValueError: no updates can be counted like that.
    """

    count: int
    noise_multiplier: float
    excess: float = 0.0

    def __post_init__(self) -> None:
        if not (self.count >= 0 and self.noise_multiplier >= _LEAST_NOISE and 0 <= self.excess < math.inf):
            raise ValueError(f"{self} counts no updates: restore the state that the client kept")


@dataclass(frozen=True)
class PrivacyBudget:
    """Gaussian noise, and how much of it an observer may see. Two updates of a client, clipped to `clip`, differ by at
    most 2 · clip, whatever its data are. So noise of the standard deviation noise_multiplier · clip is a Gaussian
    mechanism with σ/Δ = noise_multiplier / 2.

    noise_multiplier: 10^−3 to 10^6; delta: the δ of (ε, δ), at most 10^−3; max_epsilon: the budget, None for no limit.

    Raises:
        SettingsError: a value is out of range, or the budget does not allow a single update.
    """

    clip: float
    noise_multiplier: float
    delta: float = PrivacySettings.delta
    max_epsilon: float | None = PrivacySettings.max_epsilon

    def __post_init__(self) -> None:
        if not 0 < self.clip < math.inf:
            raise SettingsError(f"privacy needs a positive clip, got {self.clip}")
        if not _LEAST_NOISE <= self.noise_multiplier <= _MOST_NOISE:
            raise SettingsError(
                f"privacy needs a noise_multiplier from {_LEAST_NOISE:g} to {_MOST_NOISE:g}, got "
                f"{self.noise_multiplier}"
            )
        if not 0 < self.delta <= _MOST_DELTA:
            raise SettingsError(
                f"delta must be above 0 and at most {_MOST_DELTA:g}, got {self.delta}; 1e-5 is usual"
            )
        if self.max_epsilon is not None and not 0 < self.max_epsilon < math.inf:
            raise SettingsError(
                f"max_epsilon must be a positive number, or None for no limit, got {self.max_epsilon}"
            )
        if self.max_epsilon is not None and self.epsilon(1) > self.max_epsilon:
            raise SettingsError(
                f"a single update costs ε = {self.epsilon(1):.3g}, more than the budget of {self.max_epsilon:g}: "
                "raise noise_multiplier or max_epsilon"
            )

    def epsilon(self, releases: int, excess: float = 0.0) -> float:
        """The ε that a client has spent after this many updates with this noise; 0 if there were none. excess: what is
        added to the Rényi divergence of one update, at every order, since its noise is not quite Gaussian."""
        return _epsilon(self.noise_multiplier / 2, releases, self.delta, excess)

    def one_more(self, before: Releases | None, round_: int, excess: float = 0.0) -> Releases:
        """The updates that a client will have sent with one in a round, counted from 1. before: those before it, None
        if the client does not know; then one in every round before, with the noise and excess of this one."""
        if before is None:
            return Releases(round_, self.noise_multiplier, excess)
        return Releases(
            before.count + 1,
            min(before.noise_multiplier, self.noise_multiplier),
            max(before.excess, excess),
        )

    def spend(self, releases: Releases) -> float:
        """The ε that a client will have spent with the last of these updates.

        Raises:
            PrivacyBudgetSpent: that is more than the budget.
        """
        spent = _epsilon(releases.noise_multiplier / 2, releases.count, self.delta, releases.excess)
        if self.max_epsilon is not None and spent > self.max_epsilon:
            raise PrivacyBudgetSpent(
                f"this client's {BUDGET_SPENT}: update {releases.count} would bring ε to {spent:.4g}, "
                f"the budget is {self.max_epsilon:g}"
            )
        return spent


@lru_cache(maxsize=4096)
def _epsilon(noise_over_sensitivity: float, releases: int, delta: float, excess: float) -> float:
    if releases == 0:
        return 0.0
    from opacus.accountants.analysis import rdp  # takes seconds to import, and only privacy needs it

    divergence = rdp.compute_rdp(
        q=1.0,  # the whole data in every round
        noise_multiplier=noise_over_sensitivity,
        steps=releases,
        orders=_ORDERS,
    )
    epsilon, _ = rdp.get_privacy_spent(
        orders=_ORDERS, rdp=np.asarray(divergence) + releases * excess, delta=delta
    )
    return float(epsilon)
