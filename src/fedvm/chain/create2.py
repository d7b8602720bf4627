"""Addresses that follow from what was deployed there: CREATE2 (EIP-1014) and minimal clones (ERC-1167)."""

from __future__ import annotations

from typing import Final

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address, to_address

DEPLOYER: Final = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
"""A contract that stands at this address on most chains and creates what it is sent: a salt of 32 bytes and init code
(github.com/Arachnid/deterministic-deployment-proxy)."""

_BEFORE: Final = bytes.fromhex("363d3d373d3d3d363d73")
_BEHIND: Final = bytes.fromhex("5af43d82803e903d91602b57fd5bf3")


def create2_address(creator: str, salt: bytes, init_code: bytes) -> Address:
    """Where the contract ``creator`` deploys ``init_code`` with a salt of 32 bytes, and can deploy nothing else."""
    digest = keccak(b"\xff" + bytes.fromhex(creator[2:]) + salt + keccak(init_code))
    return to_address("0x" + digest[12:].hex())


def clone_code(implementation: str, place: bytes = b"") -> bytes:
    """Code of a minimal clone of ``implementation``, with the bytes that stand behind it."""
    return _BEFORE + bytes.fromhex(implementation[2:]) + _BEHIND + place


def clone_address(creator: str, salt: bytes, implementation: str, place: bytes = b"") -> Address:
    """Where ``creator`` deploys :func:`clone_code` by OpenZeppelin's ``Clones``, whose init code does nothing else."""
    code = clone_code(implementation, place)
    # With bytes behind it, the length is a word of its own in OpenZeppelin's init code.
    head = b"\x61" + len(code).to_bytes(2) + bytes.fromhex("3d81600a3d39f3")
    return create2_address(creator, salt, (head if place else bytes.fromhex("3d602d80600a3d3981f3")) + code)


def cloned_by(code: bytes) -> tuple[Address, bytes] | None:
    """What the code of a clone runs, and the bytes that stand behind it; None if it is no minimal clone's."""
    target = code[len(_BEFORE) :][:20]
    if len(target) < 20 or code[:45] != clone_code("0x" + target.hex()):
        return None
    return to_address("0x" + target.hex()), code[45:]
