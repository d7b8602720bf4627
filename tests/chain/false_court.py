"""Federations of the true code with a court of their maker's own, made in the ways that an attacker has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from handmade import init_code
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import contract_at, load_artifact
from fedvm.chain.create2 import clone_address, clone_code, create2_address
from fedvm.chain.deploy import deploy_code
from fedvm.chain.factory import IMPLEMENTATIONS, implementation_address
from fedvm.chain.federation import FederationContract
from fedvm.chain.sender import Sender

SLOTS = 64  # more than a federation has beside its mappings

# Calldata: an address, then data for it; or 32 zeros, a salt and init code for CREATE2.
FALSE_FACTORY = bytes.fromhex(
    "365f5f37"  # all calldata to memory 0
    "5f358015601f57"  # the address; none: go to 0x1f
    "5f5f602036036020"  # no result wanted; calldata's length - 32, from 32
    "5f855af1601d575f5ffd5b00"  # CALL with no value and all gas; revert if it failed, else STOP
    "5b"  # 0x1f
    "6020356040360360405ff5"  # CREATE2 of memory from 64, with the salt
    "6031575f5ffd5b00"  # revert if it failed, else STOP
)


def false_federation_code(genuine: FederationContract, court: str) -> bytes:
    """Init code of what looks like a federation in all, but for its court."""
    return storing_init_code(genuine.w3, genuine.address, {genuine.disputes(): court})


def storing_init_code(w3: Web3, genuine: str, others: Mapping[str, str]) -> bytes:
    """Init code that stores what a contract stores, with other addresses in place of some, tells the same events, and
    leaves the same code behind."""
    address, code = w3.to_checksum_address(genuine), b""
    for slot in range(SLOTS):
        word = bytes(w3.eth.get_storage_at(address, slot)).rjust(32, b"\0")
        for true, false in others.items():
            word = word.replace(bytes.fromhex(true[2:]), bytes.fromhex(false[2:]))
        if any(word):
            code += b"\x7f" + word + b"\x60" + slot.to_bytes() + b"\x55"
    for log in w3.eth.get_logs({"address": address, "fromBlock": 0, "toBlock": "latest"}):
        code += _telling(bytes(log["data"]), log["topics"])
    runtime = bytes(w3.eth.get_code(address))
    for start in range(0, len(runtime), 32):
        code += b"\x7f" + runtime[start : start + 32].ljust(32, b"\0") + b"\x61" + start.to_bytes(2) + b"\x52"
    return code + b"\x61" + len(runtime).to_bytes(2) + bytes.fromhex("5ff3")


def _telling(data: bytes, topics: list[HexBytes]) -> bytes:
    code = b""
    for start in range(0, len(data), 32):
        code += b"\x7f" + data[start : start + 32].ljust(32, b"\0") + b"\x61" + start.to_bytes(2) + b"\x52"
    for topic in reversed(topics):
        code += b"\x7f" + bytes(topic)
    return code + b"\x61" + len(data).to_bytes(2) + b"\x5f" + bytes([0xA0 + len(topics)])


@dataclass(frozen=True)
class FalseFactory:
    """A factory of the attacker's own, which deploys and calls whatever its maker says."""

    w3: Web3
    maker: LocalAccount
    address: str

    @classmethod
    def deploy(cls, w3: Web3, maker: LocalAccount) -> FalseFactory:
        receipt = deploy_code(Sender(w3), maker, init_code(FALSE_FACTORY), action="creating a false factory")
        assert receipt.contract_address is not None
        made = cls(w3, maker, receipt.contract_address)
        for name in IMPLEMENTATIONS:
            made.create(bytes(32), load_artifact(name).bytecode)
        return made

    def create(self, salt: bytes, code: bytes) -> str:
        """Deploy init code by CREATE2; its address."""
        self._send(bytes(32) + salt + code)
        return create2_address(self.address, salt, code)

    def clone(self, name: str, salt: bytes, place: bytes = b"") -> Contract:
        """A true clone of a true implementation, not initialised."""
        implementation = implementation_address(self.address, name)
        runtime = clone_code(implementation, place)
        head = b"\x61" + len(runtime).to_bytes(2) + bytes.fromhex("3d81600a3d39f3")
        made = self.create(salt, (head if place else bytes.fromhex("3d602d80600a3d3981f3")) + runtime)
        assert made == clone_address(self.address, salt, implementation, place)
        return contract_at(self.w3, name, made)

    def call(self, target: Contract, function: str, *arguments: Any) -> None:
        data = target.encode_abi(function, args=list(arguments))
        self._send(bytes(12) + bytes.fromhex(target.address[2:]) + bytes.fromhex(data[2:]))

    def _send(self, data: bytes) -> None:
        transaction: Any = {"to": self.address, "data": data}
        Sender(self.w3).send(self.maker, transaction, action="calling a false factory")
