"""A member's steps in a sealed federation, without any input or output: keys, edges, a masked update, shares."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address
from fedvm.protocol.checks import check_bytes
from fedvm.protocol.errors import EncodingError, ShapeError
from fedvm.protocol.sealed.close import Close, GroupClose
from fedvm.protocol.sealed.deposit import Held, build_deposit, open_part
from fedvm.protocol.sealed.edges import Edges, Secrets, ciphertexts, first_edge, mask_seed
from fedvm.protocol.sealed.epoch import Draw, Epoch, Group
from fedvm.protocol.sealed.keys import EpochKeys, agree, decapsulate, encapsulate
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.masks import SEED_BYTES, add_masks
from fedvm.protocol.sealed.shares import SHARE_BYTES, random_coefficients, share
from fedvm.protocol.sealed.trees import masked_root, seed_commitment, seeds_tree
from fedvm.protocol.vector import SumVector

NO_SHARE = bytes(SHARE_BYTES)
"""Stands in an answer where a deposit does not open; as a share it has the probability 2^−256."""


@dataclass(frozen=True)
class KeyFile:
    """What a member publishes after the draw, and what it keeps. data: one ciphertext to each higher rank of its group,
    in order. kem: the secrets in them, by rank; to be kept secret."""

    data: bytes
    kem: Mapping[int, bytes]


def encapsulate_to_mates(draw: Draw, member: Address, mlkem_keys: Mapping[Address, bytes]) -> KeyFile:
    """A member's ciphertexts to those above it in its group.

    mlkem_keys: raw ML-KEM-768 keys by member, of those above it at least.

    Raises:
        EncodingError: the member has not enrolled, or a key is missing or not the enrolled one.
    """
    place = draw.place_of(member)
    mates = draw.mates(draw.grouping.group_of(place))
    data, kem = b"", {}
    for rank in range(draw.grouping.rank_of(place) + 1, len(mates)):
        key = mlkem_keys.get(mates[rank].member)
        if key is None:
            raise EncodingError(f"the ML-KEM-768 key of {mates[rank].member} is missing; fetch it")
        kem[rank], ciphertext = encapsulate(mates[rank], key)
        data += ciphertext
    return KeyFile(data, kem)


def agree_edges(
    epoch: Epoch, member: Address, keys: EpochKeys, own: KeyFile, key_files: Mapping[Address, bytes]
) -> Edges:
    """A ready member's edges in the epoch's first round, to every other ready member of its group.

    key_files: the files of ready members below it in its group.

    Raises:
        EncodingError: the member is not ready, a file is missing or has a wrong length, or an X25519 key is of low
            order. The member then takes no part in the epoch.
    """
    draw, group = epoch.draw, epoch.group_of(member)
    mates, here = draw.mates(group.number), group.rank_of(member)
    sent = ciphertexts(member, own.data, len(mates) - here - 1)
    edges = {}
    for rank in group.ready:
        other = mates[rank]
        if rank == here:
            continue
        if rank > here:
            lower, higher, kem, ciphertext = member, other.member, own.kem[rank], sent[rank - here - 1]
        else:
            data = key_files.get(other.member)
            if data is None:
                raise EncodingError(
                    f"the key file of {other.member} is missing; fetch it, or sit this epoch out"
                )
            ciphertext = ciphertexts(other.member, data, len(mates) - rank - 1)[here - rank - 1]
            lower, higher, kem = other.member, member, decapsulate(keys.mlkem, ciphertext)
        found = Secrets(agree(keys.x25519, other.x25519), kem, keccak(ciphertext))
        edges[rank] = first_edge(draw, lower, higher, found)
    return Edges(epoch.first_round, edges)


@dataclass(frozen=True)
class SealedUpdate:
    """A masked update as it is sent, and what its member keeps. file: the bytes under the CID. masked_root, seeds_root:
    32 bytes each, to be signed. own: the member's own shares of its seeds; to be kept secret until it answers."""

    file: bytes
    masked_root: bytes
    seeds_root: bytes
    own: Held


@dataclass(frozen=True)
class Masking:
    """The randomness of one masked update; never used twice. seed: b_i, 32 bytes. coefficients: of the shares, uint8
    (threshold − 1, ready, 32)."""

    seed: bytes
    coefficients: NDArray[np.uint8]

    @classmethod
    def fresh(cls, group: Group) -> Masking:
        """From the system's randomness."""
        return cls(secrets.token_bytes(SEED_BYTES), random_coefficients(group.threshold, len(group.ready)))


