"""The coordinator's steps in a sealed round, without input or output: check what members send, open their groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import numpy as np

from fedvm.protocol.address import Address
from fedvm.protocol.errors import EncodingError, ProofError
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.sealed.close import GroupClose, SeedName
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.shares import SHARE_BYTES, Bytes, interpolate
from fedvm.protocol.sealed.trees import masked_root, seed_commitment, seeds_tree
from fedvm.protocol.sealed.typed_data import Masked

SEARCH = 2_000
"""How many sets of shares are tried for a seed before it counts as missed: with a tenth of a group of 32 wrong, one set
in some 40 is right."""


def check_file(
    epoch: Epoch, member: Address, masked: Masked, data: bytes, elements: int, lane_bytes: int
) -> MaskedFile:
    """The file of a masked update, held against what its member signed. An update that fails is not included.

    Raises:
        EncodingError: the member is not ready, the file has a wrong length, or the update is for another epoch.
        ProofError: its vector or its commitments are not the signed ones, or not one for each ready member.
    """
    group = epoch.group_of(member)
    if masked.epoch_root != epoch.root:
        raise EncodingError(f"the update of {member} is for another epoch or another set of ready members")
    file = MaskedFile.parse(data, group, elements, lane_bytes)
    context = epoch.draw.domain.place(masked.round, member).context(elements)
    if masked_root(data[: elements * lane_bytes], lane_bytes, context) != masked.masked_root:
        raise ProofError(f"the masked vector of {member} is not the one it signed")
    if seeds_tree(group, file.commitments).root != masked.seeds_root:
        raise ProofError(f"the commitments of {member} are not those it signed")
    if len({EMPTY, *file.commitments.values()}) != len(group.ready) + 1:
        raise ProofError(f"a commitment of {member} is zero, or two are the same")
    return file


@dataclass(frozen=True)
class Opened:
    """What came of the answers in a group. seeds: those that match their commitments, by name. missed: one that no set
    of shares gave, which makes the group void. wrong: ranks that gave a wrong share, as far as that came out."""

    seeds: Mapping[SeedName, bytes]
    missed: SeedName | None
    wrong: frozenset[int]


def open_group(
    close: GroupClose,
    answers: Mapping[int, bytes],
    commitments: Mapping[int, Mapping[int, bytes]],
    contexts: Mapping[int, bytes],
) -> Opened:
    """The seeds that open a group's sum, from the answers of its ready members by rank, in whatever order they came.

    commitments: of each included rank, by rank. contexts: of each included rank's update, 32 bytes. Answers of a wrong
    length and of members that are not ready are passed over; wrong shares among enough right ones are found out.
    """
    given: dict[int, Bytes] = {}
    for rank in sorted(set(answers) & set(close.group.ready)):
        if len(answers[rank]) == SHARE_BYTES * len(close.wanted):
            given[rank] = np.frombuffer(answers[rank], dtype=np.uint8).reshape(-1, SHARE_BYTES)
    seeds: dict[SeedName, bytes] = {}
    wrong: set[int] = set()
    likely = _together(close, given)
    for at, name in enumerate(close.wanted):
        commitment, context = commitments[name[0]][name[1]], contexts[name[0]]

        def fits(
            seed: bytes, name: SeedName = name, commitment: bytes = commitment, context: bytes = context
        ) -> bool:
            return seed_commitment(context, name[1], seed) == commitment

        seed = likely[at] if likely and fits(likely[at]) else None
        if seed is None:
            shares = {rank: one[at] for rank, one in given.items() if one[at].any()}
            seed = _searched(close.group.threshold, shares, wrong, fits)
        if seed is None:
            return Opened(seeds, name, frozenset(wrong))
        seeds[name] = seed
    return Opened(seeds, None, frozenset(wrong))


def _together(close: GroupClose, given: Mapping[int, Bytes]) -> list[bytes]:
    """All seeds at once, by the first answers that suffice; whether they are right is still to be seen."""
    first = list(given)[: close.group.threshold]
    if len(first) < close.group.threshold:
        return []
    found = interpolate(np.stack([given[rank] for rank in first]), [rank + 1 for rank in first])
    return [row.tobytes() for row in found]


def _searched(
    threshold: int, shares: Mapping[int, Bytes], wrong: set[int], fits: Callable[[bytes], bool]
) -> bytes | None:
    """A seed that fits, from some of these shares by rank; adds to ``wrong`` who gave another share than it has."""
    if len(shares) < threshold:
        return None
    choice = Random(
        threshold
    )  # any subsets will do; drawn, since in order most would share their first members
    chosen = sorted(shares, key=lambda rank: (rank in wrong, rank))[:threshold]
    for _ in range(SEARCH):
        xs, rows = [rank + 1 for rank in chosen], np.stack([shares[rank][None] for rank in chosen])
        seed = interpolate(rows, xs).tobytes()
        if fits(seed):
            others = (rank for rank in shares if rank not in chosen)
            wrong |= {rank for rank in others if (interpolate(rows, xs, at=rank + 1) != shares[rank]).any()}
            return seed
        chosen = choice.sample(sorted(shares), threshold)
    return None
