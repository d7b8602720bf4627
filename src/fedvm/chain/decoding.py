"""Values that web3 has decoded, converted once to plain Python types, so that other code need not check for web3's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_abi.exceptions import DecodingError
from web3.contract import Contract
from web3.exceptions import Web3Exception


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


def decoded_input(contract: Contract, data: bytes) -> tuple[str, Mapping[str, Any]]:
    """The name of the function of ``contract`` that a transaction's input calls, and its arguments as web3 decodes
    them; "" and none if it calls another contract's, or is malformed."""
    try:
        function, arguments = contract.decode_function_input(data)
    except (ValueError, TypeError, OverflowError, DecodingError, Web3Exception):
        return "", {}
    return function.fn_name, arguments
