"""What the compiler can be asked for, and what it does unless it is told otherwise; stated here alone."""

from __future__ import annotations

from typing import Final, Literal

Optimize = Literal["run", "deploy"]
"""What to keep small: gas per prediction, or the contracts."""

Target = Literal["ethereum", "filecoin"]
"""Whose gas limit holds."""

OPTIMIZE: Final[Optimize] = "run"
TARGET: Final[Target] = "ethereum"
WEIGHT_BITS: Final[dict[Optimize, int]] = {"run": 8, "deploy": 6}
LARGE_DENSE, LARGE_DENSE_BITS = 4096, 5
"""Weights of a dense layer from which on "deploy" gives them fewer bits: they are most of the contracts' bytes, and in
sums of so many the errors of single ones do not count."""
ACTIVATION_BITS: Final = 6
TABULAR_ACTIVATION_BITS: Final = 8
"""The same for tabular models, which are small, and whose features are seldom as smooth as images."""
PRODUCT_ACTIVATION_BITS: Final = 8
"""The same for networks with products of two tensors (gates, attention, recurrent layers): errors multiply, too."""
INPUT_BITS: Final = 8
