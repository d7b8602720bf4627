"""What an account owns on a network, and how often that pays for the usual steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from web3 import Web3

from fedvm.chain.costs import Step, typical_steps
from fedvm.chain.networks import Network


@dataclass(frozen=True)
class Affordable:
    """A step, its price in wei now, and how often the account can pay it; None where gas costs nothing."""

    step: Step
    wei: int
    times: int | None


@dataclass(frozen=True)
class Funds:
    """What an account (checksummed address) owns in wei, the price of a unit of gas in wei, and what it can pay for."""

    address: str
    balance: int
    gas_price: int
    rows: tuple[Affordable, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; amounts of money as strings, since they exceed what JSON's numbers hold."""
        rows = [{**asdict(row.step), "wei": str(row.wei), "times": row.times} for row in self.rows]
        return {
            "address": self.address,
            "balance": str(self.balance),
            "gas_price": str(self.gas_price),
            "steps": rows,
        }


def gas_price(w3: Web3) -> int:
    """Wei that a unit of gas costs in the next block, with the usual tip."""
    history = w3.eth.fee_history(1, "latest", [])
    return int(history["baseFeePerGas"][-1]) + int(w3.eth.max_priority_fee)


def funds_of(w3: Web3, address: str, network: Network, steps: Sequence[Step] = ()) -> Funds:
    """Look at an account (hex address). steps: the usual ones unless given."""
    balance = int(w3.eth.get_balance(Web3.to_checksum_address(address)))
    price = gas_price(w3)
    rows = []
    for step in steps or typical_steps():
        wei = step.gas(network) * price
        rows.append(Affordable(step, wei, balance // wei if wei else None))
    return Funds(Web3.to_checksum_address(address), balance, price, tuple(rows))
