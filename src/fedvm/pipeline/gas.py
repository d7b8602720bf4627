"""What the run's transactions cost, read from the chain's receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from web3 import Web3
from web3.exceptions import Web3Exception

from fedvm.chain.create2 import create2_address


@dataclass(frozen=True)
class ChainGas:
    """Gas of every contract creation by checksummed address, and of every transaction by its hash in hex."""

    creations: Mapping[str, int]
    transactions: Mapping[str, int]

    def creating(self, addresses: Iterable[str]) -> int:
        """Gas that creating these contracts took together."""
        return sum(self.creations[address] for address in addresses)


def read_gas(w3: Web3, *, first: int = 0, sender: str | None = None) -> ChainGas:
    """Read the receipts of a chain from a block on, of all transactions or of those that an account (checksummed) sent.

    It asks for every block: for the embedded chain of a run, which has a few dozen, and on a network for the hours that
    the run took.
    """
    creations: dict[str, int] = {}
    transactions: dict[str, int] = {}
    for number in range(first, w3.eth.block_number + 1):
        for sent in _sent_in(w3, number):
            if sender is not None and sent["from"] != sender:
                continue
            receipt = w3.eth.get_transaction_receipt(sent["hash"])
            transactions[receipt["transactionHash"].to_0x_hex()] = receipt["gasUsed"]
            created = receipt.get("contractAddress")
            if created:
                creations[created] = receipt["gasUsed"]
            data = bytes(sent["input"])
            if sent.get("to") and len(data) > 32:  # what a deployer may have created
                made = create2_address(str(sent["to"]), data[:32], data[32:])
                creations.setdefault(made, receipt["gasUsed"])
            # A clone has no creation of its own; it announces itself in the transaction that makes it.
            for log in receipt["logs"]:
                creations.setdefault(log["address"], receipt["gasUsed"])
    return ChainGas(creations, transactions)


def _sent_in(w3: Web3, number: int) -> list[Any]:
    """The transactions of a block; none where an epoch has no block."""
    try:
        return list(w3.eth.get_block(number, full_transactions=True)["transactions"])
    except Web3Exception:
        return []
