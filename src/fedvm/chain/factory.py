"""The factory that creates federations as clones, and the implementations that the clones run."""

from __future__ import annotations

from collections.abc import Iterable
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
from fedvm.chain.create2 import create2_address
from fedvm.chain.deploy import deploy_contract
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

    def _installed(self, account: LocalAccount, names: Iterable[str]) -> FederationFactory:
        for name in names:
            if not self.w3.eth.get_code(
                self.w3.to_checksum_address(implementation_address(self.address, name))
            ):
                data = self.contract.encode_abi("install", args=[load_artifact(name).bytecode])
                transaction: Any = {"to": self.address, "data": data}
                self.sender.send(account, transaction, action=f"installing {name}")
        return self


def _deployed(sender: Sender, account: LocalAccount) -> str:
    hashes = [keccak(load_artifact(name).bytecode) for name in IMPLEMENTATIONS]
    address = deploy_contract(sender, account, FEDERATION_FACTORY, (hashes,)).contract_address
    assert address is not None  # checked by `deploy_contract`
    return address
