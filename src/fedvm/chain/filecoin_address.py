"""Filecoin's text form of an account's address, f410f… (t410f… on testnets), and back (FIP-0048, FIP-0055).

The text is the network's letter, the protocol 4, the namespace 10 of the Ethereum Address Manager, "f", and base32 of
the 20 bytes with a checksum: blake2b of 4 bytes over the protocol, the namespace and the address. An account that has
no address but its actor number has the text f0 and that number, and 0xff, 11 zero bytes and the number in 8 bytes in
the EVM.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from hashlib import blake2b
from typing import Final

from fedvm.chain.errors import AddressError
from fedvm.protocol.address import Address, to_address

_PREFIX: Final = bytes([4, 10])
_NAMED: Final = re.compile(r"[ft]410f([a-z2-7]{39})")
_NUMBERED: Final = re.compile(r"[ft]0(0|[1-9][0-9]{0,19})")
_MASK: Final = b"\xff" + bytes(11)


def filecoin_address(address: str, *, testnet: bool) -> str:
    """The text that Filecoin's wallets and explorers use for an address (hex)."""
    letter, payload = "t" if testnet else "f", bytes.fromhex(address[2:])
    if payload.startswith(_MASK):
        return f"{letter}0{int.from_bytes(payload[len(_MASK) :])}"
    return f"{letter}410f{_base32(payload + _checksum(payload))}"


def is_filecoin_text(text: str) -> bool:
    """Whether a text is meant as a Filecoin address, valid or not."""
    return text.strip().lower().startswith(("f0", "t0", "f1", "t1", "f2", "t2", "f3", "t3", "f4", "t4"))


def from_filecoin(text: str) -> Address:
    """The checksummed 0x address of a text such as f410f…; letters of either network are taken, in either case.

    Raises:
        AddressError: it is malformed, its checksum is wrong, or the EVM has no such address.
    """
    lower = text.strip().lower()
    if found := _NUMBERED.fullmatch(lower):
        number = int(found[1])
        if number >= 2**64:
            raise AddressError(f"{text}: no actor has this number")
        return to_address("0x" + (_MASK + number.to_bytes(8)).hex())
    if lower[1:2] in ("1", "2", "3"):
        raise AddressError(
            f"{text} is a Filecoin address that contracts cannot name: give its f410f… or 0x… address, or its f0 number"
        )
    found = _NAMED.fullmatch(lower)
    if not found:
        raise AddressError(
            f"{text} is not a Filecoin address: f410f or t410f and 39 letters a–z or digits 2–7 are wanted"
        )
    raw = b32decode(found[1].upper() + "=")
    payload, checksum = raw[:20], raw[20:]
    # The last letter has three bits to spare, which decoding ignores.
    if checksum != _checksum(payload) or _base32(raw) != found[1]:
        raise AddressError(f"{text}: the checksum is wrong, so a letter is; copy the address again")
    if payload.startswith(_MASK):
        plain = filecoin_address("0x" + payload.hex(), testnet=lower[0] == "t")
        raise AddressError(f"{text} wraps an actor's number: write {plain}")
    return to_address("0x" + payload.hex())


def _base32(raw: bytes) -> str:
    return b32encode(raw).decode().lower().rstrip("=")


def _checksum(payload: bytes) -> bytes:
    return blake2b(_PREFIX + payload, digest_size=4).digest()
