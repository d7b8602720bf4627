"""Creating contracts: by a transaction of their own, or through a CREATE2 deployer at an address known beforehand."""

from __future__ import annotations

from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.artifacts import load_artifact
from fedvm.chain.deployer import Deployer
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.sender import Receipt, Sender
from fedvm.evm.limits import MAX_CALLDATA_BYTES
from fedvm.protocol.address import Address, to_address

_LOOKS: Final = 3


def contract_code(w3: Web3, name: str, arguments: tuple[Any, ...]) -> bytes:
    """The init code of the shipped contract ``name`` with its constructor's arguments."""
    artifact = load_artifact(name)
    factory = w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    data: Any = factory.constructor(*arguments).data_in_transaction
    return bytes.fromhex(data.removeprefix("0x"))


def deploy_contract(sender: Sender, account: LocalAccount, name: str, arguments: tuple[Any, ...]) -> Receipt:
    """Create the shipped contract ``name``; ``contract_address`` of the result is set and has code.

    Raises :class:`TransactionFailed`, with the constructor's error decoded if it reverted.
    """
    return deploy_code(sender, account, contract_code(sender.w3, name, arguments), action=f"creating {name}")


def deploy_code(sender: Sender, account: LocalAccount, init_code: bytes, *, action: str) -> Receipt:
    """Run ``init_code`` and create the contract it returns."""
    if len(init_code) > MAX_CALLDATA_BYTES:
        raise TransactionFailed(
            action,
            f"{len(init_code)} bytes of init code, at most {MAX_CALLDATA_BYTES} fit into a Filecoin message",
        )

    def has_code(receipt: Receipt) -> None:
        for _ in range(_LOOKS):
            made = receipt.contract_address
            if made and sender.w3.eth.get_code(Web3.to_checksum_address(made)):
                return
            sender.settle(account.address)  # a reorganisation may have undone it
        raise TransactionFailed(action, "no code at the new address", tx_hash=receipt.tx_hash)

    return sender.send(account, {"data": init_code}, action=action, until=has_code)


def placed(
    sender: Sender, account: LocalAccount, init_code: bytes, *, action: str, deployer: Deployer | None
) -> tuple[Address, int]:
    """Create a contract, through a deployer if there is one, where it may be already: its address, and the gas that
    creating it took now."""
    if deployer is None:
        receipt = deploy_code(sender, account, init_code, action=action)
        return to_address(str(receipt.contract_address)), receipt.gas_used
    address, made = deployer.create(account, init_code, action=action)
    return address, 0 if made is None else made.gas_used
