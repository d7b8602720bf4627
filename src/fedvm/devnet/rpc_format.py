"""Translation between JSON-RPC's hexadecimal texts and the ledger's values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import rlp
from eth.abc import BlockAPI
from eth_utils.address import is_address, to_canonical_address, to_checksum_address

from fedvm.devnet.ledger import CallRequest, Included, LogEntry, Receipt
from fedvm.evm.limits import BLOCK_GAS_LIMIT

Parsed = TypeVar("Parsed")


class InvalidParams(Exception):
    """A request's parameters are malformed."""


def data(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def unhex(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError) as error:
        raise InvalidParams(f"{value!r} is not hexadecimal data") from error


def quantity(value: Any) -> int:
    try:
        number = value if isinstance(value, int) else int(value, 16)
    except (TypeError, ValueError) as error:
        raise InvalidParams(f"{value!r} is not a quantity") from error
    if not 0 <= number < 1 << 256:
        raise InvalidParams(f"{value!r} is not a quantity of 256 bits")
    return number


def optional_quantity(fields: dict[str, Any], name: str, default: int | None = None) -> int | None:
    return quantity(fields[name]) if fields.get(name) is not None else default


def address(value: Any) -> bytes:
    if not is_address(value):
        raise InvalidParams(f"{value!r} is not an address")
    return bytes(to_canonical_address(value))


def one_or_many(value: Any, parse: Callable[[Any], Parsed]) -> tuple[Parsed, ...]:
    """A filter's position: nothing, one value, or alternatives."""
    if value is None:
        return ()
    return tuple(parse(v) for v in value) if isinstance(value, list | tuple) else (parse(value),)


def input_data(fields: dict[str, Any]) -> bytes:
    return unhex(fields.get("input") or fields.get("data") or "0x")


def call_request(fields: dict[str, Any]) -> CallRequest:
    if not isinstance(fields, dict):
        raise InvalidParams(f"{fields!r} is not a call")
    if fields.get("accessList"):
        raise InvalidParams("access lists are not supported")
    gas = optional_quantity(fields, "gas", BLOCK_GAS_LIMIT)
    assert gas is not None
    return CallRequest(
        sender=address(fields["from"]) if fields.get("from") else bytes(20),
        to=address(fields["to"]) if fields.get("to") else None,
        data=input_data(fields),
        value=optional_quantity(fields, "value", 0) or 0,
        gas=min(gas, BLOCK_GAS_LIMIT),
    )


def with_gas(request: CallRequest, gas: int) -> CallRequest:
    return replace(request, gas=gas)


def block(value: BlockAPI, full: bool) -> dict[str, Any]:
    header: Any = value.header  # py-evm types fields of later forks as optional
    return {
        "number": hex(header.block_number),
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": "0x" + format(header.bloom, "0512x"),
        "transactionsRoot": data(header.transaction_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipt_root),
        "withdrawalsRoot": data(header.withdrawals_root),
        "withdrawals": [],
        "miner": to_checksum_address(header.coinbase),
        "difficulty": hex(header.difficulty),
        "totalDifficulty": hex(header.difficulty),
        "extraData": data(header.extra_data),
        "mixHash": data(header.mix_hash),
        "size": hex(len(rlp.encode(value))),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "blobGasUsed": hex(header.blob_gas_used),
        "excessBlobGas": hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "timestamp": hex(header.timestamp),
        "uncles": [],
        "transactions": [
            transaction(Included(signed, header, index)) if full else data(signed.hash)
            for index, signed in enumerate(value.transactions)
        ],
    }


def transaction(included: Included) -> dict[str, Any]:
    signed: Any = included.transaction
    header = included.header
    fields: dict[str, Any] = {
        "blockHash": data(header.hash),
        "blockNumber": hex(header.block_number),
        "transactionIndex": hex(included.index),
        "hash": data(signed.hash),
        "from": to_checksum_address(signed.sender),
        "to": to_checksum_address(signed.to) if signed.to else None,
        "nonce": hex(signed.nonce),
        "gas": hex(signed.gas),
        "gasPrice": hex(included.gas_price),
        "value": hex(signed.value),
        "input": data(signed.data),
        "chainId": hex(signed.chain_id),
        "r": hex(signed.r),
        "s": hex(signed.s),
    }
    if signed.type_id is None:
        return fields | {"type": "0x0", "v": hex(signed.v)}
    return fields | {
        "type": hex(signed.type_id),
        "v": hex(signed.y_parity),
        "yParity": hex(signed.y_parity),
        "maxFeePerGas": hex(signed.max_fee_per_gas),
        "maxPriorityFeePerGas": hex(signed.max_priority_fee_per_gas),
        "accessList": [],
    }


def receipt(value: Receipt) -> dict[str, Any]:
    signed, header = value.included.transaction, value.included.header
    return {
        "transactionHash": data(signed.hash),
        "transactionIndex": hex(value.included.index),
        "blockHash": data(header.hash),
        "blockNumber": hex(header.block_number),
        "from": to_checksum_address(signed.sender),
        "to": to_checksum_address(signed.to) if signed.to else None,
        "contractAddress": to_checksum_address(value.contract_address) if value.contract_address else None,
        "cumulativeGasUsed": hex(value.gas_used),
        "gasUsed": hex(value.gas_used),
        "effectiveGasPrice": hex(value.gas_price),
        "logs": [log(entry) for entry in value.logs],
        "logsBloom": "0x" + format(header.bloom, "0512x"),
        "status": "0x1" if value.succeeded else "0x0",
        "type": hex(signed.type_id or 0),
    }


def log(entry: LogEntry) -> dict[str, Any]:
    return {
        "address": to_checksum_address(entry.address),
        "topics": [data(topic) for topic in entry.topics],
        "data": data(entry.data),
        "blockNumber": hex(entry.block_number),
        "blockHash": data(entry.block_hash),
        "transactionHash": data(entry.tx_hash),
        "transactionIndex": hex(entry.tx_index),
        "logIndex": hex(entry.log_index),
        "removed": False,
    }
