"""Transactions for others to send: a contract wallet has no key that could sign here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from web3.contract import Contract


@dataclass(frozen=True)
class UnsentTransaction:
    """What to call on which chain, with no money: ``to`` is a checksummed address, ``data`` hexadecimal with 0x."""

    chain_id: int
    to: str
    data: str

    def as_json(self) -> dict[str, Any]:
        """The fields under the names that wallets know them by."""
        return {"chainId": self.chain_id, "to": self.to, "value": "0", "data": self.data}


def unsent(contract: Contract, function: str, *arguments: Any) -> UnsentTransaction:
    """The transaction that calls a function of a contract."""
    chain_id = int(contract.w3.eth.chain_id)
    return UnsentTransaction(chain_id, contract.address, contract.encode_abi(function, args=list(arguments)))
