"""How a fact is read again: the contract, the event, and the command that shows it."""

from __future__ import annotations

from fedvm.chain.events import Place
from fedvm.exports.facts import Source


class Citations:
    """Makes the sources of one contract's facts. is_embedded: whether the chain is a file in a run's directory."""

    def __init__(self, contract: str, option: str, *, is_embedded: bool) -> None:
        self._contract = contract
        self._place = "--run RUN" if is_embedded else f"--rpc RPC --{option} {contract}"
        self._stored = "" if is_embedded else " --store STORE"

    def event(
        self, event: str, at: Place, command: str, *, stored: bool = True, contract: str = ""
    ) -> Source:
        """An event. command: `fedvm`'s, without its options that say where, e.g. "audit --round 2". stored: whether
        that takes a store. contract: another one than that of all sources (hex address)."""
        words = f"fedvm {command} {self._place}{self._stored if stored else ''}"
        return Source(contract or self._contract, event, at.block_number, at.log_index, at.tx_hash, words)
