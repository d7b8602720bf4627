"""The parts of sealed rounds one by one: bounds of the rules, and what is malformed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_reference import field_product, place_of

from fedvm.evm.keccak import keccak
from fedvm.protocol import Rules
from fedvm.protocol.aggregators import BoosterBagging, CoordinateMedian, FairAverage, ServerMomentum
from fedvm.protocol.errors import EncodingError, RangeError, ShapeError, SignatureError
from fedvm.protocol.rules import PPM, WEIGHTED_MEAN
from fedvm.protocol.sealed import masks, shuffle
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate, sealed_tree
from fedvm.protocol.sealed.aggregation_fold import group_subtotal, sealed_fold
from fedvm.protocol.sealed.bitmaps import bitmap, bits
from fedvm.protocol.sealed.grouping import Grouping, is_fit, least_included, threshold
from fedvm.protocol.sealed.hashes import closed_hash, epoch_root
from fedvm.protocol.sealed.recomputation import Terms
from fedvm.protocol.sealed.records import SealedFile, SealedRecord, SealedSubmission, record_range
from fedvm.protocol.sealed.roster import Enrolment, roster_range
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.sealed.shares import interpolate, random_coefficients, share
from fedvm.protocol.sealed.trees import norm_tree
from fedvm.protocol.sealed.typed_data import Enrol, Ready, Shares
from fedvm.protocol.typed_data import Domain

SEALED = SealedRules(16, 20, 32, 2, 800_000, 0, 600, 300, 120)
RULES = Rules(2, 1, 400, (5 * 2**16) ** 2, 65, 16, 3600, 0, 0, PPM, 0, 0, 0, WEIGHTED_MEAN)
TERMS = Terms(RULES, SEALED, np.zeros(1, dtype=np.int32), lambda member: "")
DOMAIN = Domain(1, "0x" + "fe" * 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_size": 7}, "8 to 128"),
        ({"group_size": 129, "min_roster": 258}, "8 to 128"),
        ({"epoch_rounds": 0}, "at least 1"),
        ({"min_groups": 0}, "at least 1"),
        ({"min_roster": 31}, "32 to 65535"),
        ({"min_roster": 65_536}, "32 to 65535"),
        ({"group_norm_ppm": 0}, "1 to 1000000"),
        ({"group_norm_ppm": 1_000_001}, "1 to 1000000"),
        ({"noise_squares": 2**94}, "noise_squares"),
        ({"enrol_seconds": 59}, "60 to 2592000"),
        ({"key_seconds": 30 * 86_400 + 1}, "60 to 2592000"),
        ({"unmask_seconds": 0}, "60 to 2592000"),
        ({"group_size": 2**16}, "uint16"),
        ({"min_groups": True}, "must be an integer"),
        ({"noise_squares": 1.0}, "must be an integer"),
    ],
)
def test_bounds_of_the_rules(change: dict, message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        replace(SEALED, **change)


def test_bounds_of_the_rules_can_be_reached() -> None:
    replace(SEALED, group_size=8, min_roster=16)
    replace(SEALED, group_size=128, min_roster=65_535, min_groups=511)
    replace(SEALED, group_norm_ppm=1, noise_squares=2**94 - 1, enrol_seconds=60, key_seconds=30 * 86_400)


def test_rules_that_do_not_fit_together() -> None:
    SEALED.check_with(RULES, 3480)
    with pytest.raises(RangeError, match="exceed"):
        SEALED.check_with(RULES, 3481)
    with pytest.raises(EncodingError, match="not known"):
        SEALED.check_with(replace(RULES, aggregator=b"\x77" + bytes(31)), 60)
    with pytest.raises(EncodingError, match="FedAvgM, which remembers rounds"):
        SEALED.check_with(replace(RULES, aggregator=ServerMomentum(10**6, 900_000).identifier), 60)
    with pytest.raises(EncodingError, match="QFedAvg, which weighs clients by their losses"):
        SEALED.check_with(replace(RULES, aggregator=FairAverage(100_000, 1).identifier), 60)
    with pytest.raises(EncodingError, match="FedXgbBagging, which gathers the bytes"):
        SEALED.check_with(replace(RULES, aggregator=BoosterBagging().identifier), 60)
    compared = replace(RULES, aggregator=CoordinateMedian().identifier)
    with pytest.raises(EncodingError, match="min_groups is 2"):
        replace(SEALED, min_groups=2).check_with(compared, 60)
    replace(SEALED, min_groups=3, min_roster=3 * SEALED.group_size).check_with(compared, 60)
    with pytest.raises(RangeError, match="less than 2\\^62"):
        SEALED.check_with(replace(RULES, max_sum_squares=2**62), 60)
    with pytest.raises(RangeError, match="lanes of 8 bytes"):
        SEALED.check_with(replace(RULES, max_sum_squares=2**62 - 1, max_examples=2**20), 60)


@given(st.integers(8, 128), st.integers(0, 2**22), st.integers(0, 2**40), st.integers(0, 2**60))
def test_lanes_are_as_wide_as_they_must_be(group: int, weight: int, squares: int, noise: int) -> None:
    rules = replace(RULES, max_examples=weight, max_sum_squares=squares)
    sealed = replace(SEALED, group_size=group, min_roster=2 * group, noise_squares=noise)
    reach = (2 * group - 1) * (weight * isqrt(squares) + isqrt(noise))
    try:
        width = lane_bytes(rules, sealed)
    except RangeError:
        assert reach >= 2**47
        return
    assert reach < 2 ** (8 * width - 1)
    assert width == 1 or reach >= 2 ** (8 * width - 9)


def test_the_bound_on_a_sum_is_exact() -> None:
    sealed = replace(SEALED, group_norm_ppm=500_000, noise_squares=3)
    assert sealed.norm_allows(100 * 4 // 4 + 6, 2, 2, 100)  # (W² · maxSumSquares) / 4 + 3 for each of two
    assert not sealed.norm_allows(100 * 4 // 4 + 7, 2, 2, 100)


@given(st.integers(1, 3000), st.binary(min_size=32, max_size=32))
def test_the_shuffle_is_a_permutation_and_can_be_inverted(count: int, seed: bytes) -> None:
    places = shuffle.places(seed, count)
    assert sorted(places.tolist()) == list(range(count))
    for index in (0, count // 2, count - 1):
        place = shuffle.place_of(seed, count, index)
        assert place == places[index] == place_of(seed, count, index)
        assert shuffle.index_of(seed, count, place) == index


def test_shuffles_refuse_what_is_none() -> None:
    with pytest.raises(RangeError, match="no member 5"):
        shuffle.place_of(bytes(32), 5, 5)
    with pytest.raises(RangeError, match="no member -1"):
        shuffle.index_of(bytes(32), 5, -1)
    with pytest.raises(RangeError, match="without members"):
        shuffle.places(bytes(32), 0)
    with pytest.raises(EncodingError, match="32 bytes"):
        shuffle.places(bytes(31), 3)
    with pytest.raises(EncodingError, match="beacon"):
        shuffle.group_seed(DOMAIN, 1, bytes(32), bytes(31))


@given(st.integers(8, 128), st.data())
def test_groups_are_of_nearly_one_size(group_size: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(group_size, 65_535))
    grouping = Grouping(count, group_size)
    sizes = [len(grouping.places(q)) for q in range(grouping.groups)]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert group_size <= min(sizes)
    assert max(sizes) <= 2 * group_size - 1
    assert max(sizes) <= 1 << grouping.height < 2 * max(sizes)
    place = data.draw(st.integers(0, count - 1))
    assert place in grouping.places(grouping.group_of(place))


def test_groups_refuse_what_is_none() -> None:
    with pytest.raises(RangeError, match="no group of 8"):
        Grouping(7, 8)
    with pytest.raises(RangeError, match="no place 16"):
        Grouping(16, 8).group_of(16)
    with pytest.raises(RangeError, match="no group 2"):
        Grouping(16, 8).places(2)


def test_thresholds() -> None:
    assert [threshold(n) for n in (8, 9, 10, 32, 255)] == [6, 7, 7, 22, 171]
    assert [least_included(n) for n in (8, 9, 10, 32, 255)] == [6, 7, 8, 24, 192]
    assert [is_fit(*case) for case in ((8, 8), (7, 8), (9, 10), (8, 9))] == [True, False, True, False]


@given(st.sets(st.integers(0, 99)))
def test_bitmaps(chosen: set[int]) -> None:
    data = bitmap(100, chosen)
    assert len(data) == 13
    assert set(bits("some", data, 100).nonzero()[0].tolist()) == chosen


def test_bitmaps_of_a_wrong_form_are_refused() -> None:
    with pytest.raises(RangeError, match="no bit 9"):
        bitmap(9, [9])
    for data, message in ((b"", "take 2"), (bytes(3), "take 2"), (b"\x00\x02", "spare bits")):
        with pytest.raises(EncodingError, match=message):
            bits("some", data, 9)


@given(st.integers(1, 6), st.integers(1, 100), st.binary(min_size=32, max_size=32))
def test_masks_cancel_and_lanes_keep_their_bytes(width: int, elements: int, seed: bytes) -> None:
    values = np.arange(elements, dtype=np.int64) - 50
    masked = masks.add_masks(values, width, plus=[seed, keccak(seed)])
    assert np.array_equal(masks.from_bytes(masks.to_bytes(masked, width), elements, width), masked)
    plain = masks.add_masks(masked, width, minus=[keccak(seed), seed])
    assert np.array_equal(masks.read_signed(plain.astype(np.int64), width), values)
    assert np.array_equal(masks.mask(seed, elements, width), masks.mask(seed, elements + 9, width)[:elements])


def test_masks_refuse_what_does_not_fit() -> None:
    lanes = np.array([256], dtype=np.uint64)
    with pytest.raises(EncodingError, match="more than 1 bytes hold"):
        masks.to_bytes(lanes, 1)
    for width in (0, 7):
        with pytest.raises(EncodingError, match="1 to 6 bytes"):
            masks.to_bytes(lanes, width)
        with pytest.raises(EncodingError, match="1 to 6 bytes"):
            masks.from_bytes(bytes(8), 1, width)
    with pytest.raises(ShapeError, match="exactly 3 lanes"):
        masks.from_bytes(bytes(8), 3, 3)
    with pytest.raises(EncodingError, match="seed must hold 32"):
        masks.mask(bytes(31), 3, 4)
    for values in (np.zeros(3), np.zeros((3, 1), dtype=np.int64), np.zeros(3, dtype=np.int32)):
        with pytest.raises(ShapeError, match="64-bit integers"):
            masks.add_masks(values, 4)


@given(st.integers(1, 20), st.integers(0, 8), st.randoms(use_true_random=False))
def test_any_shares_that_suffice_give_the_secrets(least: int, spare: int, chance) -> None:
    values = np.frombuffer(chance.randbytes(96), dtype=np.uint8).reshape(3, 32)
    xs = chance.sample(range(1, 256), least + spare)
    shares = share(values, xs, random_coefficients(least, 3))
    chosen = chance.sample(range(len(xs)), least)
    given_xs = [xs[at] for at in chosen]
    assert np.array_equal(interpolate(shares[chosen], given_xs), values)
    for x, one in zip(xs, shares, strict=True):
        assert np.array_equal(interpolate(shares[chosen], given_xs, at=x), one)


def test_fewer_shares_give_nothing() -> None:
    """One short of the threshold, every value of a secret's byte is as good: each has one polynomial that fits."""
    secret = np.full((1, 32), 77, dtype=np.uint8)
    shares = share(secret, [1, 2], random_coefficients(3, 1))
    found = set()
    for guess in range(256):
        third = np.full((1, 1, 32), guess, dtype=np.uint8)
        found.add(int(interpolate(np.concatenate([shares, third]), [1, 2, 3])[0, 0]))
    assert found == set(range(256))


