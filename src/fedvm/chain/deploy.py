"""Creating contracts."""

from __future__ import annotations

from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.artifacts import load_artifact
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.sender import Receipt, Sender
from fedvm.evm.limits import MAX_CALLDATA_BYTES

_LOOKS: Final = 3


def deploy_contract(sender: Sender, account: LocalAccount, name: str, arguments: tuple[Any, ...]) -> Receipt:
    """Create the shipped contract ``name``; ``contract_address`` of the result is set and has code.

    Raises :class:`TransactionFailed`, with the constructor's error decoded if it reverted.
    """
    artifact = load_artifact(name)
    factory = sender.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    data: Any = factory.constructor(*arguments).data_in_transaction
    return deploy_code(sender, account, bytes.fromhex(data.removeprefix("0x")), action=f"creating {name}")


def deploy_code(sender: Sender, account: LocalAccount, init_code: bytes, *, action: str) -> Receipt:
    """Run ``init_code`` and create the contract it returns."""
    if len(init_code) > MAX_CALLDATA_BYTES:
        raise TransactionFailed(
            action,
            f"{len(init_code)} bytes of init code, at most {MAX_CALLDATA_BYTES} fit into a Filecoin message",
        )
    receipt = sender.send(account, {"data": init_code}, action=action)
    for _ in range(_LOOKS):
        if receipt.contract_address and sender.w3.eth.get_code(
            Web3.to_checksum_address(receipt.contract_address)
        ):
            return receipt
        sender.settle(account.address)  # a reorganisation may have undone it
    raise TransactionFailed(action, "no code at the new address", tx_hash=receipt.tx_hash)