def seal(
    epoch: Epoch, member: Address, edges: Edges, values: SumVector, lane_bytes: int, masking: Masking
) -> SealedUpdate:
    """Mask a weighted update w·d, with the noise that the rules have, int64 (n,). edges: those of the round.

    Two results of one round must never both leave the machine: their difference is that of the masks alone. The caller
    keeps the first and answers with its bytes whenever it is asked again.

    Raises:
        EncodingError: the member is not ready, or its group is not fit.
        ShapeError: values are not int64 (n,), or the coefficients are not those of the group's threshold.
    """
    group = epoch.group_of(member)
    if not group.is_fit:
        raise EncodingError(
            f"group {group.number} has {len(group.ready)} ready of {len(group.members)}; it sits out"
        )
    if masking.coefficients.shape != (group.threshold - 1, len(group.ready), SHARE_BYTES):
        raise ShapeError(
            f"coefficients {list(masking.coefficients.shape)} do not make shares of threshold {group.threshold}"
        )
    here = group.rank_of(member)
    seeds = {rank: mask_seed(edges.to(rank), edges.round) for rank in group.ready if rank != here}
    above = [seed for rank, seed in seeds.items() if rank > here]
    below = [seed for rank, seed in seeds.items() if rank < here]
    seeds[here] = check_bytes("seed", masking.seed, SEED_BYTES)
    lanes = add_masks(values, lane_bytes, plus=[seeds[here], *above], minus=below)
    context = epoch.draw.domain.place(edges.round, member).context(lanes.size)
    commitments = {rank: seed_commitment(context, rank, seeds[rank]) for rank in group.ready}
    secret = np.frombuffer(b"".join(seeds[rank] for rank in group.ready), dtype=np.uint8).reshape(
        -1, SHARE_BYTES
    )
    shares = share(secret, [rank + 1 for rank in group.ready], masking.coefficients)
    deposit = build_deposit(group, here, edges, shares)
    file = MaskedFile(lanes, commitments, deposit).to_bytes(lane_bytes)
    return SealedUpdate(
        file,
        masked_root(file[: lanes.size * lane_bytes], lane_bytes, context),
        seeds_tree(group, commitments).root,
        Held.of(group.ready, shares[group.ready.index(here)].tobytes()),
    )


@dataclass(frozen=True)
class Answered:
    """What a member has answered for, and writes down before the answer leaves it. base_root: 32 bytes. included: those
    of its group, by rank."""

    round: int
    base_root: bytes
    closed_hash: bytes
    included: tuple[Address, ...]


def may_answer(
    close: Close, member: Address, base_root: bytes, before: Sequence[Answered], *, bounded: bool = False
) -> Answered:
    """What to write down before a member answers this close, whose bitmap and epoch it has read from the chain itself
    at a final block. before: all it has answered in this epoch, and in others over this base. bounded: whether its own
    budget of ε bounds what sums reveal, however many there are; then it may answer for another set over this base.

    The difference of two sums over one base is itself a sum, of those that are in one of them alone. Of another group
    those are many; of two included sets of one group, and where the groups of two epochs nearly agree, they are few.

    Raises:
        EncodingError: its group stays closed, or it has answered this round, or another included set over this base,
            so that answers for both would open the sum of fewer than a group's least.
    """
    group = _group_of(close, member)
    if not group.is_open:
        raise EncodingError(
            f"group {group.group.number} has {len(group.included)} included of {len(group.group.ready)} ready; "
            "it is not fit or void, and stays closed"
        )
    included = tuple(group.group.members[rank] for rank in group.included)
    new = Answered(close.round, check_bytes("base_root", base_root, 32), close.hash, included)
    for old in before:
        if old == new:
            return new
        if old.round == new.round:
            raise EncodingError(f"round {old.round} is answered already, for another close")
        apart = len(set(old.included) ^ set(new.included))
        if not bounded and old.base_root == new.base_root and 0 < apart < group.group.least_included:
            raise EncodingError(
                f"round {old.round} over the same base was answered for another included set, which {apart} members "
                "tell apart; include the same members again, or leave the group out"
            )
    return new


def answer(
    close: Close, member: Address, edges: Edges, own: Held | None, parts: Mapping[int, bytes]
) -> bytes:
    """A member's shares of the seeds that open its group's sum, 32 bytes each in the order of ``GroupClose.wanted``.

    Only after :func:`may_answer`. edges: those of the round. own: its own shares, if it is included. parts: what other
    included members left for it, by rank; of one that is missing or does not open it has no share.

    Raises:
        EncodingError: the member is included and its own shares are missing.
    """
    group = _group_of(close, member)
    here = group.group.rank_of(member)
    held: dict[int, Held | None] = {}
    for rank in group.included:
        if rank != here:
            held[rank] = _opened(group.group, rank, here, edges, parts.get(rank))
        elif own is None:
            raise EncodingError("a member whose update is included needs its own shares, which it kept")
        else:
            held[rank] = own
    return b"".join(
        NO_SHARE if (found := held[owner]) is None else found.shares[other] for owner, other in group.wanted
    )


def _opened(group: Group, owner: int, holder: int, edges: Edges, part: bytes | None) -> Held | None:
    if part is None:
        return None
    try:
        return open_part(group, owner, holder, edges, part)
    except EncodingError:
        return None


def _group_of(close: Close, member: Address) -> GroupClose:
    return close.group(close.epoch.group_of(member).number)
