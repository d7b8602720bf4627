"""Letting chain time go by: a local node's clock is set, any other chain's is waited for, with a word about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from web3 import Web3
from web3.types import RPCEndpoint

from fedvm.chain.errors import NetworkError
from fedvm.chain.networks import ANVIL, EMBEDDED, Network

STILL_BLOCKS: Final = 10
STILL_SECONDS: Final = 60


def fast_forward(w3: Web3, network: Network) -> Callable[[int], None] | None:
    """What moves a local node's clock ahead by so many seconds and mines a block; None for every other network.

    For a run whose clients are simulated: nobody else is given the time that is left out. Only chain 31337, which is
    nobody's, is moved.
    """
    if network.chain_id != ANVIL.chain_id:
        return None

    def pass_time(seconds: int) -> None:
        _done(w3, "evm_increaseTime", [max(seconds, 0)])
        _done(w3, "evm_mine", [])

    return pass_time


def keep_pace(w3: Web3, network: Network) -> Callable[[], None] | None:
    """What has a local node mine a block, whose time is that of this machine's clock; None for every other network.

    A node that mines with transactions alone never comes to the end of a window by itself.
    """
    if network.chain_id != ANVIL.chain_id:
        return None
    return lambda: _done(w3, "evm_mine", [])


def await_block_after(w3: Web3, network: Network, number: int) -> None:
    """Wait for a later block than this, for a transaction that the contract takes after it alone: most nodes estimate
    the gas as if it came in their latest block. Lotus and the embedded chain do so for a block to come."""
    if network.is_filecoin or network.name == EMBEDDED.name:
        return
    mine = keep_pace(w3, network)
    while w3.eth.block_number <= number:
        if mine is not None:
            mine()
        else:
            time.sleep(network.poll_seconds)


def _done(w3: Web3, method: str, parameters: list[Any]) -> None:
    answer = w3.provider.make_request(RPCEndpoint(method), parameters)
    if "error" in answer:
        raise NetworkError(
            f"the node of chain {ANVIL.chain_id} does not take {method}, so its time stands still: use anvil or Hardhat"
        )


class Waiting:
    """Says what is waited for: once when a wait begins, and again when the chain's head stands still meanwhile.

    tell: called with each line. A wait ends when another one, of other words, begins.
    """

    def __init__(self, network: Network, tell: Callable[[str], None]) -> None:
        self._limit = max(STILL_SECONDS, STILL_BLOCKS * network.block_seconds)
        self._tell = tell
        self._what = ""
        self._head = -1
        self._since = 0.0
        self._told_still = False

    def look(self, what: str, seconds: int, head_time: int) -> None:
        """what: is waited for; seconds: of chain time that are left; head_time: Unix seconds of the latest block."""
        now = time.monotonic()
        if what != self._what:
            self._what = what
            until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(head_time + seconds))
            self._tell(
                f"Waiting for {what}: until {until} on the chain, {seconds:,} s from its latest block."
            )
            self._head = -1
        if head_time != self._head:
            self._head, self._since, self._told_still = head_time, now, False
        elif now - self._since > self._limit and not self._told_still:
            self._told_still = True
            self._tell(
                f"The chain has had no block for {now - self._since:.0f} s, so its time stands still and {what} "
                "does not come nearer. A node that mines with transactions alone must be told to mine (anvil -b 1)."
            )
