"""How Filecoin's base fee moves (FIP-0115), and what a node suggests as a premium."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fedvm.evm.limits import BLOCK_GAS_LIMIT

MINIMUM_BASE_FEE: Final = 8
"""AttoFIL a gas: 1 / R of FIP-0115."""
ADJUSTMENT: Final = 8
"""1 / R: a base fee moves by an eighth at most."""
PERCENTILE: Final = 20
MINIMUM_PREMIUM: Final = 100_000
"""What nodes suggest at least (lotus, node/impl/gasutils)."""


def premium_at_percentile(messages: Iterable[tuple[int, int]]) -> int:
    """Premium at `PERCENTILE` of a tipset's (premium, gas limit), the lowest cut off or padded to a whole block."""
    dearest = sorted(messages, reverse=True)
    wanted = BLOCK_GAS_LIMIT - BLOCK_GAS_LIMIT * PERCENTILE // 100
    filled = 0
    for premium, gas in dearest:
        filled += gas
        if filled >= wanted:
            return premium
    return 0


def next_base_fee(base_fee: int, premium: int) -> int:
    """Base fee of the next tipset, in attoFIL a gas, after one whose premium at the percentile was ``premium``."""
    most = base_fee // ADJUSTMENT
    return max(MINIMUM_BASE_FEE, base_fee + min(most, premium - most))


def effective_premium(fee_cap: int, premium: int, base_fee: int) -> int:
    """What of a message's premium a miner gets for a unit of gas."""
    return max(0, min(premium, fee_cap - base_fee))


def suggested_premium(base_fee: int) -> int:
    """What a node suggests: about R times the base fee (FIP-0115, "simple"), but not below the old minimum."""
    return max(MINIMUM_PREMIUM, base_fee // ADJUSTMENT + 1)
