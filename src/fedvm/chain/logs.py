"""Logs as a node lists them (`eth_getLogs`), whose form is checked before anything is read of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3.types import LogReceipt

from fedvm.chain.errors import MalformedEvent

_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FORMS: Final = {
    "address": _ADDRESS,
    "data": _DATA,
    "blockNumber": _QUANTITY,
    "blockHash": _HASH,
    "transactionHash": _HASH,
    "transactionIndex": _QUANTITY,
    "logIndex": _QUANTITY,
}
_MOST_TOPICS: Final = 4
_SHOWN: Final = 60
"""Characters that are quoted of what a node gives."""


def require_log(listed: Any) -> Mapping[str, Any]:
    """What a node lists as an event, which has the form of one: hexadecimal text of the right length in every field.

    Raises:
        MalformedEvent: it has not, with the field.
    """
    if not isinstance(listed, Mapping):
        raise MalformedEvent(f"the node lists {quoted(listed)} as an event", "")
    told = listed.get("transactionHash")
    tx_hash = told if isinstance(told, str) and _HASH.fullmatch(told) else ""
    for name, form in _FORMS.items():
        _require(listed.get(name), form, name, tx_hash)
    topics = listed.get("topics")
    if not isinstance(topics, list | tuple) or len(topics) > _MOST_TOPICS:
        raise MalformedEvent(_wrong("topics", topics, tx_hash), tx_hash)
    for topic in topics:
        _require(topic, _HASH, "topics", tx_hash)
    return listed


def read_log(listed: Any) -> LogReceipt:
    """The same as web3 gives it: bytes and numbers. Raises as `require_log`."""
    log = require_log(listed)
    fields = {
        "address": to_checksum_address(log["address"]),
        "topics": [HexBytes(topic) for topic in log["topics"]],
        "data": HexBytes(log["data"]),
        "blockHash": HexBytes(log["blockHash"]),
        "transactionHash": HexBytes(log["transactionHash"]),
    }
    numbers = {name: int(log[name], 16) for name in ("blockNumber", "transactionIndex", "logIndex")}
    return cast(LogReceipt, {**fields, **numbers, "removed": log.get("removed") is True})


def quoted(given: object) -> str:
    """A node's words for a message: short, and without characters that a terminal obeys."""
    text = ascii(given)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _require(value: object, form: re.Pattern[str], name: str, tx_hash: str) -> None:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise MalformedEvent(_wrong(name, value, tx_hash), tx_hash)


def _wrong(name: str, value: object, tx_hash: str) -> str:
    where = f" in {tx_hash}" if tx_hash else ""
    return f"the node lists an event{where} whose {name} is {quoted(value)}"
