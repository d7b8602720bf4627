"""Content identifiers, version 1 (multiformats' CID specification), with sha2-256."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import libipld

from fedvm.store.errors import InvalidCid

RAW: Final = 0x55
DAG_PB: Final = 0x70
_SHA2_256: Final = 0x12
CID_BYTES: Final = 36


@dataclass(frozen=True)
class Cid:
    """A CIDv1: what kind of block (``RAW`` or ``DAG_PB``), and the block's sha2-256 digest (32 bytes)."""

    codec: int
    digest: bytes

    @classmethod
    def of_block(cls, codec: int, block: bytes) -> Cid:
        """The CID of one block."""
        return cls(codec, sha256(block).digest())

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read the canonical text form, lower-case base32 (``b…``).

        Raises:
            InvalidCid: not such a CID. Other spellings of it are refused, so that each has one name.
        """
        try:
            decoded = libipld.decode_cid(text)
        except Exception as error:  # libipld raises bare ValueError, and TypeError for what is not a string
            raise InvalidCid(f"{text!r} is not a CID: {error}") from error
        cid = cls._checked(text, decoded)
        if str(cid) != text:
            raise InvalidCid(f"{text!r} is not in canonical form; write {cid}")
        return cid

    @classmethod
    def from_binary(cls, data: bytes) -> Cid:
        """Read the 36 bytes of the binary form, as the typed data and the contract carry it.

        Raises:
            InvalidCid: not such a CID.
        """
        if len(data) != CID_BYTES:
            raise InvalidCid(f"a binary CID of sha2-256 holds {CID_BYTES} bytes, not {len(data)}")
        try:
            decoded = libipld.decode_cid(bytes(data))
        except Exception as error:
            raise InvalidCid(f"0x{data.hex()} is not a binary CID: {error}") from error
        cid = cls._checked("0x" + data.hex(), decoded)
        if cid.binary != data:
            raise InvalidCid(f"0x{data.hex()} is not in canonical form")
        return cid

    @property
    def binary(self) -> bytes:
        """Version, codec and multihash as 36 bytes."""
        return bytes([1, self.codec, _SHA2_256, 32]) + self.digest

    def __str__(self) -> str:
        return str(libipld.encode_cid(self.binary))

    @classmethod
    def _checked(cls, shown: str, decoded: dict[str, object]) -> Cid:
        multihash = decoded["hash"]
        assert isinstance(multihash, dict)
        if decoded["version"] != 1:
            raise InvalidCid(f"{shown} is a CID of version {decoded['version']}; only version 1 is used here")
        if decoded["codec"] not in (RAW, DAG_PB):
            raise InvalidCid(f"{shown} has codec {decoded['codec']:#x}; only raw and dag-pb are stored")
        if multihash["code"] != _SHA2_256 or len(multihash["digest"]) != 32:
            raise InvalidCid(f"{shown} has hash function {multihash['code']:#x}; only sha2-256 is used here")
        return cls(int(str(decoded["codec"])), bytes(multihash["digest"]))


def as_cid(cid: str | bytes) -> Cid:
    """The CID in its text form, or in its binary form of 36 bytes. Raises InvalidCid."""
    return Cid.parse(cid) if isinstance(cid, str) else Cid.from_binary(cid)
