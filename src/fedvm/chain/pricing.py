"""What to offer for a unit of gas, so that a transaction lands though the base fee rises."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from web3 import Web3
from web3.exceptions import Web3Exception

from fedvm.chain.errors import NetworkError

FEE_HISTORY_BLOCKS: Final = 120
BASE_FEE_ROOM: Final = 2
"""Times the highest base fee of the last blocks. It rises by an eighth a block at most, on Ethereum (EIP-1559) and
on Filecoin (FIP-0115), so twice as much holds for five blocks of nothing but rises."""
REPLACEMENT_FACTOR: Final = 1.3
"""Lotus wants 1.25 times the premium, geth 1.1 times both fees; a little more survives their rounding."""

MOST_TIP: Final = 10**18
"""Wei that the premium of one transaction may come to, where it is the larger part of the price: one coin, as geth's
own limit on fees (--rpc.txfeecap). It is the node that says what premium is usual, and it is paid whole."""


@dataclass(frozen=True)
class Offer:
    """Wei for a unit of gas: the premium for the miner, and the most that base fee and premium may be together."""

    premium: int
    cap: int

    def raised(self, now: Offer) -> Offer:
        """An offer that replaces this one, and is at least what one would offer now."""
        premium = max(int(self.premium * REPLACEMENT_FACTOR) + 1, now.premium)
        return Offer(premium, max(int(self.cap * REPLACEMENT_FACTOR) + 1, now.cap, premium))

    def require_modest(self, gas_limit: int) -> None:
        """Raise NetworkError if a transaction of so much gas would leave the miner more than what is ever usual."""
        tip = gas_limit * self.premium
        if tip > MOST_TIP and 2 * self.premium > self.cap:
            raise NetworkError(
                f"the node asks for a premium of {self.premium:,} wei a unit of gas, {tip / 1e18:.3g} coins for this "
                "transaction: it was not sent; ask another node (--rpc), or wait until the premium is usual again"
            )


def offer(w3: Web3) -> Offer:
    """What to offer now: over the highest base fee of the last blocks, since it jumps."""
    premium = int(w3.eth.max_priority_fee)
    fees = [int(w3.eth.get_block("latest").get("baseFeePerGas", 0))]
    # A node may keep no history; then the base fee of now has to do.
    with suppress(Web3Exception):
        fees += w3.eth.fee_history(FEE_HISTORY_BLOCKS, "latest", [])["baseFeePerGas"]
    return Offer(premium, BASE_FEE_ROOM * max(fees) + premium)
