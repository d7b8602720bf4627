"""A compiled program on a chain: its contracts are created one after the other, each linked to earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.deploy import placed
from fedvm.chain.deployer import Deployer
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


def program_addresses(deployer: Deployer, units: Sequence[Unit]) -> dict[str, tuple[str, bytes]]:
    """Where a deployer creates the contracts of a program, by their names, and the runtime code of each."""
    addresses: dict[str, str] = {}
    planned: dict[str, tuple[str, bytes]] = {}
    for unit in units:
        runtime = unit.linked(addresses)
        addresses[unit.name] = deployer.address_of(creation_code(runtime))
        planned[unit.name] = (addresses[unit.name], runtime)
    return planned


def deploy_program(
    sender: Sender,
    account: LocalAccount,
    units: Sequence[Unit],
    progress: Progress | None = None,
    *,
    deployer: Deployer | None = None,
) -> DeployedProgram:
    """Create the contracts of a program or of one stage, parts first and the entry last. progress(done, total): called
    after each. deployer: creates them at addresses that follow from their code, so that those which are there already
    are not paid for again; without one each has a transaction of its own.

    Raises TransactionFailed when a creation fails, DeploymentError when other code lies there afterwards.
    """
    addresses: dict[str, str] = {}
    gas_used = 0
    for done, unit in enumerate(units, start=1):
        runtime = unit.linked(addresses)
        code, action = creation_code(runtime), f"creating {unit.name}"
        created, gas = placed(sender, account, code, action=action, deployer=deployer)
        address = Web3.to_checksum_address(created)
        if bytes(sender.w3.eth.get_code(address)) != runtime:
            raise DeploymentError(f"the code at {address} is not the code of {unit.name} that was sent")
        addresses[unit.name] = address
        gas_used += gas
        if progress:
            progress(done, len(units))
    *parts, entry = addresses.values()
    return DeployedProgram(entry, tuple(parts), gas_used)
