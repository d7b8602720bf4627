"""Values that web3 has decoded, converted once to plain Python types, so that other code need not check for web3's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Any bytes type becomes bytes, a list a tuple, a struct a dict, at every level. Addresses are checksummed by web3
    already."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    return value


def snake_case(name: str) -> str:
    """A Solidity name as Python writes it: ``rosterRoot`` becomes ``roster_root``."""
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
