"""What members sign in a sealed federation: EIP-712 messages in an update's domain, of types of their own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import to_address
from fedvm.protocol.checks import check_bytes, check_uint
from fedvm.protocol.errors import EncodingError, SignatureError
from fedvm.protocol.typed_data import MAX_CID_BYTES, Domain, recover_struct_signer, sign_struct


@dataclass(frozen=True)
class Statement:
    """A message whose fields are those of the EIP-712 type ``TYPE``, in its order. Construction checks them by it.

    Raises:
        EncodingError: a field is malformed or, as RangeError, does not fit its width.
    """

    TYPE: ClassVar[str]

    def __post_init__(self) -> None:
        for field, kind in zip(fields(self), field_types(self.TYPE), strict=True):
            object.__setattr__(self, field.name, _checked(field.name, getattr(self, field.name), kind))

    def as_tuple(self) -> tuple[int | bytes, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        # Not dataclasses.astuple, which copies each value and takes longer than the hash.
        return tuple(getattr(self, field.name) for field in fields(self))

    def struct_hash(self) -> bytes:
        """hashStruct, 32 bytes: integers in words of 32 bytes, dynamic bytes as their hash (EIP-712, encodeData)."""
        words = (
            value.to_bytes(32) if isinstance(value, int) else value if kind == "bytes32" else keccak(value)
            for value, kind in zip(self.as_tuple(), field_types(self.TYPE), strict=True)
        )
        return keccak(keccak(self.TYPE.encode()) + b"".join(words))

    def digest(self, domain: Domain) -> bytes:
        """The 32 bytes that are signed."""
        return keccak(b"\x19\x01" + domain.separator() + self.struct_hash())

    def sign(self, domain: Domain, private_key: bytes | str) -> bytes:
        """65 bytes r ‖ s ‖ v, by the member's own key or the one it has appointed."""
        return sign_struct(self.struct_hash(), domain, private_key)

    def signer(self, domain: Domain, signature: bytes) -> str:
        """Checksummed address of the key that signed. Raises SignatureError for a malformed signature."""
        return recover_struct_signer(self.struct_hash(), domain, signature)

    def check_signature(self, domain: Domain, signature: bytes, key: str) -> None:
        """Check that the key of this address signed.

        Raises:
            SignatureError: the signature is malformed or another key's.
        """
        signer = self.signer(domain, signature)
        if signer != to_address(key, "key"):
            raise SignatureError(f"{self.TYPE.partition('(')[0]} was signed by {signer}, not by {key}")


@dataclass(frozen=True)
class Enrol(Statement):
    """A member's keys for an epoch. x25519: its raw public key. mlkem: keccak of its raw ML-KEM-768 key of 1,184 bytes.
    deadline: Unix seconds."""

    TYPE = "Enrol(uint64 epoch,bytes32 rulesHash,bytes32 sealedHash,bytes32 x25519,bytes32 mlkem,uint64 deadline)"

    epoch: int
    rules_hash: bytes
    sealed_hash: bytes
    x25519: bytes
    mlkem: bytes
    deadline: int


@dataclass(frozen=True)
class Ready(Statement):
    """That a member's ciphertexts to those at higher places of its group are under ``cid``."""

    TYPE = "Ready(uint64 epoch,bytes32 rosterRoot,bytes cid)"

    epoch: int
    roster_root: bytes
    cid: bytes


@dataclass(frozen=True)
class Masked(Statement):
    """A masked update; the attested values are those of an open one. cid: of the file with the masked vector."""

    TYPE = (
        "Masked(uint64 round,bytes32 rulesHash,bytes32 baseRoot,bytes32 epochRoot,bytes32 maskedRoot,"
        "bytes32 seedsRoot,uint32 examples,uint32 accuracyPpm,uint64 lossMicros,uint32 labels,"
        "uint64 epsilonMicros,uint64 deadline,bytes cid)"
    )

    round: int
    rules_hash: bytes
    base_root: bytes
    epoch_root: bytes
    masked_root: bytes
    seeds_root: bytes
    examples: int
    accuracy_ppm: int
    loss_micros: int
    labels: int
    epsilon_micros: int
    deadline: int
    cid: bytes


@dataclass(frozen=True)
class Shares(Statement):
    """A member's answer to the close of a round. shares_hash: keccak of its shares, joined."""

    TYPE = "Shares(uint64 round,bytes32 closedHash,bytes32 sharesHash)"

    round: int
    closed_hash: bytes
    shares_hash: bytes

    @classmethod
    def over(cls, round_: int, closed_hash: bytes, shares: bytes) -> Shares:
        """The statement about these shares, joined."""
        return cls(round_, closed_hash, keccak(shares))


def _checked(name: str, value: Any, kind: str) -> int | bytes:
    if kind.startswith("uint"):
        return check_uint(name, value, int(kind[4:]))
    if kind == "bytes32":
        return check_bytes(name, value, 32)
    if not isinstance(value, bytes) or not 0 < len(value) <= MAX_CID_BYTES:
        raise EncodingError(f"{name} must be a binary CIDv1 of 1 to {MAX_CID_BYTES} bytes, not {value!r}")
    return value


@cache
def field_types(kind: str) -> tuple[str, ...]:
    """The types of the fields of an EIP-712 type, in its order."""
    inside = kind[kind.index("(") + 1 : -1]
    return tuple(field.partition(" ")[0] for field in inside.split(","))
