"""What the run's transactions cost, read from the chain's receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from web3 import Web3


@dataclass(frozen=True)
class ChainGas:
    """Gas of every contract creation by checksummed address, and of every transaction by its hash in hex."""

    creations: Mapping[str, int]
    transactions: Mapping[str, int]

    def creating(self, addresses: Iterable[str]) -> int:
        """Gas that creating these contracts took together."""
        return sum(self.creations[address] for address in addresses)


def read_gas(w3: Web3) -> ChainGas:
    """Read every receipt of the chain; for the embedded chain of a run, which has a few dozen blocks."""
    creations: dict[str, int] = {}
    transactions: dict[str, int] = {}
    for number in range(w3.eth.block_number + 1):
        for tx_hash in w3.eth.get_block(number)["transactions"]:
            receipt = w3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]
            transactions[receipt["transactionHash"].to_0x_hex()] = receipt["gasUsed"]
            created = receipt.get("contractAddress")
            if created:
                creations[created] = receipt["gasUsed"]
            # A clone has no creation of its own; it announces itself in the transaction that makes it.
            for log in receipt["logs"]:
                creations.setdefault(log["address"], receipt["gasUsed"])
    return ChainGas(creations, transactions)
