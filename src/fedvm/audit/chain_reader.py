"""What an audit reads of a chain beside the contracts' events: block times, calldata, code."""

from __future__ import annotations

from functools import cached_property

from hexbytes import HexBytes
from web3 import Web3


class ChainReader:
    """Plain JSON-RPC reads, remembered where they repeat."""

    def __init__(self, w3: Web3) -> None:
        self.w3 = w3
        self._times: dict[int, int] = {}

    @cached_property
    def chain_id(self) -> int:
        """The chain's id."""
        return self.w3.eth.chain_id

    def time(self, block: int) -> int:
        """Unix time of a block in seconds."""
        if block not in self._times:
            self._times[block] = int(self.w3.eth.get_block(block)["timestamp"])
        return self._times[block]

    def block_hash(self, block: int) -> bytes:
        """The hash of a block, 32 bytes."""
        return bytes(self.w3.eth.get_block(block)["hash"])

    def calldata(self, tx_hash: str) -> bytes:
        """The input of a transaction."""
        return bytes(self.w3.eth.get_transaction(HexBytes(tx_hash))["input"])

    def code(self, address: str) -> bytes:
        """The runtime code at an address."""
        return bytes(self.w3.eth.get_code(Web3.to_checksum_address(address)))
