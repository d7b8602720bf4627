"""How a fact is read again: the contract, the event, and the command that shows it."""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.chain.events import Place
from fedvm.exports.facts import Source


@dataclass(frozen=True)
class Where:
    """The contracts that are read (hex addresses), and whether their chain is a file in a run's directory."""

    federation: str | None
    service: str | None
    is_embedded: bool

    def options(self, *names: str) -> str:
        """The options that name the place for a command that takes addresses of these contracts."""
        if self.is_embedded:
            return "--run RUN"
        named = {"federation": self.federation, "service": self.service}
        return " ".join(["--rpc RPC", *(f"--{name} {named[name]}" for name in names if named[name])])


class Citations:
    """Makes the sources of the facts of one contract, which an option of commands names."""

    def __init__(self, contract: str, option: str, where: Where) -> None:
        self._contract, self._option, self._where = contract, option, where

    def audited(self, event: str, at: Place, *, round_: int | None = None, contract: str = "") -> Source:
        """An event that an audit holds against what follows; round_: of the one round alone. contract: that tells it
        (hex address), if it is another one than that of all sources."""
        command = "audit" if round_ is None else f"audit --round {round_}"
        places = self._where.options("federation", "service")
        stored = "" if self._where.is_embedded else " --store STORE"
        return self._source(event, at, f"{command} {places}{stored}", contract)

    def listed(self, event: str, at: Place, command: str) -> Source:
        """An event that a command shows, e.g. "members list"."""
        return self._source(event, at, f"{command} {self._where.options(self._option)}")

    def _source(self, event: str, at: Place, command: str, contract: str = "") -> Source:
        who = contract or self._contract
        return Source(who, event, at.block_number, at.log_index, at.tx_hash, f"fedvm {command}")
