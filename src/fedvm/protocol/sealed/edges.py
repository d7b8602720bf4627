"""Edges: the secret that two members of a group share in a round, and what is derived from it.

An edge is replaced after each round and the old one deleted, so that whoever takes a member's machine learns nothing of
rounds before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedvm.protocol.checks import address_bytes, check_bytes, check_uint
from fedvm.protocol.errors import EncodingError, RangeError
from fedvm.protocol.sealed.epoch import Draw
from fedvm.protocol.sealed.keys import CIPHERTEXT_BYTES


@dataclass(frozen=True)
class Secrets:
    """What an edge is made of, 32 bytes each: the X25519 secret, the encapsulated one, the ciphertext's keccak."""

    x25519: bytes
    kem: bytes
    ciphertext_hash: bytes


def first_edge(draw: Draw, lower: str, higher: str, secrets: Secrets) -> bytes:
    """edge_0 of the members (hex addresses) at a lower and a higher place, 32 bytes. Raises EncodingError if a field is
    malformed."""
    chain = check_uint("chain_id", draw.domain.chain_id, 256).to_bytes(32)
    federation = address_bytes("federation", draw.domain.federation)
    pair = address_bytes("lower", lower) + address_bytes("higher", higher)
    info = b"FedVM edge" + chain + federation + draw.number.to_bytes(8) + pair
    info += check_bytes("ciphertext hash", secrets.ciphertext_hash, 32)
    secret = check_bytes("X25519 secret", secrets.x25519, 32) + check_bytes("ML-KEM secret", secrets.kem, 32)
    return _derive(secret, info, salt=draw.roster_root)


def next_edge(edge: bytes) -> bytes:
    """The edge that replaces this one after a round, 32 bytes."""
    return _derive(edge, b"FedVM next")


def mask_seed(edge: bytes, round_: int) -> bytes:
    """s_ij: the seed of a pair's mask in a round, 32 bytes. edge: that of the round."""
    return _derive(edge, b"FedVM mask" + round_.to_bytes(8))


def share_key(edge: bytes, round_: int, owner: str, holder: str) -> bytes:
    """The key under which ``owner`` leaves shares for ``holder`` (hex addresses), 32 bytes. edge: that of the round."""
    pair = address_bytes("owner", owner) + address_bytes("holder", holder)
    return _derive(edge, b"FedVM shares" + round_.to_bytes(8) + pair)


@dataclass(frozen=True)
class Edges:
    """A member's edges in a round: by the rank of the other, ready members of its group only."""

    round: int
    keys: Mapping[int, bytes]

    def advanced(self, round_: int) -> Edges:
        """The edges of a later round; the caller then deletes these. Raises RangeError for an earlier round."""
        if round_ < self.round:
            raise RangeError(
                f"the edges are of round {self.round}; those of round {round_} have been deleted"
            )
        keys = dict(self.keys)
        for _ in range(round_ - self.round):
            keys = {rank: next_edge(key) for rank, key in keys.items()}
        return Edges(round_, keys)

    def to(self, rank: int) -> bytes:
        """The edge to the member of a rank, 32 bytes. Raises EncodingError if there is none."""
        if rank not in self.keys:
            raise EncodingError(
                f"there is no edge to rank {rank}; only ready members of one's own group have one"
            )
        return self.keys[rank]


def ciphertexts(name: str, data: bytes, count: int) -> tuple[bytes, ...]:
    """The ciphertexts of a member's key file, in order of rank: one to each of the ``count`` members above it.

    Raises:
        EncodingError: the file has another length.
    """
    check_bytes(f"key file of {name}", data, count * CIPHERTEXT_BYTES)
    return tuple(data[at : at + CIPHERTEXT_BYTES] for at in range(0, len(data), CIPHERTEXT_BYTES))


def published(data: bytes) -> bytes:
    """A key file as its member publishes it: a zero byte for that of the member at the highest place of a group, who
    has nothing to send, since no store keeps nothing."""
    return data or b"\0"


def _derive(secret: bytes, info: bytes, salt: bytes = b"") -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)
