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


@dataclass(frozen=True)
class PrivacyBudget:
    """Gaussian noise, and how much of it an observer may see. Two updates of a client, clipped to `clip`, differ by at
    most 2 · clip, whatever its data are. So noise of the standard deviation noise_multiplier · clip is a Gaussian
    mechanism with σ/Δ = noise_multiplier / 2.

    delta: the δ of (ε, δ); max_epsilon: the budget, None for no limit.

    Raises:
        SettingsError: a value is out of range, or the budget does not allow a single update.
    """

    clip: float
    noise_multiplier: float
    delta: float = PrivacySettings.delta
    max_epsilon: float | None = PrivacySettings.max_epsilon

    def __post_init__(self) -> None:
        for name in ("clip", "noise_multiplier"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"privacy needs a positive {name}, got {getattr(self, name)}")
        if not 0 < self.delta < 1:
            raise SettingsError(f"delta must be between 0 and 1, got {self.delta}")
        if self.max_epsilon is not None and self.epsilon(1) > self.max_epsilon:
            raise SettingsError(
                f"a single update costs ε = {self.epsilon(1):.3g}, more than the budget of {self.max_epsilon:g}: "
                "raise noise_multiplier or max_epsilon"
            )

    def epsilon(self, releases: int, excess: float = 0.0) -> float:
        """The ε that a client has spent after this many updates; 0 if there were none. excess: what is added to the
        Rényi divergence of one update, at every order, since its noise is not quite Gaussian."""
        return _epsilon(self.noise_multiplier / 2, releases, self.delta, excess)

    def spend(self, releases: int, excess: float = 0.0) -> float:
        """The ε that a client will have spent with its update number `releases`; excess: as for `epsilon`.

        Raises:
            PrivacyBudgetSpent: that is more than the budget.
        """
        spent = self.epsilon(releases, excess)
        if self.max_epsilon is not None and spent > self.max_epsilon:
            raise PrivacyBudgetSpent(
                f"this client's {BUDGET_SPENT}: update {releases} would bring ε to {spent:.4g}, "
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
