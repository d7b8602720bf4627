"""Headers as the chain hashes them."""

from __future__ import annotations

from typing import Any

import pytest
from web3 import Web3
from web3.providers.base import BaseProvider

from fedvm.chain.errors import NetworkError
from fedvm.chain.headers import block_header
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.evm.keccak import keccak

# Blocks of Ethereum, as a node gives them: the genesis, whose mixHash is zero.
GENESIS: dict[str, Any] = {
    "parentHash": "0x" + "00" * 32,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
    "transactions": [],
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
}


class OneBlock(BaseProvider):
    """A node that answers everything with one block, or with none."""

    def __init__(self, block: dict[str, Any] | None) -> None:
        super().__init__()
        self._block = block

    def make_request(self, method: Any, params: Any) -> Any:
        return {"jsonrpc": "2.0", "id": 1, "result": self._block}


def test_the_header_has_the_blocks_hash_and_the_beacons_value(chain: EmbeddedChain) -> None:
    values = set()
    for _ in range(3):
        chain.advance_time(1)
        block = chain.w3.eth.get_block("latest")
        header, randao = block_header(chain.w3, block["number"])
        assert keccak(header) == bytes(block["hash"])
        assert randao == bytes(block["mixHash"]) and randao in header
        values.add(randao)
    assert len(values) == 3


def test_a_chain_without_a_beacon_is_refused() -> None:
    # Its hash is right, so the encoding is Ethereum's.
    with pytest.raises(NetworkError, match="block 0 has no beacon value"):
        block_header(Web3(OneBlock(GENESIS)), 0)


def test_other_headers_and_missing_blocks_are_refused() -> None:
    for changed in ({"gasUsed": "0x1"}, {"baseFeePerGas": "0x7"}, {"mixHash": "0x" + "01" * 32}):
        with pytest.raises(NetworkError, match="not that of an Ethereum header"):
            block_header(Web3(OneBlock({**GENESIS, **changed})), 0)
    with pytest.raises(NetworkError, match="does not know block 7"):
        block_header(Web3(OneBlock(None)), 7)
