"""The factory that creates federations as clones, and the implementations that the clones run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract
from web3.types import Nonce
from web3.utils import get_create_address

from fedvm.chain.artifacts import (
    DIRECT_SUBMISSIONS,
    DISPUTES,
    EPOCHS,
    FEDERATION,
    FEDERATION_FACTORY,
    ROLLUPS,
    RULE_BOOK,
    SEALED_COURT,
    SEALED_DISPUTES,
    SEALED_ROUNDS,
    contract_at,
    load_artifact,
)
from fedvm.chain.call import read
from fedvm.chain.costs import Step, creation, federation_step
from fedvm.chain.create2 import DEPLOYER, create2_address
from fedvm.chain.deploy import contract_code, deploy_contract
from fedvm.chain.deployer import RUNTIME, ZERO_SALT, Deployer
from fedvm.chain.sender import Receipt, Sender
from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address
from fedvm.protocol.sealed.rules import SealedRules

OPEN_IMPLEMENTATIONS: Final = (FEDERATION, DISPUTES, ROLLUPS, RULE_BOOK, DIRECT_SUBMISSIONS)
"""Contracts that the clones of an open federation run; installed with the factory."""

SEALED_IMPLEMENTATIONS: Final = (SEALED_DISPUTES, SEALED_ROUNDS, SEALED_COURT, EPOCHS)
"""What a sealed federation has beside its `FEDERATION` and `RULE_BOOK`; installed before the first one is opened."""

IMPLEMENTATIONS: Final = OPEN_IMPLEMENTATIONS + SEALED_IMPLEMENTATIONS
"""Contracts that clones run, in the order of the factory's constructor."""

DEFAULT_SALT: Final = bytes(32)


def implementation_address(factory: str, name: str) -> Address:
    """Where the factory at ``factory`` installs the implementation ``name`` of this package."""
    return create2_address(factory, bytes(32), load_artifact(name).bytecode)


def shared_addresses() -> dict[str, Address]:
    """Where :meth:`FederationFactory.shared` puts the factory and what it installs, by name, on each chain that has
    the common CREATE2 deployer. Whether they stand there already is for the chain to say."""
    code = contract_code(Web3(), FEDERATION_FACTORY, (_hashes(),))
    factory = create2_address(DEPLOYER, ZERO_SALT, code)
    return {
        FEDERATION_FACTORY: factory,
        **{one: implementation_address(factory, one) for one in IMPLEMENTATIONS},
    }


