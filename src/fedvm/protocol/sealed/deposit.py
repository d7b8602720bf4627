"""The deposit of a masked update: shares of its seeds for the other ready members of the group, each under a key of its
edge, so that the group can be unmasked without whoever falls silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedvm.protocol.errors import EncodingError
from fedvm.protocol.sealed.edges import Edges, share_key
from fedvm.protocol.sealed.epoch import Group
from fedvm.protocol.sealed.shares import SHARE_BYTES, Bytes

TAG_BYTES = 16
_NONCE = bytes(12)  # every key serves once: it is of one round, owner and holder


def part_bytes(group: Group) -> int:
    """Length of the part for one holder: a share of each ready member's seed, and the tag."""
    return SHARE_BYTES * len(group.ready) + TAG_BYTES


def deposit_bytes(group: Group) -> int:
    """Length of a whole deposit."""
    return (len(group.ready) - 1) * part_bytes(group)


def build_deposit(group: Group, owner: int, edges: Edges, shares: Bytes) -> bytes:
    """The deposit of the member of rank ``owner``: a part for each other ready member, by rank.

    shares: uint8 (ready, ready, 32): by holder, then by whose common seed it is, both in order of rank.
    """
    return b"".join(
        ChaCha20Poly1305(_key(group, owner, holder, edges, holder)).encrypt(_NONCE, one.tobytes(), None)
        for holder, one in zip(group.ready, shares, strict=True)
        if holder != owner
    )


def parts_of(group: Group, owner: int, deposit: bytes) -> dict[int, bytes]:
    """The parts of the deposit of the member of rank ``owner``, by the rank of their holder.

    Raises:
        EncodingError: the deposit has another length, or its member is not ready.
    """
    if owner not in group.ready:
        raise EncodingError(f"rank {owner} is not ready and leaves no deposit")
    if len(deposit) != deposit_bytes(group):
        raise EncodingError(
            f"the deposit has {len(deposit)} bytes; with {len(group.ready)} ready it takes {deposit_bytes(group)}"
        )
    length = part_bytes(group)
    holders = (rank for rank in group.ready if rank != owner)
    return {holder: deposit[at * length : (at + 1) * length] for at, holder in enumerate(holders)}


@dataclass(frozen=True)
class Held:
    """The shares that one member left for another: by rank of the member whose common seed it is."""

    shares: dict[int, bytes]

    @classmethod
    def of(cls, ready: Sequence[int], data: bytes) -> Held:
        """Shares joined in order of rank."""
        starts = range(0, len(data), SHARE_BYTES)
        return cls({rank: data[at : at + SHARE_BYTES] for rank, at in zip(ready, starts, strict=True)})


def open_part(group: Group, owner: int, holder: int, edges: Edges, part: bytes) -> Held:
    """The shares in the part that ``owner`` left for ``holder`` (ranks). edges: the holder's.

    Raises:
        EncodingError: the part has another length, or was not made with this edge.
    """
    if len(part) != part_bytes(group):
        raise EncodingError(f"the part of rank {owner} has {len(part)} bytes, not {part_bytes(group)}")
    try:
        data = ChaCha20Poly1305(_key(group, owner, holder, edges, owner)).decrypt(_NONCE, part, None)
    except InvalidTag as error:
        raise EncodingError(f"the part that rank {owner} left for rank {holder} does not open") from error
    return Held.of(group.ready, data)


def _key(group: Group, owner: int, holder: int, edges: Edges, other: int) -> bytes:
    return share_key(edges.to(other), edges.round, group.members[owner], group.members[holder])