def test_the_field_is_that_of_aes() -> None:
    chance = np.random.default_rng(5)
    for _ in range(50):
        secret, coefficient = chance.integers(0, 256, (2, 1, 32), dtype=np.uint8)
        x = int(chance.integers(1, 256))
        made = share(secret, [x], coefficient[None])[0, 0].tolist()
        pairs = zip(secret[0].tolist(), coefficient[0].tolist(), strict=True)
        assert made == [a ^ field_product(b, x) for a, b in pairs]


def test_shares_of_a_wrong_form_are_refused() -> None:
    values, coefficients = np.zeros((2, 32), dtype=np.uint8), random_coefficients(3, 2)
    for x in (0, 256, -1):
        with pytest.raises(EncodingError, match="1 to 255"):
            share(values, [x], coefficients)
        with pytest.raises(EncodingError, match="1 to 255"):
            interpolate(values[None], [x])
    with pytest.raises(ShapeError, match="do not fit"):
        share(values[:1], [1], coefficients)
    with pytest.raises(ShapeError, match="do not fit"):
        interpolate(values[None], [1, 2])
    with pytest.raises(EncodingError, match="one holder"):
        interpolate(np.stack([values, values]), [1, 1])


def test_rosters_of_a_wrong_form_are_refused() -> None:
    one = Enrolment("0x" + "ab" * 20, bytes(32), bytes(32))
    with pytest.raises(EncodingError, match="comes twice"):
        roster_range([one, Enrolment("0x" + "AB" * 20, keccak(b""), bytes(32))])
    with pytest.raises(EncodingError, match="1 to 65535"):
        roster_range([])
    with pytest.raises(EncodingError, match="x25519"):
        Enrolment(one.member, bytes(31), bytes(32))
    with pytest.raises(EncodingError, match="40 hex digits"):
        Enrolment("0xab", bytes(32), bytes(32))


