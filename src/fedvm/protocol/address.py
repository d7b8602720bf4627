"""Addresses of accounts: one text form, made where an address is decoded."""

from __future__ import annotations

from functools import lru_cache
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
    return _checksummed(address_bytes(name, text))


# Members' addresses are decoded again and again, and a checksum is a hash.
@lru_cache(maxsize=1 << 16)
def _checksummed(address: bytes) -> Address:
    return Address(to_checksum_address(address))


def by_address(address: str) -> int:
    """Sort key: ascending order of addresses."""
    return int(address, 16)
