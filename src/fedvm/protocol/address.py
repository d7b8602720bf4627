"""Addresses of accounts: one text form, made where an address is decoded."""

from __future__ import annotations

from typing import NewType

from eth_utils.address import to_checksum_address

from fedvm.protocol.checks import address_bytes

Address = NewType("Address", str)
"""0x and 40 hex digits with the checksum of EIP-55: equal accounts are equal texts. Only their order is another."""


def to_address(text: str, name: str = "address") -> Address:
    """The checksummed address that a text names, in lower, upper or checksummed case.

    Raises:
        EncodingError: not such an address, or its EIP-55 checksum is wrong.
    """
    return Address(to_checksum_address(address_bytes(name, text)))


def by_address(address: str) -> int:
    """Sort key: ascending order of addresses."""
    return int(address, 16)
