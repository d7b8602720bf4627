"""The transactions by which a wallet without a key here opens a federation, and where everything will be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from web3 import Web3

from fedvm.chain.artifacts import FEDERATION, FEDERATION_FACTORY, load_artifact
from fedvm.chain.create2 import clone_address
from fedvm.chain.deployer import Deployer
from fedvm.chain.errors import DeploymentError
from fedvm.chain.factory import (
    IMPLEMENTATIONS,
    OPEN_IMPLEMENTATIONS,
    factory_code,
    first_free_salt,
    implementation_address,
)
from fedvm.chain.sender import Sender
from fedvm.chain.unsent import UnsentTransaction, unsent, unsent_of
from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address
from fedvm.protocol.sealed.rules import SealedRules


@dataclass(frozen=True)
class UnsignedFounding:
    """Transactions to send in this order, and the address (checksummed) that the federation then has."""

    transactions: tuple[UnsentTransaction, ...]
    federation: str


def unsigned_founding(
    w3: Web3, wallet: str, parameters: tuple[Any, ...], sealed: SealedRules | None = None
) -> UnsignedFounding:
    """For a wallet (hex address), which creates the federation. What all federations share and is on the chain is left
    out. parameters: as `FederationContract.parameters`; sealed: how rounds are sealed.

    Raises:
        DeploymentError: the chain has no common CREATE2 deployer, without which no address is known beforehand.
    """
    sender, chain_id = Sender(w3), int(w3.eth.chain_id)
    deployer = Deployer.find(sender, wallet)
    if deployer is None:
        raise DeploymentError(
            f"the CREATE2 deployer is not on {sender.network.title}: have an account create or deploy something first, "
            "which puts it there"
        )
    code = factory_code(w3)
    factory = deployer.address_of(code)
    contract = w3.eth.contract(
        address=w3.to_checksum_address(factory), abi=load_artifact(FEDERATION_FACTORY).abi
    )
    transactions = []
    if not _there(w3, factory):
        call: Any = deployer.call(code)
        transactions.append(unsent_of(chain_id, call, f"creating {FEDERATION_FACTORY}"))
    for name in OPEN_IMPLEMENTATIONS if sealed is None else IMPLEMENTATIONS:
        if not _there(w3, implementation_address(factory, name)):
            transactions.append(unsent(contract, "install", load_artifact(name).bytecode))
    salt = first_free_salt(w3, partial(federation_address, factory, wallet))
    if sealed is None:
        transactions.append(unsent(contract, "create", parameters, salt))
    else:
        transactions.append(unsent(contract, "createSealed", parameters, sealed.as_tuple(), salt))
    federation = federation_address(factory, wallet, salt)
    return UnsignedFounding(tuple(transactions), w3.to_checksum_address(federation))


def federation_address(factory: str, creator: str, salt: bytes) -> Address:
    """Where a factory puts the federation that a creator (hex addresses) opens with a salt of 32 bytes
    (docs/protocol.md, "Addresses")."""
    place = keccak(bytes.fromhex(creator[2:]).rjust(32, b"\0") + salt)
    return clone_address(factory, place, implementation_address(factory, FEDERATION), place)


def _there(w3: Web3, address: str) -> bool:
    return bool(w3.eth.get_code(Web3.to_checksum_address(address)))
