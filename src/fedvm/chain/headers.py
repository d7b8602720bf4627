"""Headers of blocks as Ethereum encodes them, with PREVRANDAO in them, for the draw of a promotion gate."""

from __future__ import annotations

from typing import Any, Final

import rlp
from web3 import Web3
from web3.types import RPCEndpoint

from fedvm.chain.errors import MalformedAnswer, NetworkError
from fedvm.chain.logs import quoted
from fedvm.evm.keccak import keccak

HASH_BYTES: Final = 32
_FIELDS: Final = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
)
_LATER_FIELDS: Final = (
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
    "blockAccessListHash",
    "slotNumber",
)
"""In the order in which forks added them: EIP-1559, 4895, 4844, 4788, 7685, 7928, 7843."""
_NUMBERS: Final = frozenset(
    [
        *("difficulty", "number", "gasLimit", "gasUsed", "timestamp"),
        *("baseFeePerGas", "blobGasUsed", "excessBlobGas", "slotNumber"),
    ]
)


def read_header(w3: Web3, number: int) -> tuple[bytes, dict[str, Any]]:
    """A block's header in RLP, and the block as the node gives it in JSON, with its transactions' hashes. Whether the
    header has the block's hash is not looked at.

    Raises:
        NetworkError: the block is not there.
        MalformedAnswer: it is not of the form of an Ethereum block.
    """
    # Not by web3's own method, which refuses what some chains put into extraData.
    answer: Any = w3.provider.make_request(RPCEndpoint("eth_getBlockByNumber"), [hex(number), False])
    block = answer.get("result")
    if block is None:
        raise NetworkError(f"the node does not know block {number}: {answer.get('error')}")
    if not isinstance(block, dict):
        raise MalformedAnswer(f"block {number} is not of the form of an Ethereum block: {quoted(block)}")
    present = (*_FIELDS, *(name for name in _LATER_FIELDS if block.get(name) is not None))
    try:
        if len(bytes.fromhex(block["hash"][2:])) != HASH_BYTES:
            raise ValueError("its hash has another length")
        if not all(isinstance(one, str) for one in block["transactions"]):
            raise TypeError("its transactions are no hashes")
        return rlp.encode([_item(name, block[name]) for name in present]), block
    except (KeyError, TypeError, ValueError) as error:
        message = f"block {number} is not of the form of an Ethereum block: {quoted(error)}"
        raise MalformedAnswer(message) from None


def block_header(w3: Web3, number: int) -> tuple[bytes, bytes]:
    """A block's header in RLP, and the beacon's value in it, 32 bytes.

    Raises:
        NetworkError: the block is not there, its hash is not that of an Ethereum header, or the chain has no beacon:
            nothing can be drawn there.
    """
    header, block = read_header(w3, number)
    if keccak(header) != bytes.fromhex(block["hash"][2:]):
        raise NetworkError(
            f"the hash of block {number} is not that of an Ethereum header, so nothing can be drawn by it: no gate's "
            "samples, no groups of sealed rounds; use another network"
        )
    randao = bytes.fromhex(block["mixHash"][2:])
    if not any(randao):
        raise NetworkError(
            f"block {number} has no beacon value (PREVRANDAO), so nothing can be drawn by it, samples of a gate or "
            "groups of sealed rounds; use another network"
        )
    return header, randao


def _item(name: str, value: str) -> bytes:
    if name not in _NUMBERS:
        return bytes.fromhex(value[2:])
    number = int(value, 16)
    if number < 0:
        raise ValueError(f"{name} is negative")
    return number.to_bytes(-(-number.bit_length() // 8))
