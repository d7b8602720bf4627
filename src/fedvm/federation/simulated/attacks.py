"""Poisoned updates that keep every rule: what Byzantine clients send to spoil a model, in simulations.

All of them stay within the norm bound, so the contract accepts them. Only the aggregation rule can limit their effect.
"""

from __future__ import annotations

import hashlib
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fedvm.federation.commitment import clip_and_quantize, norm_bound
from fedvm.protocol import Rules
from fedvm.protocol.vector import IntVector, length

Difference = NDArray[np.float64]
"""What a client's training changed, float64 (elements,)."""


def sign_flip(difference: Difference, rules: Rules) -> IntVector:
    """The opposite of what was learnt, scaled to the norm bound (Li et al. 2019, arXiv:1811.03761)."""
    return clip_and_quantize(_stretched(-difference, rules), rules)


def scaling(difference: Difference, rules: Rules) -> IntVector:
    """What was learnt, scaled to the norm bound: the model-replacement boost of Bagdasaryan et al. 2020
    (arXiv:1807.00459), without the back door."""
    return clip_and_quantize(_stretched(difference, rules), rules)


def gaussian(difference: Difference, rules: Rules) -> IntVector:
    """Random noise, scaled to the norm bound (Blanchard et al. 2017, arXiv:1703.02757, section 5).

    It is drawn from a generator seeded by the honest difference, so that a run can be repeated.
    """
    seed = int.from_bytes(hashlib.sha256(difference.tobytes()).digest()[:8])
    noise = np.random.default_rng(seed).standard_normal(difference.size)
    return clip_and_quantize(_stretched(noise, rules), rules)


def free_rider(difference: Difference, rules: Rules) -> IntVector:
    """Nothing at all, for the examples it claims (Lin et al. 2019, arXiv:1911.12560)."""
    return np.zeros(difference.size, dtype=np.int32)


def a_little_is_enough(differences: NDArray[np.float64], clients: int) -> Difference:
    """The one update that all colluders send: the mean of theirs, less z standard deviations, element by element.

    Baruch et al. 2019 (arXiv:1902.06156), algorithm 3: z is the greatest shift for which enough honest updates can
    be expected to lie farther out, so that a median or a distance takes the crafted one for an ordinary one.

    differences: what the colluders learnt honestly, (colluders, elements); clients: how many there are in all.
    """
    colluders = len(differences)
    supporters = clients // 2 + 1 - colluders
    share = (clients - colluders - supporters) / max(clients - colluders, 1)
    z = NormalDist().inv_cdf(min(max(share, 0.5), 0.999))
    crafted: Difference = differences.mean(axis=0) - z * differences.std(axis=0)
    return crafted


def _stretched(difference: Difference, rules: Rules) -> Difference:
    norm = length(difference)
    return difference * (norm_bound(rules) / norm) if norm > 0 else difference
