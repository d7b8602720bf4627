"""What a contract's scores mean: a share for each class, and whether the answer can be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

LEAST_SHARE: Final = 0.5
LEAST_MARGIN: Final = 0.2
"""An answer with a smaller share, or a smaller lead over the next, is called unsure."""


def shares_of(scores: Sequence[int], scale: Sequence[float], head: str = "") -> tuple[float, ...]:
    """Softmax of scores · scale: a share (0 … 1) for each class; together they are 1. scale: the real number that a
    score of 1 stands for, one a class; head: "shares" if the scores are shares already, as votes of trees are."""
    real = np.asarray(scores, np.float64) * np.asarray(scale)
    if head == "shares" and (total := float(np.maximum(real, 0).sum())) > 0:
        return tuple(float(share) for share in np.maximum(real, 0) / total)
    raised = np.exp(real - real.max())
    return tuple(float(share) for share in raised / raised.sum())


def doubt_of(shares: Sequence[float], names: Sequence[str], *, blank: bool) -> str:
    """Why an answer should not be relied on, "" if it can be."""
    if blank:
        return "the picture is blank"
    first, *others = sorted(range(len(shares)), key=lambda label: -shares[label])
    if others and shares[first] - shares[others[0]] < LEAST_MARGIN:
        return f"{names[others[0]]} is close to {names[first]}"
    return "no class stands out" if shares[first] < LEAST_SHARE else ""
