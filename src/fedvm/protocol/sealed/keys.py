"""Key agreement of an epoch: X25519 (RFC 7748) and ML-KEM-768 (FIPS 203) together.

Masked vectors are public for ever, so they must also withstand whoever has a quantum computer later: an edge is safe as
long as one of the two is.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address
from fedvm.protocol.checks import check_bytes
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.sealed.roster import Enrolment

X25519_BYTES = 32
MLKEM_KEY_BYTES, MLKEM_SEED_BYTES, CIPHERTEXT_BYTES = 1184, 64, 1088


@dataclass(frozen=True)
class EpochKeys:
    """A member's private keys of one epoch; never its signing key, and never of another epoch."""

    x25519: X25519PrivateKey
    mlkem: MLKEM768PrivateKey

    @classmethod
    def generate(cls) -> EpochKeys:
        """Fresh keys from the system's randomness."""
        return cls(X25519PrivateKey.generate(), MLKEM768PrivateKey.generate())

    def to_bytes(self) -> bytes:
        """Both private keys, to be kept secret until the epoch ends: X25519's 32 bytes ‖ ML-KEM's seed of 64."""
        return self.x25519.private_bytes_raw() + self.mlkem.private_bytes_raw()

    @classmethod
    def from_bytes(cls, data: bytes) -> EpochKeys:
        """Inverse of :meth:`to_bytes`. Raises EncodingError on another length."""
        raw = check_bytes("epoch keys", data, X25519_BYTES + MLKEM_SEED_BYTES)
        return cls(
            X25519PrivateKey.from_private_bytes(raw[:X25519_BYTES]),
            MLKEM768PrivateKey.from_seed_bytes(raw[X25519_BYTES:]),
        )

    @property
    def mlkem_public(self) -> bytes:
        """The raw ML-KEM-768 key, 1,184 bytes: published beside the enrolment, which has its hash."""
        return self.mlkem.public_key().public_bytes_raw()

    def enrolment(self, member: Address) -> Enrolment:
        """What the roster says of a member with these keys."""
        return Enrolment(member, self.x25519.public_key().public_bytes_raw(), keccak(self.mlkem_public))


def agree(own: X25519PrivateKey, other: bytes) -> bytes:
    """The X25519 secret with another's raw public key, 32 bytes.

    Raises:
        EncodingError: not 32 bytes, or a point of low order, with which every secret is zero.
    """
    point = X25519PublicKey.from_public_bytes(check_bytes("x25519", other, X25519_BYTES))
    try:
        return own.exchange(point)
    except ValueError as error:
        raise EncodingError(f"the X25519 key 0x{other.hex()} is of low order; leave its owner out") from error


def encapsulate(enrolment: Enrolment, key: bytes) -> tuple[bytes, bytes]:
    """A fresh secret of 32 bytes, and the ciphertext of 1,088 bytes that carries it to the owner of a raw ML-KEM key.

    Raises:
        EncodingError: the key is not the enrolled one, or no such key.
    """
    raw = check_bytes(f"ML-KEM-768 key of {enrolment.member}", key, MLKEM_KEY_BYTES)
    if keccak(raw) != enrolment.mlkem:
        raise EncodingError(f"this is not the ML-KEM-768 key that {enrolment.member} enrolled; fetch it anew")
    try:
        return MLKEM768PublicKey.from_public_bytes(raw).encapsulate()
    except ValueError as error:
        raise EncodingError(f"{enrolment.member} enrolled no valid ML-KEM-768 key; leave it out") from error


def decapsulate(own: MLKEM768PrivateKey, ciphertext: bytes) -> bytes:
    """The secret in a ciphertext, 32 bytes. A wrong ciphertext of the right length gives another secret, by design.

    Raises:
        EncodingError: not 1,088 bytes.
    """
    return own.decapsulate(check_bytes("ML-KEM-768 ciphertext", ciphertext, CIPHERTEXT_BYTES))
