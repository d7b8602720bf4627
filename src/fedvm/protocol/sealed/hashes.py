"""Hashes that bind an epoch and a round's close."""

from __future__ import annotations

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import check_bytes, check_uint

EPOCH_ROOT, CLOSED = b"\x35", b"\x36"


def epoch_root(roster_root: bytes, seed: bytes, ready: bytes) -> bytes:
    """What an update is signed for, 32 bytes. ready: the bitmap of ready places."""
    root, drawn = check_bytes("roster_root", roster_root, 32), check_bytes("group seed", seed, 32)
    return keccak(EPOCH_ROOT + root + drawn + keccak(ready))


def closed_hash(round_: int, epoch: bytes, included: bytes) -> bytes:
    """What shares are signed for, 32 bytes. epoch: the epoch's root. included: the bitmap of included places."""
    number = check_uint("round", round_, 64).to_bytes(8)
    return keccak(CLOSED + number + check_bytes("epoch root", epoch, 32) + keccak(included))
