"""What an audit reads of a chain beside the contracts' events: blocks, transactions, receipts, code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from web3 import Web3
from web3.types import RPCEndpoint

from fedvm.chain.errors import MalformedAnswer, NetworkError
from fedvm.chain.headers import read_header
from fedvm.chain.logs import quoted
from fedvm.chain.networks import network_of, page
from fedvm.evm.keccak import keccak

_NULL_ROUNDS: Final = 100
"""So many in a row no chain has."""
Json = Mapping[str, Any]
"""An object as the node gives it."""


@dataclass(frozen=True)
class Block:
    """A block as the node gives it. time: Unix seconds; has_hash: whether its header has the hash; the hashes are 32
    bytes each."""

    number: int
    time: int
    hash: bytes
    has_hash: bool
    receipts_root: bytes
    transactions: tuple[str, ...]


class ChainReader:
    """Plain JSON-RPC reads, remembered where they repeat. Raises NetworkError where the node does not answer, and
    MalformedAnswer where what it says has not the form of such a thing."""

    def __init__(self, w3: Web3) -> None:
        self.w3 = w3
        self._blocks: dict[int, Block] = {}

    @cached_property
    def chain_id(self) -> int:
        """The chain's id."""
        return self.w3.eth.chain_id

    @cached_property
    def head(self) -> int:
        """The latest block when it was first asked for, which is the last one of the audit."""
        return int(self.w3.eth.block_number)

    @cached_property
    def has_headers(self) -> bool:
        """Whether the hashes of this chain's blocks are those of Ethereum's headers, which commit to receipts. The
        network's name is believed, and three blocks are asked: what one says of itself changes nothing. One that has
        not the form of a block says nothing, so that it cannot spare a node the comparison."""
        asked = (self.head, max(self.head - 1, 0), self.head // 2)
        return not network_of(self.w3).is_filecoin and any(map(self._may_have_hash, asked))

    def _may_have_hash(self, number: int) -> bool:
        try:
            return self.block(number).has_hash
        except MalformedAnswer:
            return True

    def block(self, number: int) -> Block:
        """A block by its number."""
        if number not in self._blocks:
            header, fields = read_header(self.w3, number)
            hash_ = bytes.fromhex(fields["hash"][2:])
            self._blocks[number] = Block(
                number,
                int(fields["timestamp"], 16),
                hash_,
                keccak(header) == hash_ and int(fields["number"], 16) == number,
                bytes.fromhex(fields["receiptsRoot"][2:]),
                tuple(fields["transactions"]),
            )
        return self._blocks[number]

    def time(self, block: int) -> int:
        """Unix time of a block in seconds."""
        return self.block(block).time

    def block_hash(self, block: int) -> bytes:
        """The hash of a block, 32 bytes, as contracts see it: of a round without one, on Filecoin, that of the block
        before."""
        for number in range(block, max(block - _NULL_ROUNDS, 0), -1):
            try:
                return self.block(number).hash
            except NetworkError as error:
                if "null round" not in str(error):
                    raise
        return self.block(max(block - _NULL_ROUNDS, 0)).hash

    def calldata(self, tx_hash: str) -> bytes:
        """The input of a transaction."""
        told = self.transaction(tx_hash).get("input")
        try:
            return bytes.fromhex(str(told).removeprefix("0x"))
        except ValueError:
            raise MalformedAnswer(f"the input of {tx_hash} is {quoted(told)}") from None

    def transaction(self, tx_hash: str) -> Json:
        """A transaction as the node gives it."""
        return self._object("eth_getTransactionByHash", tx_hash)

    def receipts(self, block: Block) -> Sequence[Json]:
        """The receipts of all transactions of a block, in order."""
        if len(block.transactions) > 1:
            answer: Any = self.w3.provider.make_request(
                RPCEndpoint("eth_getBlockReceipts"), [hex(block.number)]
            )
            told = answer.get("result")
            if isinstance(told, list) and told:
                return told
        return [self.receipt(tx_hash) for tx_hash in block.transactions]

    def receipt(self, tx_hash: str) -> Json:
        """A transaction's receipt as the node gives it."""
        return self._object("eth_getTransactionReceipt", tx_hash)

    def logs(self, addresses: Sequence[str], first: int) -> Sequence[Any]:
        """All that is listed as events of the contracts from block ``first`` on, in the order of the chain. Whether
        each has the form of an event is not looked at."""
        found: list[Any] = []
        if not addresses:  # to a node no address means every contract
            return found
        for begin, end in page(network_of(self.w3), first, self.head):
            query = {"address": list(addresses), "fromBlock": hex(begin), "toBlock": hex(end)}
            answer: Any = self.w3.provider.make_request(RPCEndpoint("eth_getLogs"), [query])
            if answer.get("result") is None:
                raise NetworkError(
                    f"the node gives no events of blocks {begin} to {end}: {answer.get('error')}"
                )
            if not isinstance(answer["result"], list):
                raise MalformedAnswer(f"the node lists {quoted(answer['result'])} as events")
            found += answer["result"]
        return found

    def code(self, address: str) -> bytes:
        """The runtime code at an address."""
        return bytes(self.w3.eth.get_code(Web3.to_checksum_address(address)))

    def _object(self, method: str, argument: str) -> Json:
        answer: Any = self.w3.provider.make_request(RPCEndpoint(method), [argument])
        told = answer.get("result")
        if told is None:
            raise NetworkError(f"the node knows nothing of {argument} ({method}): {answer.get('error')}")
        if not isinstance(told, Mapping) or not told:
            raise MalformedAnswer(f"the node says {quoted(told)} of {argument} ({method})")
        return told