class FederationFactory:
    """A deployed FederationFactory. One serves a whole chain: it has no owner and no state."""

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.w3 = w3
        self.contract: Contract = contract_at(w3, FEDERATION_FACTORY, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)

    @classmethod
    def deploy(cls, w3: Web3, account: LocalAccount) -> FederationFactory:
        """Deploy the factory and the implementations of open federations: one transaction each."""
        sender = Sender(w3)
        return cls(w3, _deployed(sender, account), sender=sender).install(account)

    @classmethod
    def shared(cls, w3: Web3, account: LocalAccount) -> FederationFactory:
        """The factory that all share on a chain, at the address that a CREATE2 deployer gives its code; ``account``
        pays for what is not there yet."""
        sender = Sender(w3)
        deployer = Deployer.ensure(sender, account)
        code = factory_code(w3)
        address, _ = deployer.create(account, code, action=f"creating {FEDERATION_FACTORY}")
        return cls(w3, address, sender=sender)._installed(account, OPEN_IMPLEMENTATIONS)

    @classmethod
    def deploy_first(cls, w3: Web3, account: LocalAccount) -> FederationFactory:
        """The factory that ``account`` deployed with its first transaction; what is missing is deployed now.

        Only for an account that does nothing else before: the address follows from its first nonce. So a deployment
        that was interrupted is found again, and ends with the same factory.
        """
        sender = Sender(w3)
        address: str = get_create_address(account.address, Nonce(0))
        if not w3.eth.get_code(w3.to_checksum_address(address)):
            address = _deployed(sender, account)
        return cls(w3, address, sender=sender).install(account)

    def install(self, account: LocalAccount) -> FederationFactory:
        """Install the implementations of open federations that are missing; returns itself."""
        return self._installed(account, OPEN_IMPLEMENTATIONS)

    def create(self, account: LocalAccount, parameters: tuple[Any, ...], salt: bytes) -> Receipt:
        """Open a federation. ``parameters``: the fields of Solidity's ``FederationParameters``."""
        data = self.contract.encode_abi("create", args=[parameters, salt])
        transaction: Any = {"to": self.address, "data": data}
        return self.sender.send(account, transaction, action="creating Federation")

    def create_sealed(
        self, account: LocalAccount, parameters: tuple[Any, ...], sealed: SealedRules, salt: bytes
    ) -> Receipt:
        """Open a federation whose rounds are sealed. What such federations run is installed before, where missing."""
        self._installed(account, SEALED_IMPLEMENTATIONS)
        data = self.contract.encode_abi("createSealed", args=[parameters, sealed.as_tuple(), salt])
        transaction: Any = {"to": self.address, "data": data}
        return self.sender.send(account, transaction, action="creating sealed Federation")

    def address_of(self, creator: str, salt: bytes = DEFAULT_SALT) -> str:
        """The address of the federation that ``creator`` creates, or has created, with this salt (32 bytes)."""
        return str(read(self.contract, "addressOf", creator, salt))

    def free_salt(self, creator: str) -> bytes:
        """The first salt, counted from 0, with which ``creator`` (hex address) has created no federation yet."""
        return first_free_salt(self.w3, partial(self.address_of, creator))

    def _installed(self, account: LocalAccount, names: Iterable[str]) -> FederationFactory:
        for name in names:
            place = self.w3.to_checksum_address(implementation_address(self.address, name))
            if not self.w3.eth.get_code(place):
                self.sender.settle(account.address)  # a reorganisation may have undone it
            if not self.w3.eth.get_code(place):
                data = self.contract.encode_abi("install", args=[load_artifact(name).bytecode])
                transaction: Any = {"to": self.address, "data": data}
                self.sender.send(account, transaction, action=f"installing {name}")
        return self


def first_free_salt(w3: Web3, address_of: Callable[[bytes], str]) -> bytes:
    """The first salt of 32 bytes, counted from 0, at whose address (hex) there is no contract yet."""
    number = 0
    while w3.eth.get_code(w3.to_checksum_address(address_of(number.to_bytes(32)))):
        number += 1
    return number.to_bytes(32)


def factory_code(w3: Web3) -> bytes:
    """The init code of the factory, with its constructor's arguments."""
    return contract_code(w3, FEDERATION_FACTORY, (_hashes(),))


def founding_steps(w3: Web3, account: str, members: int, *, sealed: bool = False) -> tuple[Step, ...]:
    """What :meth:`FederationFactory.shared` and opening a federation take, less what is on the chain already. account:
    address (hex) of who pays; members: number of members."""
    steps, there = [], False
    deployer = Deployer.find(Sender(w3), account)
    if deployer is None:
        steps.append(creation("CREATE2 deployer", [len(RUNTIME)]))
    else:
        factory = deployer.address_of(factory_code(w3))
        there = bool(w3.eth.get_code(w3.to_checksum_address(factory)))
    if not there:
        steps.append(_creation_of(FEDERATION_FACTORY))
    for name in IMPLEMENTATIONS if sealed else OPEN_IMPLEMENTATIONS:
        if not there or not w3.eth.get_code(w3.to_checksum_address(implementation_address(factory, name))):
            steps.append(_creation_of(name))
    return (*steps, federation_step(members))


def _creation_of(name: str) -> Step:
    artifact = load_artifact(name)
    size = len(artifact.runtime_code)
    return creation(f"contract {name}, for all", [size], init_bytes=len(artifact.bytecode) - size)


def _deployed(sender: Sender, account: LocalAccount) -> str:
    address = deploy_contract(sender, account, FEDERATION_FACTORY, (_hashes(),)).contract_address
    assert address is not None  # checked by `deploy_contract`
    return address


def _hashes() -> list[bytes]:
    """What the factory's constructor takes: the hashes of the init codes that it may install."""
    return [keccak(load_artifact(name).bytecode) for name in IMPLEMENTATIONS]
