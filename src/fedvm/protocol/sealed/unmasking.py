"""Unmasking a group: the revealed seeds, held against their commitments, and the vectors without their masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedvm.protocol.errors import EncodingError, ProofError
from fedvm.protocol.sealed.close import GroupClose, SeedName
from fedvm.protocol.sealed.masks import Lanes, add_masks
from fedvm.protocol.sealed.trees import seed_commitment
from fedvm.protocol.vector import SumVector

Seeds = Mapping[SeedName, bytes]


def check_seed(name: SeedName, seed: bytes, commitment: bytes, context: bytes) -> None:
    """Check that a revealed seed is the one that member i committed to. context: of i's update, 32 bytes.

    Raises:
        ProofError: it is another.
    """
    if seed_commitment(context, name[1], seed) != commitment:
        raise ProofError(
            f"the seed of ranks {name[0]} and {name[1]} is not the one that rank {name[0]} committed to"
        )


def unmask(close: GroupClose, rank: int, lanes: Lanes, seeds: Seeds, lane_bytes: int) -> SumVector:
    """u_i: an included member's vector without its own mask and those it shares with absent members, int64 (n,) with
    each lane in [0, 2^(8k)). The masks it shares with other included members are still on it.

    Raises:
        EncodingError: the member is not included, or a seed is missing.
    """
    if rank not in close.included:
        raise EncodingError(f"rank {rank} of group {close.group.number} is not included")
    missing = [name for name in ((rank, other) for other in (rank, *close.absent)) if name not in seeds]
    if missing:
        raise EncodingError(
            f"the seed of ranks {missing[0][0]} and {missing[0][1]} is missing; the group is void"
        )
    added = [seeds[rank, rank]] + [seeds[rank, other] for other in close.absent if other > rank]
    taken = [seeds[rank, other] for other in close.absent if other < rank]
    return add_masks(lanes, lane_bytes, plus=taken, minus=added).astype(np.int64)
