"""Compares the events that a node lists with what the blocks of the chain have committed to.

Nodes list events from an index of their own, which can be wrong or lie. The receipts of a block's transactions hold
the same events, the block's header holds the receipts' root, and the block's hash is that of the header. What the audit
reads of a transaction's input follows from the transaction's hash. On Filecoin headers hold no such root:
there the index is compared with receipts alone.

Whole blocks of which nothing is listed are not looked for here; `fedvm.audit.standing` compares what the events come to
with what the contracts say now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3
from web3.contract import Contract

from fedvm.audit.chain_reader import Block, ChainReader, Json
from fedvm.audit.findings import Ledger, Place
from fedvm.chain.errors import ChainError, MalformedAnswer, MalformedEvent, NetworkError
from fedvm.chain.events import EventReader
from fedvm.chain.logs import quoted, read_log, require_log
from fedvm.chain.networks import network_of
from fedvm.chain.receipts import receipts_root, transaction_hash

_PLACES = ("round", "version", "epoch", "member")
"""Arguments of events that say where a finding was made."""


@dataclass(frozen=True)
class _Told:
    """An event, decoded as far as it can be. fields: by the ABI's names, of structs with dots."""

    name: str
    fields: Mapping[str, Any]
    block: int

    def place(self, tx_hash: str, field: str = "") -> Place:
        """Where it stands."""
        where = {name: self.fields[name] for name in _PLACES if name in self.fields}
        decision = self.fields.get("id") if self.name == "Decision" else None
        return Place(**where, decision=decision, tx=tx_hash, event=self.name, field=field)


