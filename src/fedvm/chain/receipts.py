"""Transactions and receipts as Ethereum encodes them, from what a node gives in JSON.

A header holds the root of its block's receipts, and a receipt the events; a transaction's hash is that of its encoding
(Yellow Paper, 4.3; EIP-2718). Filecoin's nodes compute hashes of transactions in this way, but no such roots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import rlp
from trie.hexary import HexaryTrie

from fedvm.evm.keccak import keccak

_BLOOM_BYTES: Final = 256
_DEPOSIT: Final = 0x7E
"""A deposit of the OP stack, whose receipts say more."""
_FEES: Final = ("maxPriorityFeePerGas", "maxFeePerGas")
_LEGACY, _ACCESS_LIST, _DYNAMIC_FEE, _BLOB, _SET_CODE = range(5)


def receipts_root(receipts: Sequence[Mapping[str, Any]]) -> bytes:
    """The root of a block's receipts, which must be all of them in order; 32 bytes.

    Raises KeyError, TypeError or ValueError where one is malformed.
    """
    tree = HexaryTrie({})
    for index, receipt in enumerate(receipts):
        tree[rlp.encode(index)] = _receipt(receipt)
    return bytes(tree.root_hash)


def transaction_hash(transaction: Mapping[str, Any]) -> bytes | None:
    """The hash of a transaction, 32 bytes; None of a type that users do not sign.

    Raises KeyError, TypeError or ValueError where it is malformed.
    """
    kind = _number(transaction.get("type", "0x0"))
    to, value, data = _bytes(transaction["to"] or "0x"), transaction["value"], _bytes(transaction["input"])
    call = [to, _minimal(value), data]
    nonce, gas = _minimal(transaction["nonce"]), _minimal(transaction["gas"])
    signature = [_minimal(transaction[name]) for name in ("r", "s")]
    if kind == _LEGACY:
        price = _minimal(transaction["gasPrice"])
        return keccak(rlp.encode([nonce, price, gas, *call, _minimal(transaction["v"]), *signature]))
    if kind > _SET_CODE:
        return None
    signature.insert(0, _minimal(transaction.get("yParity", transaction["v"])))
    fees = ["gasPrice"] if kind == _ACCESS_LIST else [*_FEES]
    listed = [
        [_bytes(entry["address"]), [_bytes(key) for key in entry["storageKeys"]]]
        for entry in transaction.get("accessList") or ()
    ]
    head = [_minimal(transaction["chainId"]), nonce, *(_minimal(transaction[name]) for name in fees), gas]
    more: list[Any] = []
    if kind == _BLOB:
        hashes = [_bytes(one) for one in transaction["blobVersionedHashes"]]
        more = [_minimal(transaction["maxFeePerBlobGas"]), hashes]
    elif kind == _SET_CODE:
        more = [[_authorization(one) for one in transaction["authorizationList"]]]
    return keccak(bytes([kind]) + rlp.encode([*head, *call, listed, *more, *signature]))


def _authorization(fields: Mapping[str, Any]) -> list[bytes]:
    numbers = [_minimal(fields[name]) for name in ("nonce", "yParity", "r", "s")]
    return [_minimal(fields["chainId"]), _bytes(fields["address"]), *numbers]


def _receipt(receipt: Mapping[str, Any]) -> bytes:
    kind = _number(receipt.get("type", "0x0"))
    logs = [
        [_bytes(log["address"]), [_bytes(topic) for topic in log["topics"]], _bytes(log["data"])]
        for log in receipt["logs"]
    ]
    body: list[Any] = [
        _minimal(receipt["status"]),
        _minimal(receipt["cumulativeGasUsed"]),
        _bloom(logs),
        logs,
    ]
    if kind == _DEPOSIT and receipt.get("depositReceiptVersion") is not None:
        body += [_minimal(receipt[name]) for name in ("depositNonce", "depositReceiptVersion")]
    encoded = rlp.encode(body)
    return bytes(encoded) if kind == _LEGACY else bytes([kind]) + encoded


def _bloom(logs: Sequence[Sequence[Any]]) -> bytes:
    """The filter over the addresses and topics of logs (Yellow Paper, 4.3.1)."""
    bits = 0
    for address, topics, _ in logs:
        for entry in (address, *topics):
            digest = keccak(entry)
            for at in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[at : at + 2]) & 0x7FF)
    return bits.to_bytes(_BLOOM_BYTES)


def _bytes(value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text of bytes")
    return bytes.fromhex(value.removeprefix("0x"))


def _number(value: str | int) -> int:
    number = value if isinstance(value, int) else int(value, 16)
    if number < 0:
        raise ValueError(f"{value!r} is negative")
    return number


def _minimal(value: str | int) -> bytes:
    number = _number(value)
    return number.to_bytes(-(-number.bit_length() // 8))
