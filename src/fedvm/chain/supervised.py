"""An account whose transactions somebody looks at before they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from web3 import Web3
from web3.types import TxParams

from fedvm.chain.errors import KeyFileError


class Look(Protocol):
    """Called with transactions (``to``, ``data``, ``value``) that are about to be signed and with the name of the
    action; raises to keep them from being sent. apart: each needs the one before in an earlier block, and is announced
    here since the sender knows it now alone."""

    def __call__(self, transactions: Sequence[TxParams], action: str, *, apart: bool = False) -> None: ...


class SupervisedAccount(LocalAccount):
    """An account like any other, for whatever sends from one; :class:`~fedvm.chain.sender.Sender` calls ``look`` first.

    address: hex. account: has the key; None where it is not here, since nothing will be signed.
    """

    def __init__(self, address: str, account: LocalAccount | None, look: Look) -> None:
        # Not the constructor of LocalAccount, which takes a key.
        self._publicapi = Account()
        self._address: ChecksumAddress = Web3.to_checksum_address(address)
        self._account = account
        self.look = look

    @property
    def key(self) -> bytes:
        """The private key. Raises KeyFileError where it is not here."""
        if self._account is None:
            raise KeyFileError(f"the key of {self._address} is not here, and this needs its signature")
        return bytes(self._account.key)
