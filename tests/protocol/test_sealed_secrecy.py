"""What a sealed round publishes of one member's data: nothing, by its distribution, but its part in the group's sum.

All seeds are fixed, so each statistic is one number; the bounds are what a right implementation passes all but once in
a million choices of seeds.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from fedvm.evm.keccak import keccak
from fedvm.protocol import Domain
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.deposit import parts_of
from fedvm.protocol.sealed.edges import Edges, mask_seed
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.masks import read_signed
from fedvm.protocol.sealed.member import Masking, SealedUpdate, answer, seal
from fedvm.protocol.sealed.roster import Enrolment
from fedvm.protocol.sealed.unmasking import unmask

MEMBERS, ELEMENTS, K, ROUND = 9, 40_000, 5, 3
DOMAIN = Domain(1, "0x" + "fe" * 20)
ABSENT = 4
LEAST_P = 1e-6


@cache
def epoch() -> Epoch:
    roster = tuple(Enrolment(f"0x{i:040x}", keccak(bytes([i])), bytes(32)) for i in range(1, MEMBERS + 1))
    return Epoch(Draw(DOMAIN, 1, 8, roster, keccak(b"seed")), ROUND, bitmap(MEMBERS, range(MEMBERS)))


def edges(rank: int) -> Edges:
    pairs = {other: bytes([min(rank, other), max(rank, other)]) for other in range(MEMBERS) if other != rank}
    return Edges(ROUND, {other: keccak(b"edge" + pair) for other, pair in pairs.items()})


def masking(rank: int) -> Masking:
    group = epoch().groups[0]
    chance = np.random.default_rng(rank)
    shape = (group.threshold - 1, MEMBERS, 32)
    return Masking(keccak(b"own" + bytes([rank])), chance.integers(0, 256, shape, dtype=np.uint8))


def data(rank: int) -> np.ndarray:
    """Something far from uniform: small integers around a slope."""
    chance = np.random.default_rng(100 + rank)
    return (1000 * (rank + 1) * (chance.integers(-50, 51, ELEMENTS) + np.arange(ELEMENTS) // 4)).astype(
        np.int64
    )


@cache
def sealed(rank: int, other_data: bool = False) -> SealedUpdate:
    values = data(rank)[::-1].copy() + 7 if other_data else data(rank)
    return seal(epoch(), epoch().groups[0].members[rank], edges(rank), values, K, masking(rank))


def lanes(update: SealedUpdate) -> np.ndarray:
    return MaskedFile.parse(update.file, epoch().groups[0], ELEMENTS, K).lanes


def close() -> Close:
    return Close(epoch(), ROUND, bitmap(MEMBERS, [place for place in range(MEMBERS) if place != ABSENT]))


def unmasked(rank: int, update: SealedUpdate) -> np.ndarray:
    seeds = {(rank, rank): masking(rank).seed, (rank, ABSENT): mask_seed(edges(rank).to(ABSENT), ROUND)}
    return unmask(close().groups[0], rank, lanes(update), seeds, K)


def uniform_p(values: np.ndarray) -> float:
    """The least p-value over the bytes of the lanes, each against the uniform distribution."""
    parts = values.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :K]
    assert not values.astype(np.uint64).max() >> np.uint64(8 * K)
    counts = [np.bincount(parts[:, byte], minlength=256) for byte in range(K)]
    return min(float(stats.chisquare(count).pvalue) for count in counts)


def test_the_measure_sees_what_is_not_uniform() -> None:
    assert uniform_p((data(2) % (1 << 8 * K)).astype(np.uint64)) < 1e-100


@pytest.mark.parametrize("other_data", [False, True])
def test_masked_and_unmasked_vectors_are_uniform(other_data: bool) -> None:
    for rank in (0, 3, 8):
        update = sealed(rank, other_data)
        assert uniform_p(lanes(update)) > LEAST_P
        # Also without the masks that are revealed: those towards other included members are still on it.
        assert uniform_p(unmasked(rank, update).astype(np.uint64)) > LEAST_P


def test_what_is_published_says_nothing_of_the_data() -> None:
    for rank in (0, 3, 8):
        for values in (lanes(sealed(rank)), unmasked(rank, sealed(rank))):
            top = (values >> (8 * K - 16)).astype(np.int64)
            assert stats.pearsonr(top, data(rank)).pvalue > LEAST_P
            assert (
                stats.ks_2samp(top, (lanes(sealed(rank, True)) >> (8 * K - 16)).astype(np.int64)).pvalue
                > LEAST_P
            )


def test_all_but_one_of_a_group_are_uniform_together() -> None:
    """Only the whole group's sum has no mask left: a sum over any part of it is uniform still."""
    vectors = {rank: unmasked(rank, sealed(rank)) for rank in range(MEMBERS) if rank != ABSENT}
    for left_out in vectors:
        part = sum(vector for rank, vector in vectors.items() if rank != left_out)
        assert uniform_p((part % (1 << 8 * K)).astype(np.uint64)) > LEAST_P
    whole = read_signed(sum(vectors.values()), K)
    assert np.array_equal(whole, sum(data(rank) for rank in vectors))


def test_other_data_under_the_same_seeds_change_one_vector_by_their_difference_and_nothing_else() -> None:
    rank = 3
    plain, other = sealed(rank), sealed(rank, True)
    size = K * ELEMENTS
    assert plain.file[size:] == other.file[size:]  # commitments and deposit
    assert (plain.seeds_root, plain.own) == (other.seeds_root, other.own)
    change = data(rank)[::-1] + 7 - data(rank)
    difference = (lanes(other).astype(np.int64) - lanes(plain).astype(np.int64)) % (1 << 8 * K)
    assert np.array_equal(difference, change % (1 << 8 * K))
    assert np.array_equal((unmasked(rank, other) - unmasked(rank, plain)) % (1 << 8 * K), difference)


def test_answers_do_not_depend_on_the_data() -> None:
    group, holder = epoch().groups[0], 5
    given = []
    for other_data in (False, True):
        files = {
            rank: MaskedFile.parse(sealed(rank, other_data).file, group, ELEMENTS, K)
            for rank in range(MEMBERS)
            if rank not in (ABSENT, holder)
        }
        parts = {rank: parts_of(group, rank, file.deposit)[holder] for rank, file in files.items()}
        own = sealed(holder, other_data).own
        given.append(answer(close(), group.members[holder], edges(holder), own, parts))
    assert given[0] == given[1]


def test_a_swap_within_a_group_leaves_the_sum_and_looks_alike() -> None:
    """Two members exchange their data: the sum is the same, and the pair of their vectors is distributed alike."""
    one, two = 2, 6
    group = epoch().groups[0]
    views = []
    for first, second in ((one, two), (two, one)):
        pair = [
            seal(epoch(), group.members[rank], edges(rank), data(source), K, masking(rank))
            for rank, source in ((one, first), (two, second))
        ]
        views.append([unmasked(rank, update) for rank, update in zip((one, two), pair, strict=True)])
    sums = [(a + b) % (1 << 8 * K) for a, b in views]
    assert np.array_equal(*sums)
    cells = [np.bincount((a >> 36) * 16 + (b >> 36), minlength=256) for a, b in views]
    assert stats.chi2_contingency(np.stack(cells)).pvalue > LEAST_P
    assert all(stats.chisquare(cell).pvalue > LEAST_P for cell in cells)
