"""The factory that creates federations as clones, and the implementations that the clones run."""

from __future__ import annotations

from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract
from web3.types import Nonce
from web3.utils import get_create_address

from fedvm.chain.artifacts import (
    DIRECT_SUBMISSIONS,
    DISPUTES,
    FEDERATION,
    FEDERATION_FACTORY,
    ROLLUPS,
    RULE_BOOK,
    contract_at,
)
from fedvm.chain.call import read
from fedvm.chain.deploy import deploy_contract
from fedvm.chain.sender import Receipt, Sender

IMPLEMENTATIONS: Final = (FEDERATION, DISPUTES, ROLLUPS, RULE_BOOK, DIRECT_SUBMISSIONS)
"""Contracts that the clones run, in the order of the factory's struct."""

DEFAULT_SALT: Final = bytes(32)


class FederationFactory:
    """A deployed FederationFactory. One serves a whole chain: it has no owner and no state."""

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.w3 = w3
        self.contract: Contract = contract_at(w3, FEDERATION_FACTORY, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)

    @classmethod
    def deploy(cls, w3: Web3, account: LocalAccount) -> FederationFactory:
        """Deploy the implementations and the factory: one transaction each."""
        sender = Sender(w3)
        implementations = [_deployed(sender, account, name) for name in IMPLEMENTATIONS]
        address = _deployed(sender, account, FEDERATION_FACTORY, (tuple(implementations),))
        return cls(w3, address, sender=sender)

    @classmethod
    def deploy_first(cls, w3: Web3, account: LocalAccount) -> FederationFactory:
        """The factory that ``account`` deployed with its first transactions; what is missing is deployed now.

        Only for an account that does nothing else before: the addresses follow from its first nonces. So a deployment
        that was interrupted is found again, and ends with the same factory.
        """
        sender = Sender(w3)
        implementations = [
            _at_nonce(sender, account, nonce, name, ()) for nonce, name in enumerate(IMPLEMENTATIONS)
        ]
        arguments = (tuple(implementations),)
        address = _at_nonce(sender, account, len(IMPLEMENTATIONS), FEDERATION_FACTORY, arguments)
        return cls(w3, address, sender=sender)

    def create(self, account: LocalAccount, parameters: tuple[Any, ...], salt: bytes) -> Receipt:
        """Open a federation. ``parameters``: the fields of Solidity's ``FederationParameters``."""
        data = self.contract.encode_abi("create", args=[parameters, salt])
        transaction: Any = {"to": self.address, "data": data}
        return self.sender.send(account, transaction, action="creating Federation")

    def address_of(self, creator: str, salt: bytes = DEFAULT_SALT) -> str:
        """The address of the federation that ``creator`` creates, or has created, with this salt (32 bytes)."""
        return str(read(self.contract, "addressOf", creator, salt))


def _deployed(sender: Sender, account: LocalAccount, name: str, arguments: tuple[Any, ...] = ()) -> str:
    address = deploy_contract(sender, account, name, arguments).contract_address
    assert address is not None  # checked by `deploy_contract`
    return address


def _at_nonce(
    sender: Sender, account: LocalAccount, nonce: int, name: str, arguments: tuple[Any, ...]
) -> str:
    address = get_create_address(account.address, Nonce(nonce))
    if sender.w3.eth.get_code(address):
        return address
    return _deployed(sender, account, name, arguments)