class BlockReplay:
    """Checks the events of some contracts into `ledger`."""

    def __init__(self, reader: ChainReader, contracts: Sequence[Contract], ledger: Ledger) -> None:
        self._reader, self._ledger = reader, ledger
        network = network_of(reader.w3)
        self._readers = {one.address: EventReader(reader.w3, one, network) for one in contracts}
        self._names = {
            (one.address, event_abi_to_log_topic(entry)): entry["name"]
            for one in contracts
            for entry in one.abi
            if entry["type"] == "event"
        }
        self._is_filecoin = network.is_filecoin

    def run(self, first_block: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Check everything from `first_block` on; `progress(done, blocks)`."""
        listed: dict[int, list[Json]] = defaultdict(list)
        for log in self._listed(first_block):
            listed[int(log["blockNumber"], 16)].append(log)
        for done, (number, logs) in enumerate(sorted(listed.items()), start=1):
            self._check_block(number, logs)
            if progress:
                progress(done, len(listed))

    def _listed(self, first_block: int) -> Iterator[Json]:
        """What is listed and has the form of an event; all else is a finding."""
        try:
            told = self._reader.logs(list(self._readers), first_block)
        except MalformedAnswer as error:
            self._differs(Place(), str(error))
            return
        for one in told:
            try:
                yield require_log(one)
            except MalformedEvent as error:
                self._differs(Place(tx=error.tx_hash), str(error))

    def _check_block(self, number: int, listed: Sequence[Json]) -> None:
        reader, check = self._reader, self._ledger.check
        try:
            block = reader.block(number)
        except MalformedAnswer as error:
            check("header", False, self._place(listed), str(error))
            return
        if reader.has_headers:
            place = Place() if block.has_hash else self._place(listed)
            check("header", block.has_hash, place, f"the hash of block {number} is not that of its header")
        by_transaction: dict[str, list[Json]] = defaultdict(list)
        for log in listed:
            by_transaction[log["transactionHash"]].append(log)
        try:
            receipts = reader.receipts(block) if reader.has_headers else []
            if reader.has_headers:
                self._check_root(block, receipts, listed)
            known = {receipt["transactionHash"]: receipt for receipt in receipts}
            for tx_hash, logs in by_transaction.items():
                receipt = known[tx_hash] if tx_hash in known else reader.receipt(tx_hash)
                self._check_transaction(tx_hash)
                self._compare(tx_hash, logs, self._own(receipt))
            for tx_hash, receipt in known.items():
                if tx_hash not in by_transaction:
                    self._compare(tx_hash, (), self._own(receipt))
        except (NetworkError, MalformedEvent, KeyError, TypeError, ValueError, AttributeError) as error:
            said = str(error) if isinstance(error, ChainError) else quoted(error)
            message = f"{self._told(listed)} cannot be compared with a receipt: {said}"
            check("event", False, self._place(listed), message)

    def _check_root(self, block: Block, receipts: Sequence[Json], listed: Sequence[Json]) -> None:
        if receipts_root(receipts) == block.receipts_root:
            self._ledger.check("receipts", True, Place(), "")
            return
        message = f"the receipts of block {block.number} have another root than its header: it tells of "
        self._ledger.check("receipts", False, self._place(listed), message + self._told(listed))

    def _check_transaction(self, tx_hash: str) -> None:
        transaction = self._reader.transaction(tx_hash)
        is_native = self._is_filecoin and not int(transaction.get("r") or "0x0", 16)
        if is_native:  # a message of Filecoin's own, whose hash is made otherwise
            return
        found = transaction_hash(transaction)
        same = found is None or "0x" + found.hex() == tx_hash == transaction["hash"]
        self._ledger.check("transaction", same, Place(tx=tx_hash), "what the node gives has another hash")

    def _own(self, receipt: Json) -> list[Json]:
        return [log for log in receipt["logs"] if Web3.to_checksum_address(log["address"]) in self._readers]

    def _compare(self, tx_hash: str, listed: Sequence[Json], stated: Sequence[Json]) -> None:
        """Compare the events of a transaction as they are listed and as its receipt has them, one by one."""
        if [*map(_encoded, listed)] == [*map(_encoded, stated)]:
            for _ in stated:
                self._ledger.check("event", True, Place(), "")
            return
        told, right = [self._decoded(log) for log in listed], [self._decoded(log) for log in stated]
        if len(told) != len(right):
            for one in _only_in(told, right):
                self._differs(one.place(tx_hash), f"{one.name} is listed, and not in the receipt")
            for one in _only_in(right, told):
                self._differs(one.place(tx_hash), f"{one.name} is in the receipt, and not listed")
            return
        for one, other in zip(told, right, strict=True):
            different = [*_differences(one, other)]
            for field in different:
                name = field or "event"
                values = (one.fields.get(field), other.fields.get(field)) if field else (one.name, other.name)
                shown = [value.hex() if isinstance(value, bytes) else value for value in values]
                message = f"{name} is listed as {shown[0]}, the receipt has {shown[1]}"
                self._differs(other.place(tx_hash, field), message)
            if not different:
                self._ledger.check("event", True, Place(), "")

    def _differs(self, place: Place, message: str) -> None:
        self._ledger.check("event", False, place, message)

    def _decoded(self, log: Json) -> _Told:
        read = read_log(log)
        address, topics = read["address"], read["topics"]
        name = self._names.get((address, bytes(topics[0]) if topics else b""), "")
        block = read["blockNumber"]
        raw = {f"topic {at}": bytes(topic) for at, topic in enumerate(topics)} | {"data": bytes(read["data"])}
        try:
            (event,) = self._readers[address].decode([read]) or (None,)
        except MalformedEvent:
            event = None
        if event is None:
            return _Told(name or "an event that is not known", raw, block)
        fields = dict(_flat(event.args))
        # Bytes that decoding passes over, such as padding, are part of what was hashed.
        encoded = b"".join((*map(bytes, topics), raw["data"]))
        return _Told(event.name, {**fields, "encoding": encoded}, block)

    def _place(self, logs: Sequence[Json]) -> Place:
        """Where a block's finding is made: the event that says most."""
        told = [(log["transactionHash"], self._decoded(log)) for log in logs]
        tx_hash, one = max(told, key=lambda pair: sum(name in pair[1].fields for name in _PLACES))
        return one.place(tx_hash)

    def _told(self, logs: Sequence[Json]) -> str:
        """What events say, in words."""
        return "; ".join(
            f"{one.name} ({one.place(log['transactionHash'])})"
            for log, one in ((log, self._decoded(log)) for log in logs)
        )


def _encoded(log: Json) -> tuple[str, tuple[str, ...], str, int]:
    """All of an event that an audit reads."""
    address, number = str(log["address"]).lower(), int(log["blockNumber"], 16)
    return address, tuple(log["topics"]), log["data"], number


def _only_in(some: Sequence[_Told], others: Sequence[_Told]) -> Iterator[_Told]:
    rest = list(others)
    for one in some:
        if one in rest:
            rest.remove(one)
        else:
            yield one


def _differences(one: _Told, other: _Told) -> Iterator[str]:
    """The names of fields that differ; "" for the event itself."""
    if one.name != other.name:
        yield ""
        return
    if one.block != other.block:
        yield "block"
    names = [name for name in {**other.fields, **one.fields} if name != "encoding"]
    found = [name for name in names if one.fields.get(name) != other.fields.get(name)]
    yield from found
    if not found and one.fields.get("encoding") != other.fields.get("encoding"):
        yield "encoding"


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{name}.")
        elif isinstance(item, tuple) and item and isinstance(item[0], Mapping):
            for index, one in enumerate(item):
                yield from _flat(one, f"{prefix}{name}[{index}].")
        else:
            yield f"{prefix}{name}", item
