"""Transactions for others to send: a contract wallet has no key that could sign here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.types import TxParams

from fedvm.chain.errors import TransactionFailed


@dataclass(frozen=True)
class UnsentTransaction:
    """What to call on which chain: ``to`` is a checksummed address, ``data`` hexadecimal with 0x, ``value`` wei."""

    chain_id: int
    to: str
    data: str
    value: int = 0


def unsent(contract: Contract, function: str, *arguments: Any, value: int = 0) -> UnsentTransaction:
    """The transaction that calls a function of a contract, with ``value`` wei."""
    chain_id = int(contract.w3.eth.chain_id)
    data = contract.encode_abi(function, args=list(arguments))
    return UnsentTransaction(chain_id, contract.address, data, value)


def unsent_of(chain_id: int, transaction: TxParams, action: str) -> UnsentTransaction:
    """A transaction as web3 takes it (``to``, ``data``, ``value``). action: names it in the error.

    Raises:
        TransactionFailed: it creates a contract without a deployer, which wallets that are contracts cannot do.
    """
    to, data = transaction.get("to"), transaction.get("data", b"")
    if not to:
        raise TransactionFailed(
            action,
            "a wallet that is a contract cannot create a contract like this: have an account with a key do this step",
        )
    return UnsentTransaction(
        chain_id, Web3.to_checksum_address(to), Web3.to_hex(HexBytes(data)), int(transaction.get("value", 0))
    )
