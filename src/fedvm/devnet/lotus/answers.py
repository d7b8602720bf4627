"""What Lotus's Ethereum RPC says: blocks, transactions, receipts, logs, and errors in its words."""

from __future__ import annotations

from typing import Any, Final

from eth_utils.address import to_checksum_address

from fedvm.devnet.lotus.chain import Done, Tipset
from fedvm.devnet.lotus.machine import EXIT_OUT_OF_GAS, Log, Outcome
from fedvm.devnet.lotus.pool import Signed
from fedvm.devnet.rpc_format import data
from fedvm.evm.limits import BLOCK_GAS_LIMIT

EXECUTION_REVERTED, NULL_ROUND, LIMIT_EXCEEDED, ANY = 11, 12, -32005, 1
"""Codes of errors (lotus, api/api_errors.go); most have none of their own."""

_EMPTY_UNCLES: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
_ALL_ONES: Final = "0x" + "ff" * 256
_NO_HASH: Final = "0x" + "00" * 32
_ERROR_STRING: Final = bytes.fromhex("08c379a0")


def block(tipset: Tipset, full: bool, *, executed: bool) -> dict[str, Any]:
    return {
        "number": hex(tipset.epoch),
        "hash": data(tipset.hash),
        "parentHash": data(tipset.parent),
        "sha3Uncles": _EMPTY_UNCLES,
        "miner": "0x" + "00" * 20,
        "stateRoot": data(tipset.root),
        "transactionsRoot": _NO_HASH,
        "receiptsRoot": _NO_HASH,
        "logsBloom": _ALL_ONES,
        "difficulty": "0x0",
        "gasLimit": hex(BLOCK_GAS_LIMIT),
        "gasUsed": hex(sum(done.outcome.gas_used for done in tipset.done) if executed else 0),
        "timestamp": hex(tipset.timestamp),
        "extraData": "0x",
        "mixHash": _NO_HASH,
        "nonce": "0x0000000000000000",
        "baseFeePerGas": hex(tipset.base_fee),
        "size": "0x0",
        "uncles": [],
        "transactions": [
            transaction(done.signed, done) if full else data(done.signed.hash) for done in tipset.done
        ],
    }


def transaction(signed: Signed, done: Done | None) -> dict[str, Any]:
    message = signed.message
    fields: dict[str, Any] = {
        "chainId": hex(signed.chain_id),
        "hash": data(signed.hash),
        "blockHash": data(done.tipset.hash) if done else None,
        "blockNumber": hex(done.tipset.epoch) if done else None,
        "transactionIndex": hex(done.index) if done else None,
        "from": to_checksum_address(message.sender),
        "to": to_checksum_address(message.to) if message.to else None,
        "nonce": hex(signed.nonce),
        "gas": hex(signed.gas),
        "value": hex(message.value),
        "input": data(message.data),
        "type": hex(signed.type),
        "v": hex(signed.v),
        "r": hex(signed.r),
        "s": hex(signed.s),
    }
    if done:
        fields["gasPrice"] = hex(done.gas_price)
    if signed.type:
        fields["maxFeePerGas"] = hex(signed.fee_cap)
        fields["maxPriorityFeePerGas"] = hex(signed.premium)
        fields["accessList"] = []
    return fields


def receipt(done: Done) -> dict[str, Any]:
    outcome, message = done.outcome, done.signed.message
    created = outcome.created
    return {
        "transactionHash": data(done.signed.hash),
        "transactionIndex": hex(done.index),
        "blockHash": data(done.tipset.hash),
        "blockNumber": hex(done.tipset.epoch),
        "from": to_checksum_address(message.sender),
        "to": to_checksum_address(message.to) if message.to else None,
        "contractAddress": to_checksum_address(created) if created else None,
        "status": "0x0" if outcome.exit_code else "0x1",
        "cumulativeGasUsed": "0x0",
        "gasUsed": hex(outcome.gas_used),
        "effectiveGasPrice": hex(done.gas_price),
        "logsBloom": _ALL_ONES,
        "logs": [log(done, entry, done.first_log + i) for i, entry in enumerate(outcome.logs)],
        "type": hex(done.signed.type),
    }


def log(done: Done, entry: Log, index: int) -> dict[str, Any]:
    return {
        "address": to_checksum_address(entry.address),
        "topics": [data(topic) for topic in entry.topics],
        "data": data(entry.data),
        "blockNumber": hex(done.tipset.epoch),
        "blockHash": data(done.tipset.hash),
        "transactionHash": data(done.signed.hash),
        "transactionIndex": hex(done.index),
        "logIndex": hex(index),
        "removed": False,
    }


def failure(outcome: Outcome) -> tuple[str, str]:
    """Message and data of the error that a call or an estimate ends with."""
    if outcome.exit_code == EXIT_OUT_OF_GAS:
        return "message execution failed (exit=[SysErrOutOfGas(7)], vm error=[out of gas])", "0x"
    trace = (
        "message failed with backtrace:\n"
        f"00: f01000 (method 3844450837) -- {outcome.error} ({outcome.exit_code})\n (RetCode={outcome.exit_code})"
    )
    reason = f", revert reason=[{_reason(outcome.output)}]" if outcome.output else ", revert reason=[none]"
    return (
        f"message execution failed (exit=[{outcome.exit_code}]{reason}, vm error=[{trace}])",
        data(outcome.output),
    )


def _reason(output: bytes) -> str:
    if output[:4] == _ERROR_STRING and len(output) >= 68:
        length = int.from_bytes(output[36:68], "big")
        return f"Error({output[68 : 68 + length].decode('utf-8', 'replace')})"
    return data(output)
