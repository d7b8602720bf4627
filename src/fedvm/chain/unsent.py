"""Transactions for others to send: a contract wallet has no key that could sign here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from web3.contract import Contract


@dataclass(frozen=True)
class UnsentTransaction:
    """What to call on which chain: ``to`` is a checksummed address, ``data`` hexadecimal with 0x, ``value`` wei."""

    chain_id: int
    to: str
    data: str
    value: int = 0

    def as_json(self) -> dict[str, Any]:
        """The fields under the names that wallets know them by."""
        return {"chainId": self.chain_id, "to": self.to, "value": str(self.value), "data": self.data}


def unsent(contract: Contract, function: str, *arguments: Any, value: int = 0) -> UnsentTransaction:
    """The transaction that calls a function of a contract, with ``value`` wei."""
    chain_id = int(contract.w3.eth.chain_id)
    data = contract.encode_abi(function, args=list(arguments))
    return UnsentTransaction(chain_id, contract.address, data, value)
