"""What web3 decodes, made plain once: nobody behind it has to ask what type some bytes came as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Bytes of any type as bytes, lists as tuples, structs as dicts, and the same within them. web3 has checksummed the
    addresses."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    return value