def test_statements_of_a_wrong_form_are_refused() -> None:
    with pytest.raises(RangeError, match="epoch is -1"):
        Ready(-1, bytes(32), b"cid")
    with pytest.raises(EncodingError, match="roster_root must hold 32"):
        Ready(1, bytes(33), b"cid")
    for cid in (b"", bytes(65), "cid"):
        with pytest.raises(EncodingError, match="binary CIDv1"):
            Ready(1, bytes(32), cid)
    with pytest.raises(EncodingError, match="mlkem"):
        Enrol(1, bytes(32), bytes(32), bytes(32), b"", 1)
    plain = Ready(7, bytes(32), b"cid")
    assert Ready(np.uint64(7), bytearray(32), b"cid").struct_hash() == plain.struct_hash()
    key = keccak(b"a key")
    statement = Shares(1, bytes(32), bytes(32))
    signature = statement.sign(DOMAIN, key)
    statement.check_signature(DOMAIN, signature, statement.signer(DOMAIN, signature))
    with pytest.raises(SignatureError, match="Shares was signed by"):
        statement.check_signature(DOMAIN, signature, "0x" + "11" * 20)
    with pytest.raises(SignatureError, match="65 bytes"):
        statement.signer(DOMAIN, signature[:-1])
    assert replace(statement, round=2).signer(DOMAIN, signature) != statement.signer(DOMAIN, signature)


