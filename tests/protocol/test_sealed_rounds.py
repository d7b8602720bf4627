"""Sealed rounds from keys to the new model: sums are exact, and what is wrong, missing or hostile is found."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_federation import DOMAIN, FIRST_ROUND, Federation, Played, play

from fedvm.evm.keccak import keccak
from fedvm.protocol import Commitment, CountedUpdate, model_root, weighted_mean
from fedvm.protocol.errors import EncodingError, ProofError, RangeError, ShapeError, SignatureError
from fedvm.protocol.sealed.aggregation import sealed_tree
from fedvm.protocol.sealed.close import Close, GroupClose
from fedvm.protocol.sealed.coordinator import check_file
from fedvm.protocol.sealed.deposit import deposit_bytes, open_part, part_bytes, parts_of
from fedvm.protocol.sealed.edges import Edges, ciphertexts
from fedvm.protocol.sealed.keys import EpochKeys, agree, decapsulate, encapsulate
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.masks import add_masks
from fedvm.protocol.sealed.member import (
    NO_SHARE,
    Masking,
    agree_edges,
    answer,
    encapsulate_to_mates,
    may_answer,
    seal,
)
from fedvm.protocol.sealed.recomputation import counted_updates, recompute
from fedvm.protocol.sealed.records import SealedFile
from fedvm.protocol.sealed.roster import Enrolment
from fedvm.protocol.sealed.trees import masked_tree, seeds_tree, verify_masked


@cache
def federation(count: int = 23, not_ready: tuple[int, ...] = (3,)) -> Federation:
    return Federation(count, not_ready=not_ready)


@cache
def full_round() -> Played:
    """23 members in two groups of 12 and 11, one of them not ready, three absent."""
    game = federation()
    return play(game, [place for place in range(23) if place not in (3, 0, 7, 20)])


def everybody_answers(played: Played) -> dict[int, dict[int, bytes]]:
    return {
        group.group.number: {rank: played.answer_of(group, rank) for rank in group.group.ready}
        for group in played.close.groups
        if group.is_open
    }


def opened_file(played: Played) -> SealedFile:
    answers = everybody_answers(played)
    opened = {number: played.open(played.close.groups[number], given) for number, given in answers.items()}
    assert all(one.missed is None for one in opened.values())
    return played.file(opened)


def plain_sum(played: Played, group: GroupClose) -> np.ndarray:
    game = played.federation
    total = np.zeros(game.elements, dtype=np.int64)
    for rank in group.included:
        weight, values = game.update(group.group.first + rank, played.close.round)
        total += weight * values.astype(np.int64)
    return total


def test_a_round_gives_the_weighted_mean_of_its_members() -> None:
    played = full_round()
    file = opened_file(played)
    assert SealedFile.parse(file.to_bytes()) == file
    result = played.recomputed(file, [0, 1])
    for node, group in zip(result.groups, played.close.groups, strict=True):
        assert np.array_equal(node.sums, plain_sum(played, group))
        assert node.squares == sum(int(v) ** 2 for v in plain_sum(played, group))
    weights = [played.federation.update(record.place)[0] for record in file.records]
    assert result.aggregate.total_weight == sum(weights)
    total = sum(plain_sum(played, group) for group in played.close.groups)
    assert np.array_equal(result.aggregate.model, played.federation.base + total // sum(weights))
    tree = sealed_tree(
        list(counted_updates(played.close, [0, 1], file, played.files, played.federation.terms)),
        played.federation.draw.grouping.height,
        played.federation.terms.lane_bytes,
    )
    assert tree.root == result.root


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_sums_are_exact_whoever_is_absent(data: st.DataObject) -> None:
    """Up to 30 % of the ready are absent, and just enough answer: a group is void, or its sum exact."""
    game = federation()
    round_ = data.draw(st.integers(FIRST_ROUND, FIRST_ROUND + 3))
    ready = [place for place in range(23) if game.epoch.flags[place]]
    absent = data.draw(st.sets(st.sampled_from(ready), max_size=3 * len(ready) // 10))
    played = play(game, [place for place in ready if place not in absent], round_)
    opened = {}
    for group in played.close.groups:
        assert group.is_open == (len(group.included) >= group.group.least_included)
        if group.is_open:
            chosen = data.draw(st.permutations(group.group.ready))[: group.group.threshold]
            answers = {rank: played.answer_of(group, rank) for rank in chosen}
            opened[group.group.number] = played.open(group, answers)
    if not opened:
        with pytest.raises(ProofError, match="0 groups count"):
            played.recomputed(played.file(opened), opened)
        return
    result = played.recomputed(played.file(opened), opened)
    for number, node in zip(sorted(opened), result.groups, strict=True):
        assert np.array_equal(node.sums, plain_sum(played, played.close.groups[number]))


def test_where_all_groups_are_void_no_round_is_made() -> None:
    played = play(federation(), [place for place in range(23) if place not in (0, 1, 2, 3, 12, 13, 14)])
    assert not any(group.is_open for group in played.close.groups)
    with pytest.raises(ProofError, match="0 groups count"):
        played.recomputed(played.file({}), ())


def test_a_third_absent_voids_a_group_and_the_others_count() -> None:
    played = play(federation(), [p for p in range(23) if p not in (3, 4, 5, 6, 7)])
    assert [group.is_open for group in played.close.groups] == [False, True]
    with pytest.raises(EncodingError, match="stays closed"):
        may_answer(played.close, federation().member(0), bytes(32), [])
    file = opened_file(played)
    result = played.recomputed(file, [1])
    assert np.array_equal(result.groups[0].sums, plain_sum(played, played.close.groups[1]))


def test_one_share_less_than_the_threshold_opens_nothing() -> None:
    played = full_round()
    group = played.close.groups[0]
    answers = {rank: played.answer_of(group, rank) for rank in group.group.ready[: group.group.threshold - 1]}
    opened = played.open(group, answers)
    assert (opened.missed, dict(opened.seeds)) == (group.wanted[0], {})


@pytest.mark.parametrize("wrong", [1, 2])
def test_wrong_shares_are_found_among_enough_right_ones(wrong: int) -> None:
    played = full_round()
    group = played.close.groups[0]
    answers = everybody_answers(played)[0]
    right = played.open(group, answers)
    chance = random.Random(wrong)
    liars = chance.sample(group.group.ready[: group.group.threshold], wrong)
    for rank in liars:
        answers[rank] = chance.randbytes(len(answers[rank]))
    found = played.open(group, answers)
    assert (dict(found.seeds), found.missed) == (dict(right.seeds), None)
    assert found.wrong == set(liars)


def test_one_wrong_share_among_just_enough_voids_the_group() -> None:
    played = full_round()
    group = played.close.groups[0]
    answers = {rank: played.answer_of(group, rank) for rank in group.group.ready[: group.group.threshold]}
    last = group.group.ready[group.group.threshold - 1]
    answers[last] = answers[last][:-1] + bytes([answers[last][-1] ^ 1])  # one bit of one share
    opened = played.open(group, answers)
    assert opened.missed == group.wanted[-1]


def test_answers_may_come_in_any_order_and_garbage_is_passed_over() -> None:
    played = full_round()
    group = played.close.groups[1]
    answers = everybody_answers(played)[1]
    right = played.open(group, answers)
    shuffled = list(answers.items())
    random.Random(3).shuffle(shuffled)
    hostile = dict(shuffled) | {200: b"garbage", -1: bytes(len(answers[group.group.ready[0]]))}
    hostile[group.group.ready[0]] = b"too short"
    assert dict(played.open(group, hostile).seeds) == dict(right.seeds)


def test_a_member_whose_deposit_does_not_open_is_covered_by_others() -> None:
    played = full_round()
    group = played.close.groups[0]
    first = group.group.first
    answers = everybody_answers(played)[0]
    holder, owner = group.included[0], group.included[1]
    member = group.group.members[holder]
    parts = {
        other: parts_of(group.group, other, played.files[first + other].deposit)[holder]
        for other in group.included
        if other != holder
    }
    parts[owner] = bytes(len(parts[owner]))
    edges = played.federation.first_edges[first + holder]
    given = answer(played.close, member, edges, played.updates[first + holder].own, parts)
    lost = [given[32 * at : 32 * at + 32] for at, name in enumerate(group.wanted) if name[0] == owner]
    assert set(lost) == {NO_SHARE}
    opened = played.open(group, answers | {holder: given})
    assert opened.missed is None
    assert opened.wrong == frozenset()


def test_a_member_answers_once() -> None:
    game = federation()
    member, base = game.member(1), bytes([1]) * 32
    everybody = [place for place in range(23) if game.epoch.flags[place]]
    fewer = [place for place in everybody if place != 2]  # of the member's own group
    fewer_elsewhere = everybody[:-1]
    first = may_answer(game.close(everybody), member, base, [])
    assert may_answer(game.close(everybody), member, base, [first]) == first
    for other in (fewer, fewer_elsewhere):
        with pytest.raises(EncodingError, match="answered already"):
            may_answer(game.close(other), member, base, [first])
    with pytest.raises(EncodingError, match="answered already"):
        may_answer(game.close(everybody), member, bytes(32), [first])
    # The next round over the same base: the same set of the group again, and no other.
    following = FIRST_ROUND + 1
    with pytest.raises(EncodingError, match="another included set"):
        may_answer(game.close(fewer, following), member, base, [first])
    assert may_answer(game.close(fewer, following), member, base, [first], bounded=True).round == following
    with pytest.raises(EncodingError, match="answered already"):
        may_answer(game.close(fewer), member, base, [first], bounded=True)
    assert (
        may_answer(game.close(fewer_elsewhere, following), member, base, [first]).included == first.included
    )
    assert may_answer(game.close(fewer, following), member, bytes(32), [first]).included != first.included
    with pytest.raises(EncodingError, match="32 bytes"):
        may_answer(game.close(everybody), member, b"", [])


def test_both_ends_agree_on_an_edge_and_it_moves_on() -> None:
    game = federation()
    for group in game.epoch.groups:
        for rank in group.ready:
            for other in group.ready:
                if rank != other:
                    mine, theirs = game.first_edges[group.first + rank], game.first_edges[group.first + other]
                    assert mine.to(other) == theirs.to(rank)
    edges = game.first_edges[0]
    assert edges.advanced(FIRST_ROUND + 2) == edges.advanced(FIRST_ROUND + 1).advanced(FIRST_ROUND + 2)
    assert edges.advanced(FIRST_ROUND + 1).keys[1] != edges.keys[1]
    with pytest.raises(RangeError, match="deleted"):
        edges.advanced(FIRST_ROUND - 1)
    with pytest.raises(EncodingError, match="no edge"):
        edges.to(0)


def test_bad_keys_and_ciphertexts_are_refused() -> None:
    game = federation()
    one, other = EpochKeys.generate(), EpochKeys.generate()
    enrolment = other.enrolment(game.member(0))
    for low_order in (bytes(32), (1).to_bytes(32, "little")):
        with pytest.raises(EncodingError, match="low order"):
            agree(one.x25519, low_order)
    with pytest.raises(EncodingError, match="32 bytes"):
        agree(one.x25519, bytes(31))
    with pytest.raises(EncodingError, match="not the ML-KEM-768 key"):
        encapsulate(enrolment, one.mlkem_public)
    with pytest.raises(EncodingError, match="1184 bytes"):
        encapsulate(enrolment, other.mlkem_public[:-1])
    broken = b"\xff" * 1184
    with pytest.raises(EncodingError, match="no valid ML-KEM"):
        encapsulate(Enrolment(enrolment.member, enrolment.x25519, keccak(broken)), broken)
    with pytest.raises(EncodingError, match="1088 bytes"):
        decapsulate(one.mlkem, bytes(1087))
    with pytest.raises(EncodingError, match="key file"):
        ciphertexts("a member", bytes(1088 * 2 - 1), 2)
    raw = one.to_bytes()
    assert EpochKeys.from_bytes(raw).enrolment(enrolment.member) == one.enrolment(enrolment.member)
    with pytest.raises(EncodingError, match="96 bytes"):
        EpochKeys.from_bytes(raw[:-1])


def test_what_is_missing_for_the_keys_is_named() -> None:
    game = federation()
    place = game.epoch.groups[0].first + game.epoch.groups[0].ready[-1]
    member = game.member(place)
    with pytest.raises(EncodingError, match="is missing; fetch it, or sit this epoch out"):
        agree_edges(game.epoch, member, game.keys[member], game.key_files[member], {})
    with pytest.raises(EncodingError, match="ML-KEM-768 key of 0x"):
        encapsulate_to_mates(game.draw, game.member(0), {})
    with pytest.raises(EncodingError, match="sits this epoch out"):
        game.epoch.group_of(game.member(3))
    with pytest.raises(EncodingError, match="has not enrolled"):
        game.draw.place_of("0x" + "11" * 20)


def test_a_wrong_ciphertext_spoils_the_edge_and_no_more() -> None:
    game = federation()
    group = game.epoch.groups[0]
    lower, higher = group.ready[0], group.ready[1]
    member, sender = group.members[higher], group.members[lower]
    data = bytearray(game.key_files[sender].data)
    data[higher - lower - 1] ^= 1
    files = {m: file.data for m, file in game.key_files.items()} | {sender: bytes(data)}
    edges = agree_edges(game.epoch, member, game.keys[member], game.key_files[member], files)
    right = game.first_edges[group.first + higher]
    assert edges.to(lower) != right.to(lower)
    assert all(edges.to(rank) == right.to(rank) for rank in group.ready if rank not in (lower, higher))


def test_an_update_that_is_not_what_was_signed_is_refused() -> None:
    game, played = federation(), full_round()
    submission, update = played.submissions[1], played.updates[1]
    member, k = game.member(1), game.terms.lane_bytes
    file = bytearray(update.file)
    file[5] ^= 1
    with pytest.raises(ProofError, match="masked vector"):
        check_file(game.epoch, member, submission.masked, bytes(file), game.elements, k)
    file = bytearray(update.file)
    file[game.elements * k + 3] ^= 1
    with pytest.raises(ProofError, match="commitments"):
        check_file(game.epoch, member, submission.masked, bytes(file), game.elements, k)
    with pytest.raises(ShapeError, match="takes"):
        check_file(game.epoch, member, submission.masked, update.file + b"\0", game.elements, k)
    with pytest.raises(EncodingError, match="another epoch"):
        check_file(Federation(23).epoch, member, submission.masked, update.file, game.elements, k)


def test_commitments_that_are_zero_or_the_same_are_refused() -> None:
    game, played = federation(), full_round()
    member, group, k = game.member(1), game.epoch.groups[0], game.terms.lane_bytes
    right = played.files[1]
    for other in (bytes(32), right.commitments[group.ready[0]]):
        file = replace(right, commitments=dict(right.commitments) | {group.ready[-1]: other})
        masked = replace(played.submissions[1].masked, seeds_root=seeds_tree(group, file.commitments).root)
        with pytest.raises(ProofError, match="is zero, or two are the same"):
            check_file(game.epoch, member, masked, file.to_bytes(k), game.elements, k)


def test_deposits_of_a_wrong_form_are_refused() -> None:
    game, played = federation(), full_round()
    group = game.epoch.groups[0]
    deposit = played.files[1].deposit
    assert len(deposit) == deposit_bytes(group)
    with pytest.raises(EncodingError, match="bytes; with 11 ready"):
        parts_of(group, 1, deposit[:-1])
    assert not {1, 3} & set(parts_of(group, 1, deposit))
    with pytest.raises(EncodingError, match="rank 3 is not ready"):
        parts_of(group, 3, deposit)
    edges = game.first_edges[2]
    with pytest.raises(EncodingError, match="not 368"):
        open_part(group, 1, 2, edges, bytes(3))
    with pytest.raises(EncodingError, match="does not open"):
        open_part(group, 1, 2, edges, parts_of(group, 1, deposit)[4])
    assert part_bytes(group) == 368


def test_a_group_that_is_not_fit_sits_out() -> None:
    game = Federation(16, not_ready=(2,))
    assert [group.is_fit for group in game.epoch.groups] == [False, True]
    values = np.zeros(game.elements, dtype=np.int64)
    group = game.epoch.groups[0]
    with pytest.raises(EncodingError, match="sits out"):
        seal(game.epoch, game.member(0), Edges(FIRST_ROUND, {}), values, 5, Masking.fresh(group))


def test_a_lower_threshold_is_refused() -> None:
    game = federation()
    masking = Masking.fresh(game.epoch.groups[0])
    for few in (masking.coefficients[1:], masking.coefficients[:, 1:]):
        with pytest.raises(ShapeError, match="threshold 8"):
            game.seal(1, masking=replace(masking, coefficients=few))
    with pytest.raises(EncodingError, match="seed must hold 32"):
        game.seal(1, masking=replace(masking, seed=bytes(31)))


def test_a_false_file_is_found() -> None:
    played = full_round()
    file, terms = opened_file(played), played.federation.terms

    def fails(other: SealedFile, message: str, counting: tuple[int, ...] = (0, 1)) -> None:
        with pytest.raises((ProofError, EncodingError, SignatureError), match=message):
            recompute(played.close, counting, other, played.files, terms)

    fails(SealedFile(file.records[:-1], file.submissions[:-1], file.seeds), "records are not those")
    fails(SealedFile(file.records, file.submissions, file.seeds[:-1]), "the counting groups take")
    swapped = (file.seeds[1], file.seeds[0], *file.seeds[2:])
    fails(SealedFile(file.records, file.submissions, swapped), "committed to")
    others = (file.submissions[1], file.submissions[0], *file.submissions[2:])
    fails(SealedFile(file.records, others, file.seeds), "the submission is of")
    heavier = file.records[0]
    record = type(heavier)(heavier.place, heavier.weight + 1, heavier.submission)
    fails(SealedFile((record, *file.records[1:]), file.submissions, file.seeds), "does not follow")
    fails(file, "in ascending order", (1, 0))
    fails(file, "in ascending order", (0, 7))
    fails(file, "groups count", ())
    spoilt = dict(played.files)
    del spoilt[1]
    with pytest.raises(ProofError, match="place 1 is missing"):
        recompute(played.close, (0, 1), file, spoilt, terms)


def test_a_stranger_cannot_sign() -> None:
    played = full_round()
    game = played.federation
    one = played.submissions[1]
    stranger = type(one)(one.member, one.masked, one.masked.sign(DOMAIN, game.accounts[game.member(2)].key))
    updates = Played(game, played.close, played.updates)
    updates.submissions[1] = stranger
    with pytest.raises(SignatureError, match="neither the member nor its key"):
        updates.recomputed(opened_file(updates), [0, 1])


def test_a_sum_beyond_the_bound_does_not_count() -> None:
    game = Federation(16)
    game.update = lambda place, round_=FIRST_ROUND: (1000, np.full(70, 240, dtype=np.int32))  # type: ignore[method-assign]
    played = play(game, range(16))
    with pytest.raises(ProofError, match="too long"):
        played.recomputed(opened_file(played), [0, 1])


def test_a_spoilt_vector_spoils_its_group_alone() -> None:
    game = Federation(16)
    played = play(game, range(16))
    file = opened_file(played)
    right, k = played.files[0], game.terms.lane_bytes

    def with_vector(lanes: np.ndarray) -> dict[int, MaskedFile]:
        return played.files | {0: replace(right, lanes=lanes)}

    with pytest.raises(ProofError, match="the sum of group 0 is too long"):
        recompute(
            played.close, (0, 1), file, with_vector(add_masks(right.lanes, k, plus=[bytes(32)])), game.terms
        )
    shifted = (right.lanes + np.uint64(12345)) % np.uint64(1 << 8 * k)
    result = recompute(played.close, (0, 1), file, with_vector(shifted), game.terms)
    assert np.array_equal(result.groups[1].sums, plain_sum(played, played.close.groups[1]))
    assert not np.array_equal(result.groups[0].sums, plain_sum(played, played.close.groups[0]))


def test_openings_of_a_masked_vector() -> None:
    played = full_round()
    game, lanes = played.federation, played.files[1].lanes
    k = game.terms.lane_bytes
    context = DOMAIN.place(FIRST_ROUND, game.member(1)).context(game.elements)
    tree = masked_tree(lanes, k, context)
    for index in range(2):
        verify_masked(tree.open(index), tree.root, context, game.elements, k)
    opening = tree.open(0)
    with pytest.raises(ProofError, match="does not lead"):
        verify_masked(opening, tree.root, bytes(32), game.elements, k)
    with pytest.raises(ProofError, match="outside"):
        verify_masked(
            type(opening)(2, opening.payload, opening.siblings), tree.root, context, game.elements, k
        )
    with pytest.raises(ProofError, match="no chunk"):
        verify_masked(
            type(opening)(1, opening.payload, opening.siblings), tree.root, context, game.elements, k
        )
    with pytest.raises(ProofError, match="siblings"):
        verify_masked(type(opening)(0, opening.payload, ()), tree.root, context, game.elements, k)
    with pytest.raises(RangeError):
        tree.open(2)


def test_a_bitmap_that_includes_who_is_not_ready_is_refused() -> None:
    game = federation()
    with pytest.raises(EncodingError, match="place 3 is included"):
        game.close([1, 2, 3])
    with pytest.raises(EncodingError, match="spare bits"):
        Close(game.epoch, FIRST_ROUND, b"\x00\x00\x80")
    with pytest.raises(EncodingError, match="take 3"):
        Close(game.epoch, FIRST_ROUND, b"\x00\x00")
    with pytest.raises(RangeError, match="before the epoch"):
        Close(game.epoch, FIRST_ROUND - 1, bytes(3))


def test_the_plain_mean_is_that_of_an_open_round() -> None:
    """The same updates give the same model as an open round does."""
    played = full_round()
    file = opened_file(played)
    game = played.federation
    counted = []
    for record in file.records:
        weight, values = game.update(record.place)
        counted.append(CountedUpdate(Commitment(game.member(record.place), weight, bytes(32), 0), values))
    plain = weighted_mean(game.base, counted)
    sealed = played.recomputed(file, [0, 1]).aggregate
    assert np.array_equal(plain.model, sealed.model)
    assert np.array_equal(plain.sums, sealed.sums)
    assert model_root(plain.model) == model_root(sealed.model)
