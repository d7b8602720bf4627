"""The least gas that multiplying in lanes could take, to tell how far a program is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STEP_GAS = 8
"""One MUL and one ADD."""
CONV_MACS = 42
"""Multiply-accumulates in one MUL of a convolution: n lanes and k taps give (n − k + 1) · k of them, at 21-bit lanes
(n = 12) at most 42 (k = 6 or 7)."""
DENSE_MACS = 12
"""Multiply-accumulates in one MUL of a dense layer: its lanes, 12 of 21 bits."""


def floor_gas(layers: Sequence[Mapping[str, Any]]) -> float:
    """Gas of the multiplications alone, for the rows "layers" of a manifest, at 21-bit lanes.

    Narrower lanes hold more, so this is a yardstick and no proof that less is impossible.
    """
    return sum(
        STEP_GAS * int(layer["macs"]) / (DENSE_MACS if layer["op"].startswith("dense") else CONV_MACS)
        for layer in layers
    )
