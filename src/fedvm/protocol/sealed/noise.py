"""Noise in the sums of groups: how much each member adds to its weighted update, what the sum of it is worth, and what
the norm bound of a group must leave for it.

All scales are in units of the sums, weight · 2^fraction_bits. A group's noise counts only as far as it is certain to be
there, and unknown to whoever acts together with the coordinator.
"""

from __future__ import annotations

import math
from typing import Final

from fedvm.protocol.errors import RangeError
from fedvm.protocol.sealed.grouping import least_included, least_ready

_TAIL: Final = 40 * math.log(2)
"""x, where e^−x = 2^−40 is the chance of each of two events by which an honest group exceeds its bound."""


def certain_members(ready: int, corrupt: int) -> int:
    """h: members whose noise is in every sum that becomes known of a group with ``ready`` ready members, and unknown to
    ``corrupt`` of them.

    Raises:
        RangeError: there are none.
    """
    least = least_included(ready)
    if not 0 <= corrupt < least:
        raise RangeError(
            f"of {ready} ready members {least} must be included, so from 0 to {least - 1} of them can be assumed "
            f"corrupt, not {corrupt}"
        )
    return least - corrupt


def member_scale(total: float, certain: int) -> int:
    """The scale of one member's noise, so that that of ``certain`` members together has the standard deviation
    ``total`` at least."""
    return math.ceil(total / math.sqrt(certain))


def largest_scale(total: float, group_size: int, corrupt: int) -> int:
    """The greatest ``member_scale`` of any group that can take part: of the smallest one, with the fewest ready.

    Raises:
        RangeError: as :func:`certain_members`.
    """
    return member_scale(total, certain_members(least_ready(group_size), corrupt))


def sum_excess(scale: int, certain: int, elements: int) -> float:
    """What the sum of ``certain`` discrete Gaussian vectors adds to the Rényi divergence of a Gaussian mechanism, at
    every order: τ · elements, with τ = 10 · Σ exp(−2π² · scale² · k/(k + 1)) for k = 1 … certain − 1.

    Kairouz, Liu and Steinke 2021 ("The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
    Aggregation", ICML), the first of the bounds on sums of discrete Gaussians. Noise of further members takes nothing
    away from it.
    """
    terms = (math.exp(-2 * (math.pi * scale) ** 2 * k / (k + 1)) for k in range(1, certain))
    return 10 * sum(terms) * elements


def noise_squares(scale: int, elements: int, group_size: int, bound: float) -> int:
    """``SealedRules.noise_squares`` for members that add noise of at most this scale.

    bound: a group's sum of m members has without noise at most the norm m · bound. A group whose sum is within the
    norm bound without noise exceeds it with noise by a chance of 2^−39 at most, in each round. For ‖S + N‖² = ‖S‖² +
    2⟨S, N⟩ + ‖N‖², and for noise that is subgaussian, as the discrete Gaussian is (Canonne, Kamath and Steinke 2020),
    each of
        ‖N‖² > m · scale² · (elements + 2 · √(elements · x) + 2x)  (Hsu, Kakade and Zhang 2012)
        ⟨S, N⟩ > ‖S‖ · scale · √(2 · m · x)
    has a chance of e^−x at most; x = 40 · ln 2, m < 2 · group_size.
    """
    x, most = _TAIL, 2 * group_size - 1
    own = scale**2 * (elements + 2 * math.sqrt(elements * x) + 2 * x)
    across = 2 * bound * scale * math.sqrt(2 * most * x)
    return math.ceil(own + across)