def test_hashes_refuse_wrong_lengths() -> None:
    with pytest.raises(EncodingError, match="group seed"):
        epoch_root(bytes(32), bytes(31), b"")
    with pytest.raises(EncodingError, match="epoch root"):
        closed_hash(1, bytes(31), b"")
    with pytest.raises(RangeError, match="round"):
        closed_hash(2**64, bytes(32), b"")


def test_records_of_a_wrong_form_are_refused() -> None:
    one, two = SealedRecord(4, 9, bytes(32)), SealedRecord(3, 9, bytes(32))
    for records in ([one, two], [one, one]):
        with pytest.raises(EncodingError, match="stands behind"):
            record_range(records)
    with pytest.raises(EncodingError, match="no sealed record"):
        SealedRecord.parse(one.preimage() + b"\0")
    with pytest.raises(EncodingError, match="no sealed record"):
        SealedRecord.parse(b"\x0c" + one.preimage()[1:])
    with pytest.raises(RangeError, match="place"):
        SealedRecord(2**32, 1, bytes(32))
    for data in (b"", b"\x3b" + bytes(289), b"\x3b" + bytes(354), b"\x0e" + bytes(300)):
        with pytest.raises(EncodingError, match="no submission of a sealed round"):
            SealedSubmission.parse(data)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_file_or_a_clear_error(data: bytes) -> None:
    try:
        file = SealedFile.parse(data)
    except EncodingError:
        return
    assert file.to_bytes() == data


