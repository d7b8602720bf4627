"""A compiled program on a chain: its contracts are created one after the other, each linked to earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.deploy import deploy_code
from fedvm.chain.errors import DeploymentError
from fedvm.chain.sender import Sender
from fedvm.evm.creation import creation_code

Progress = Callable[[int, int], None]


class Unit(Protocol):
    """One contract of a program, before the addresses of its parts are known; `fedvm.compiler.compiled.Unit` is one."""

    @property
    def name(self) -> str:
        """The name by which other contracts refer to it."""
        ...

    def linked(self, addresses: Mapping[str, str]) -> bytes:
        """Its runtime code, linked to the contracts with these names and addresses (hex)."""
        ...


@dataclass(frozen=True)
class DeployedProgram:
    """The addresses (checksummed) of a program or of one of its stages, with the parts in order of creation. gas_used:
    by creating all of them."""

    entry: str
    parts: tuple[str, ...]
    gas_used: int

    @property
    def addresses(self) -> tuple[str, ...]:
        """The entry's address, then the parts' addresses."""
        return (self.entry, *self.parts)


def deploy_program(
    sender: Sender, account: LocalAccount, units: Sequence[Unit], progress: Progress | None = None
) -> DeployedProgram:
    """Create the contracts of a program or of one stage, parts first and the entry last. progress(done, total): called
    after each.

    Raises TransactionFailed when a creation fails, DeploymentError when other code lies there afterwards.
    """
    addresses: dict[str, str] = {}
    gas_used = 0
    for done, unit in enumerate(units, start=1):
        runtime = unit.linked(addresses)
        receipt = deploy_code(sender, account, creation_code(runtime), action=f"creating {unit.name}")
        address = Web3.to_checksum_address(str(receipt.contract_address))
        if bytes(sender.w3.eth.get_code(address)) != runtime:
            raise DeploymentError(f"the code at {address} is not the code of {unit.name} that was sent")
        addresses[unit.name] = address
        gas_used += receipt.gas_used
        if progress:
            progress(done, len(units))
    *parts, entry = addresses.values()
    return DeployedProgram(entry, tuple(parts), gas_used)
