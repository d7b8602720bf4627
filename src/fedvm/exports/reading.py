"""Reads the facts of a federation and a model service from their chain and a store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from web3 import Web3

from fedvm.audit.errors import AuditError
from fedvm.chain.genuine import deviations, service_deviations
from fedvm.chain.networks import network_of
from fedvm.exports.errors import ExportError
from fedvm.exports.facts import Facts, cited
from fedvm.exports.federation_facts import federation_facts
from fedvm.exports.service_facts import service_facts
from fedvm.exports.sources import Where
from fedvm.store import Store

_KEPT: Final = 100_000
"""Blocks whose times are remembered."""


def read_facts(
    w3: Web3,
    store: Store | None,
    *,
    federation: str | None,
    service: str | None,
    first_block: int = 0,
    last_block: int | None = None,
) -> Facts:
    """The facts up to the block `last_block`, the head if it is None. What was not there yet, and what no store has, is
    left out.

    federation, service: addresses (hex) of either or both. first_block: at or before the creation of both.

    Raises:
        ExportError: nothing is named, or nothing was there at that block.
        AuditError: a contract is not this package's, so nothing that it tells can be relied on.
        ChainError: the chain cannot be read.
    """
    if federation is None and service is None:
        raise ExportError("there is neither a federation nor a service to export: name an address")
    head = int(w3.eth.block_number)
    last = head if last_block is None else last_block
    if not first_block <= last <= head:
        raise ExportError(f"block {last} is not between {first_block} and the chain's head, {head}")
    if federation is not None:
        _require(deviations(w3, federation))
    if service is not None:
        _require(service_deviations(w3, service, first_block=first_block))
    network = network_of(w3)
    where = Where(federation, service, is_embedded=network.name == "embedded")

    @lru_cache(maxsize=_KEPT)
    def time_of(block: int) -> int:
        return int(w3.eth.get_block(block)["timestamp"])

    told = serving = None
    if federation is not None:
        told = federation_facts(w3, federation, store, first_block, last, time_of, where)
    if service is not None:
        serving = service_facts(w3, service, store, first_block, last, time_of, where)
    if told is None and serving is None:
        raise ExportError(f"nothing of it was there yet in the blocks {first_block} to {last}: name others")
    block = max(source.block for source in cited((told, serving)))
    if told is not None:
        block = max(block, told.changed_in)
    return Facts(int(w3.eth.chain_id), network.title, block, time_of(block), told, serving)


def _require(deviations: Iterator[str]) -> None:
    for deviation in deviations:
        raise AuditError(f"{deviation}. Check the address and the network")