def test_files_that_are_cut_are_refused() -> None:
    file = SealedFile((SealedRecord(1, 2, bytes(32)),), (b"a submission",), (bytes(32), bytes(32)))
    data = file.to_bytes()
    assert SealedFile.parse(data) == file
    for cut in range(len(data)):
        if cut not in (len(data) - 32, len(data) - 64):
            with pytest.raises(EncodingError):
                SealedFile.parse(data[:cut])


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=200))
def test_norms_are_exact(values: list[int]) -> None:
    tree = norm_tree(np.array(values, dtype=np.int64))
    assert tree.squares == sum(value * value for value in values)


def counted(values: list[int], weight: int = 1) -> UnmaskedUpdate:
    return UnmaskedUpdate(weight, np.array(values, dtype=np.int64), keccak(bytes(values[:1])))


@given(
    st.lists(
        st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=1, max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_tree_and_fold_agree(groups: list[list[list[int]]]) -> None:
    updates = [[counted(values, 1 + at) for at, values in enumerate(group)] for group in groups]
    tree = sealed_tree(updates, 2, 1)
    nodes = [group_subtotal(group, 2, 1) for group in updates]
    top = sealed_fold(nodes)
    assert (tree.root, tree.top.weight) == (top.hash, top.weight)
    assert [node.hash for node in tree.group_nodes] == [node.hash for node in nodes]
    expected = np.zeros(3, dtype=np.int64)
    for group in groups:
        expected += ((np.sum(group, axis=0) + 128) % 256) - 128
    assert np.array_equal(top.sums, expected)
    # Every path leads to the top.
    for rank, node in enumerate(tree.group_nodes):
        digest, position = node.hash, rank
        for step in tree.path(rank):
            pair = step.sibling + digest if position & 1 else digest + step.sibling
            digest, position = keccak(b"\x09" + step.weight.to_bytes(8) + step.sums + pair), position >> 1
        assert digest == tree.root
        assert len(tree.lower[rank].path(0)) == 2
    with pytest.raises(RangeError):
        tree.path(len(groups))
    with pytest.raises(RangeError):
        tree.lower[0].path(len(groups[0]) if len(groups[0]) < 4 else 4)


def test_a_group_of_one_level_less_still_has_its_node() -> None:
    tree = sealed_tree([[counted([200, 5, 0])]], 0, 1)
    assert len(tree.lower[0].levels) == 1
    assert tree.top.preimage[:1] == b"\x3c"
    assert tree.top.sums.vector.tolist() == [-56, 5, 0]


def test_what_cannot_be_added_up_is_refused() -> None:
    with pytest.raises(EncodingError, match="no group counts"):
        sealed_tree([], 2, 1)
    with pytest.raises(EncodingError, match="no group counts"):
        sealed_fold([])
    with pytest.raises(EncodingError, match="no included member"):
        sealed_tree([[]], 2, 1)
    with pytest.raises(RangeError, match="its tree holds 1"):
        sealed_tree([[counted([1]), counted([2])]], 0, 1)
    for values in ([-1], [256]):
        with pytest.raises(RangeError, match="a lane"):
            sealed_tree([[UnmaskedUpdate(1, np.array(values, dtype=np.int64), bytes(32))]], 0, 1)
    with pytest.raises(EncodingError, match="weight"):
        sealed_tree([[counted([1], 0)]], 0, 1)
    with pytest.raises(ShapeError):
        sealed_tree([[counted([1]), counted([1, 2])]], 1, 1)
    with pytest.raises(ShapeError):
        sealed_tree([[counted([1])], [counted([1, 2])]], 0, 1)
    with pytest.raises(ShapeError):
        sealed_fold([group_subtotal([counted([1])], 0, 1), group_subtotal([counted([1, 2])], 0, 1)])
    with pytest.raises(ShapeError, match="base"):
        replace(TERMS, base=np.zeros(2, dtype=np.int32)).result(
            1, [group_subtotal([counted([1, 2, 3])], 0, 1)]
        )
    with pytest.raises(EncodingError, match="no group"):
        TERMS.result(1, [])


def test_a_spoilt_sum_that_leaves_int32_is_named() -> None:
    with pytest.raises(RangeError, match="outside int32"):
        TERMS.result(1, [group_subtotal([UnmaskedUpdate(1, np.array([2**46]), bytes(32))], 0, 6)])


def test_who_has_no_sealed_rounds_loads_no_ciphers() -> None:
    code = (
        "import fedvm.protocol, sys; print([m for m in sys.modules if 'sealed' in m or 'cryptography' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
