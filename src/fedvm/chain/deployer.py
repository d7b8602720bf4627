"""Contracts at addresses that follow from their code alone, on every chain: CREATE2 through a deployer that all share.

The deployer is Arachnid's deterministic deployment proxy: its transaction was signed without a chain's id and by no
one's key, so on each chain that takes such a transaction it lands at one address. Where a node refuses it, or gas
counts otherwise than when it was signed (Filecoin), an account creates a copy of its own.
"""

from __future__ import annotations

import time
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from requests.exceptions import RequestException
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import Nonce
from web3.utils import get_create_address

from fedvm.chain.create2 import DEPLOYER, create2_address
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.sender import Receipt, Sender
from fedvm.evm.limits import MAX_CALLDATA_BYTES
from fedvm.protocol.address import Address

ZERO_SALT: Final = bytes(32)
RUNTIME: Final = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd"
    "5b8082525050506014600cf3"
)
"""Calldata is the salt and then init code; value goes to the new contract, whose address of 20 bytes is the answer."""
_CREATION: Final = bytes.fromhex("604580600e600039806000f350fe") + RUNTIME
_SIGNER: Final = "0x3fAB184622Dc19b6109349B94811493BF2a45362"
_PRESIGNED: Final = (
    bytes.fromhex("f8a58085174876e800830186a08080b853")  # nonce 0, 100 gwei, 100,000 gas, to nobody
    + _CREATION
    + bytes.fromhex("1ba0" + 32 * "22" + "a0" + 32 * "22")
)
_PRESIGNED_COST: Final = 100_000 * 100 * 10**9
_OWN_NONCES: Final = 64
"""So many of an account's first and latest transactions are looked at for a copy of the deployer."""


class Deployer:
    """A deployer that stands on a chain."""

    def __init__(self, sender: Sender, address: str) -> None:
        self.sender = sender
        self.address = address

    @classmethod
    def find(cls, sender: Sender, account: str) -> Deployer | None:
        """The common one, or else the copy that an account (hex address) has created; None if there is neither."""
        if _code(sender.w3, DEPLOYER) == RUNTIME:
            return cls(sender, DEPLOYER)
        count = int(sender.w3.eth.get_transaction_count(Web3.to_checksum_address(account)))
        looked = {*range(min(count, _OWN_NONCES)), *range(max(count - _OWN_NONCES, 0), count)}
        for nonce in sorted(looked):
            address = get_create_address(Web3.to_checksum_address(account), Nonce(nonce))
            if _code(sender.w3, address) == RUNTIME:
                return cls(sender, address)
        return None

    @classmethod
    def ensure(cls, sender: Sender, account: LocalAccount) -> Deployer:
        """The one that :meth:`find` finds; if there is none, the common one is put there, or else a copy."""
        if found := cls.find(sender, str(account.address)):
            return found
        if not sender.network.is_filecoin and _place_common(sender, account):
            return cls(sender, DEPLOYER)
        data: Any = {"data": _CREATION}
        receipt = sender.send(account, data, action="creating a CREATE2 deployer")
        assert receipt.contract_address is not None
        return cls(sender, receipt.contract_address)

    def address_of(self, init_code: bytes, salt: bytes = ZERO_SALT) -> Address:
        """Where it creates, or has created, what ``init_code`` returns."""
        return create2_address(self.address, salt, init_code)

    def call(self, init_code: bytes, salt: bytes = ZERO_SALT) -> dict[str, Any]:
        """The transaction that creates it: ``to`` and ``data``."""
        return {"to": self.address, "data": salt + init_code}

    def create(
        self, account: LocalAccount, init_code: bytes, *, action: str, salt: bytes = ZERO_SALT
    ) -> tuple[Address, Receipt | None]:
        """Create it unless it is there already, as after an interruption; its address, and the receipt if it was
        created now.

        Raises:
            TransactionFailed: the code is too long, the creation failed, or no code is there afterwards.
        """
        if len(init_code) + len(salt) > MAX_CALLDATA_BYTES:
            raise TransactionFailed(
                action,
                f"{len(init_code)} bytes of init code, at most {MAX_CALLDATA_BYTES - len(salt)} fit a message",
            )
        address = self.address_of(init_code, salt)
        if _code(self.sender.w3, address):
            return address, None
        call: Any = self.call(init_code, salt)
        receipt = self.sender.send(account, call, action=action)
        if not _code(self.sender.w3, address):
            raise TransactionFailed(action, "no code at the new address", tx_hash=receipt.tx_hash)
        return address, receipt


def _code(w3: Web3, address: str) -> bytes:
    return bytes(w3.eth.get_code(Web3.to_checksum_address(address)))


def _place_common(sender: Sender, account: LocalAccount) -> bool:
    """Pay for the transaction that was signed beforehand and send it; False if the node does not take it."""
    w3 = sender.w3
    lacking = _PRESIGNED_COST - int(w3.eth.get_balance(Web3.to_checksum_address(_SIGNER)))
    if int(w3.eth.get_transaction_count(Web3.to_checksum_address(_SIGNER))) > 0:
        return False  # it was sent before, and failed
    try:
        if lacking > 0:
            pay: Any = {"to": _SIGNER, "value": lacking}
            sender.send(account, pay, action="paying for the CREATE2 deployer")
        tx_hash = w3.eth.send_raw_transaction(_PRESIGNED)
    except (Web3Exception, RequestException, ValueError):
        return False
    deadline = time.monotonic() + sender.network.receipt_timeout_seconds
    while time.monotonic() < deadline:
        try:
            w3.eth.get_transaction_receipt(tx_hash)
            break
        except (TransactionNotFound, RequestException):
            time.sleep(sender.network.poll_seconds)
    return _code(w3, DEPLOYER) == RUNTIME
