"""Events of a contract in the order they happened, fetched in pages that the network takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.exceptions import DecodingError
from eth_typing import ABIEvent, HexStr
from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3
from web3._utils.events import get_event_data
from web3.contract import Contract
from web3.exceptions import Web3Exception, Web3RPCError
from web3.types import FilterParams, LogReceipt, RPCEndpoint

from fedvm.chain.decoding import plain, snake_case
from fedvm.chain.errors import MalformedEvent
from fedvm.chain.logs import quoted, read_log
from fedvm.chain.networks import Network, page
from fedvm.chain.revert import explain

_TOO_MUCH: Final = re.compile(r"range|too many|results|response size|limit", re.IGNORECASE)
"""How nodes say that an `eth_getLogs` asks for too many blocks or finds too many events."""


@dataclass(frozen=True)
class Place:
    """Where an event is recorded."""

    block_number: int
    tx_hash: str
    log_index: int


@dataclass(frozen=True)
class RawEvent:
    """A decoded event: its name, its arguments by name, and its place."""

    name: str
    args: dict[str, Any]
    at: Place

    @property
    def fields(self) -> dict[str, Any]:
        """The arguments by the names that Python gives them."""
        return {snake_case(name): value for name, value in self.args.items()}


@contextmanager
def as_told(name: str, tx_hash: str) -> Iterator[None]:
    """Raise MalformedEvent where what is read inside cannot be an event of this name that a contract told."""
    try:
        yield
    except (Web3Exception, DecodingError, ValueError, TypeError) as error:
        message = f"what is listed as {name} in {tx_hash} cannot be one: {error}"
        raise MalformedEvent(message, tx_hash) from None


class EventReader:
    """Decodes the events of one contract; what its ABI does not know is left out."""

    def __init__(self, w3: Web3, contract: Contract, network: Network) -> None:
        self._w3 = w3
        self._address = contract.address
        self._network = network
        self._by_topic: dict[bytes, ABIEvent] = {
            event_abi_to_log_topic(entry): entry for entry in contract.abi if entry["type"] == "event"
        }
        self._topics = {entry["name"]: topic for topic, entry in self._by_topic.items()}

    def decode(self, logs: Sequence[LogReceipt]) -> list[RawEvent]:
        """The contract's events among ``logs``, e.g. those of one receipt."""
        decoded = (self._decode_one(log) for log in logs if log["address"] == self._address)
        return [event for event in decoded if event is not None]

    def fetch(
        self,
        names: Sequence[str] = (),
        first: int = 0,
        last: int | None = None,
        *,
        indexed: Sequence[bytes] = (),
    ) -> Iterator[RawEvent]:
        """Events of the blocks ``first`` … ``last`` (the head if None), of the given names or of all. indexed: words of
        32 bytes that the first indexed values must be; then names must be given."""
        last = self._w3.eth.block_number if last is None else last
        for from_block, to_block in page(self._network, first, last):
            yield from self._between(names, from_block, to_block, indexed)

    def fetch_back(self, names: Sequence[str]) -> Iterator[RawEvent]:
        """Events of the given names, the latest first; blocks are read as far back as the caller asks for more."""
        for from_block, to_block in reversed(list(page(self._network, 0, self._w3.eth.block_number))):
            yield from reversed(self._between(names, from_block, to_block))

    def _between(
        self, names: Sequence[str], first: int, last: int, indexed: Sequence[bytes] = ()
    ) -> list[RawEvent]:
        query: FilterParams = {"address": self._address}
        if names:
            words = [HexStr("0x" + word.hex()) for word in indexed]
            query["topics"] = [[HexStr("0x" + self._topics[name].hex()) for name in names], *words]
        return self.decode(self._logs(query, first, last))

    def _logs(self, query: FilterParams, first: int, last: int) -> list[LogReceipt]:
        """Logs of a range, in halves where a node finds that too much; nodes differ in how much they answer."""
        asked = {**query, "fromBlock": hex(first), "toBlock": hex(last)}
        try:
            # Not by web3's own method, which fails with an error of Python's over what is no event.
            answer = self._w3.provider.make_request(RPCEndpoint("eth_getLogs"), [asked])
            if answer.get("error") is not None:
                raise Web3RPCError(str(answer["error"]), rpc_response=answer)
            listed: Any = answer.get("result")
            if not isinstance(listed, list):
                raise MalformedEvent(f"the node lists {quoted(listed)} as events", "")
            return [read_log(one) for one in listed]
        except Web3RPCError as error:
            if first >= last or not _TOO_MUCH.search(explain(error)):
                raise
        middle = (first + last) // 2
        return [*self._logs(query, first, middle), *self._logs(query, middle + 1, last)]

    def _decode_one(self, log: LogReceipt) -> RawEvent | None:
        entry = self._by_topic.get(bytes(log["topics"][0])) if log["topics"] else None
        if entry is None:
            return None
        place = Place(log["blockNumber"], log["transactionHash"].to_0x_hex(), log["logIndex"])
        with as_told(entry["name"], place.tx_hash):
            data = get_event_data(self._w3.codec, entry, log)
        return RawEvent(data["event"], plain(data["args"]), place)
