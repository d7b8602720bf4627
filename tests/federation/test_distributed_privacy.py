"""Noise in the sums of groups: that it hides what it says, fits the norm bound, and is counted in every update."""

from __future__ import annotations

import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_sealed_member import BASE, COUNT, DOMAIN, RULES, SEALED, Epochs

import conditions
from fedvm.federation.client.accountant import Releases
from fedvm.federation.client.discrete_gaussian import seeded_words
from fedvm.federation.client.distributed_privacy import (
    ROOM_FACTOR,
    DistributedPrivacy,
    SealedNoise,
    nothing_but_examples,
)
from fedvm.federation.client.privacy import LocalPrivacy
from fedvm.federation.commitment import Attestation
from fedvm.federation.errors import CommitmentError, PrivacyBudgetSpent, SettingsError, TermsError
from fedvm.federation.terms import RoundTerms
from fedvm.protocol.address import to_address
from fedvm.protocol.errors import RangeError
from fedvm.protocol.sealed.grouping import least_ready
from fedvm.protocol.sealed.noise import certain_members, member_scale, sum_excess
from fedvm.protocol.sealed.rules import SealedRules

PRIVACY = DistributedPrivacy(clip=0.02, noise_multiplier=4.0, assumed_corrupt=2)
ROOM = PRIVACY.room(RULES, SEALED.group_size, SEALED.group_norm_ppm)
NOISY = replace(SEALED, noise_squares=ROOM)


def game(path: Path, privacy: DistributedPrivacy = PRIVACY, sealed: SealedRules = NOISY) -> Epochs:
    return Epochs(path, SealedNoise.of(privacy, None, None), sealed=sealed)


@pytest.mark.parametrize("certain", [2, 3, 5])
@pytest.mark.parametrize("shift", [1, 5])
def test_a_sum_of_discrete_gaussians_is_as_close_as_is_said(certain: int, shift: int) -> None:
    """The divergence of the sum from the shifted one, computed from their exact odds, at scale 1: that of a Gaussian
    does not bound it, that of Kairouz, Liu and Steinke does."""
    own = np.exp(-(np.arange(-60, 61.0) ** 2) / 2)
    total = own / own.sum()
    for _ in range(certain - 1):
        total = np.convolve(total, own / own.sum())
    middle, order = total.size // 2, 1.5
    here, there = (moved[middle - 40 : middle + 41] for moved in (total, np.roll(total, shift)))
    found = math.log(np.sum(here**order * there ** (1 - order))) / (order - 1)
    gaussian = order * shift**2 / (2 * certain)
    if (certain, shift) != (5, 5):
        assert found > gaussian
    assert gaussian - 1e-6 < found <= gaussian + sum_excess(1, certain, 1)
    assert sum_excess(1, certain, 70) == pytest.approx(70 * sum_excess(1, certain, 1))
    assert sum_excess(8, certain, 10**9) < 1e-200, "at the scales in use the difference vanishes"


def test_epsilon_is_that_of_the_gaussian_mechanism_and_what_sums_add() -> None:
    local = LocalPrivacy(0.02, 4.0)
    assert [PRIVACY.epsilon(count) for count in range(5)] == [local.epsilon(count) for count in range(5)]
    assert PRIVACY.epsilon(3, 1e-3) == pytest.approx(local.epsilon(3) + 3e-3, rel=1e-9)


def test_noise_that_is_certain_to_be_there_is_enough() -> None:
    for group_size in (8, 31, 128):
        for ready in range(least_ready(group_size), 2 * group_size):
            certain = certain_members(ready, 2)
            assert certain <= -(-3 * ready // 4) - 2 + 1
            scale = member_scale(PRIVACY.total(RULES), certain)
            assert certain * scale**2 >= PRIVACY.total(RULES) ** 2
    with pytest.raises(RangeError, match="from 0 to 5 of them can be assumed corrupt, not 6"):
        certain_members(8, 6)


def test_the_sum_has_the_noise_and_no_more_than_the_update_is_let_through() -> None:
    rules = replace(RULES, elements=100_000)
    update = np.zeros(rules.elements, dtype=np.int32)
    update[:100] = math.isqrt(PRIVACY.squares(rules)) // 10
    found = PRIVACY.privatise(update, 3, rules, 8, seeded_words(1)) - 3 * update.astype(np.int64)
    expected = PRIVACY.noise_multiplier * rules.max_weight * math.sqrt(PRIVACY.squares(rules)) / 2
    assert found.std() == pytest.approx(expected, rel=0.01), "of eight ready six are certain, less two: √4"
    update[0] *= 2
    with pytest.raises(CommitmentError, match="clip it before noise is added"):
        PRIVACY.privatise(update, 3, rules, 8, seeded_words(1))


@pytest.mark.parametrize(("elements", "multiplier"), [(16, 0.05), (16, 3.0), (2_000, 0.05), (2_000, 3.0)])
def test_honest_groups_keep_their_norm_bound(elements: int, multiplier: float) -> None:
    """As many members as a group can have; their updates are as long as may be, and all alike."""
    rules, members = replace(RULES, elements=elements), 2 * SEALED.group_size - 1
    privacy = replace(PRIVACY, noise_multiplier=multiplier, clip=100.0)
    words, update = seeded_words(elements), privacy.quantize(np.ones(elements), rules)
    squares = []
    for _ in range(10):
        parts = [privacy.privatise(update, rules.max_weight, rules, 8, words) for _ in range(members)]
        squares.append(sum(lane**2 for lane in np.sum(parts, axis=0).tolist()))

    def passed(noise_squares: int) -> int:
        sealed, weight = replace(SEALED, noise_squares=noise_squares), members * rules.max_weight
        return sum(sealed.norm_allows(one, weight, members, rules.max_sum_squares) for one in squares)

    assert passed(privacy.room(rules, SEALED.group_size, SEALED.group_norm_ppm)) == len(squares)
    assert passed(0) < len(squares), "without room for noise some would not"
    if (elements, multiplier) == (2_000, 3.0):
        scale = member_scale(privacy.total(rules), certain_members(least_ready(8), 2))
        assert passed(scale**2 * elements * 9 // 10) == 0, (
            "nor with too little, where noise is most of the sum"
        )


def test_what_leaves_a_member_states_all_that_it_has_spent(tmp_path: Path) -> None:
    members = game(tmp_path)
    epoch, spent = members.begun(1, 4), PRIVACY.epsilon
    first, *_ = members.members
    stated = [members.seal(first, epoch, number).submission.masked for number in (4, 5, 7)]
    # It was not there before, so far as it knows: then it counts all rounds before its first.
    assert [one.epsilon_micros for one in stated] == [math.ceil(spent(count) * 1e6) for count in (4, 5, 6)]
    again = members.seal(first, epoch, 7)
    assert again.submission.masked == stated[-1] and members.state(first).released == Releases(6, 4.0)
    # The count outlasts the epoch, but not the folder.
    epoch = members.begun(2, 9)
    assert members.seal(first, epoch, 9).submission.masked.epsilon_micros == math.ceil(spent(7) * 1e6)
    shutil.rmtree(members.members[first].home.path)
    epoch = members.begun(3, 12)
    assert members.seal(first, epoch, 12).submission.masked.epsilon_micros == math.ceil(spent(12) * 1e6)


def test_an_app_with_more_noise_does_not_make_less_of_what_was_sent(tmp_path: Path) -> None:
    little = replace(PRIVACY, noise_multiplier=2.5)
    members = game(tmp_path, little)
    epoch = members.begun(1, 1)
    first, *_ = members.members
    for number in (1, 2):
        members.seal(first, epoch, number)
    members = game(tmp_path)
    stated = members.seal(first, epoch, 3).submission.masked
    assert stated.epsilon_micros == math.ceil(little.epsilon(3) * 1e6) > math.ceil(PRIVACY.epsilon(3) * 1e6)


def test_the_budget_is_asked_of_a_folder_that_nobody_else_holds(tmp_path: Path) -> None:
    members = game(tmp_path)
    members.begun(1, 1)
    first, *_ = members.members
    terms = RoundTerms(DOMAIN, 1, RULES, BASE, 2**40)
    members.members[to_address(first)].sealed_before(1, terms)  # which loads Opacus, and that takes a while
    with ThreadPoolExecutor(1) as pool:
        with members.folder(first).alone():
            asked = pool.submit(members.members[to_address(first)].sealed_before, 1, terms)
            with pytest.raises(TimeoutError):
                asked.result(timeout=0.5)
        asked.result(timeout=10)


def test_the_same_update_is_never_masked_with_the_same_noise(tmp_path: Path) -> None:
    noise = SealedNoise.of(PRIVACY, None, 0)
    drawn = [noise.words(4)(8).tolist() for _ in range(2)]
    assert drawn[0] != drawn[1], "from the operating system"
    seeded = SealedNoise.of(PRIVACY, 5, 0)
    assert seeded.words(4)(8).tolist() == seeded.words(4)(8).tolist() != seeded.words(5)(8).tolist()
    assert SealedNoise.of(PRIVACY, 5, 1).words(4)(8).tolist() != seeded.words(4)(8).tolist()


def test_beyond_its_budget_a_member_sends_nothing(tmp_path: Path) -> None:
    privacy = replace(PRIVACY, max_epsilon=PRIVACY.epsilon(2))
    members = game(tmp_path, privacy)
    epoch = members.begun(1, 1)
    first, *_ = members.members
    for number in (1, 2):
        members.seal(first, epoch, number)
    terms = RoundTerms(DOMAIN, 3, RULES, BASE, 2**40)
    with pytest.raises(PrivacyBudgetSpent, match="update 3 would bring ε to"):
        members.members[to_address(first)].sealed_before(1, terms)
    with pytest.raises(PrivacyBudgetSpent, match="update 3 would bring ε to"):
        members.seal(first, epoch, 3)
    assert members.state(first).sealed == 2


def test_members_and_rules_must_agree_on_noise(tmp_path: Path) -> None:
    with pytest.raises(TermsError, match="every member adds noise"):
        Epochs(tmp_path, sealed=NOISY).enrolled(1)
    with pytest.raises(TermsError, match=f"noise of {ROOM - 1} a member .* needs {ROOM}"):
        game(tmp_path, sealed=replace(NOISY, noise_squares=ROOM - 1)).enrolled(1)
    # Nor may one add next to nothing, where the others count on its noise.
    game(tmp_path / "room", sealed=replace(NOISY, noise_squares=ROOM_FACTOR * ROOM)).enrolled(1)
    for too_wide in (ROOM_FACTOR * ROOM + 1, 100 * ROOM):
        with pytest.raises(TermsError, match=f"needs {ROOM}; it may need .* at least 1/4 of that"):
            game(tmp_path, sealed=replace(NOISY, noise_squares=too_wide)).enrolled(1)
    with pytest.raises(TermsError, match="at least 1/4 of that"):
        game(tmp_path, replace(PRIVACY, noise_multiplier=0.001)).enrolled(1)
    with pytest.raises(SettingsError, match=r"assumed_corrupt = 6: .* from 0 to 5"):
        game(tmp_path, replace(PRIVACY, assumed_corrupt=6)).enrolled(1)
    # Rules that let an update weigh more need more noise than the federation has room for.
    members = game(tmp_path)
    epoch = members.begun(1, 1)
    assert len(epoch.draw.roster) == COUNT
    members.rules = conditions.rules(
        elements=70, max_sum_squares=4_000_000, max_examples=2 * RULES.max_examples, max_share_ppm=1_000_000
    )
    with pytest.raises(TermsError, match="give its app the privacy settings"):
        members.seal(next(iter(members.members)), epoch, 1)


def test_nothing_that_a_client_measures_is_attested() -> None:
    said = Attestation(examples=7, accuracy=0.5, loss=1.0, labels=3)
    assert nothing_but_examples(said) == Attestation(7, None, None, None, None)
    with pytest.raises(CommitmentError, match="take dp_mod out"):
        nothing_but_examples(replace(said, epsilon=2.0))


def test_members_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(SettingsError, match="give 0 or more"):
        replace(PRIVACY, assumed_corrupt=-1)


@pytest.mark.parametrize("updates", [None, 3])
def test_a_budget_covers_another_set_over_the_same_base(tmp_path: Path, updates: int | None) -> None:
    members = game(tmp_path, replace(PRIVACY, max_epsilon=updates and PRIVACY.epsilon(updates)))
    epoch = members.begun(1, 1)
    last = epoch.draw.seats[-1].member
    everybody = range(len(epoch.draw.seats))
    for number in (1, 2):
        for member in members.members:
            members.seal(member, epoch, number)
    assert members.shares(last, epoch, 2, everybody).shares
    for member in members.members:
        members.seal(member, epoch, 3)
    if updates:
        assert members.shares(last, epoch, 3, everybody[1:]).shares
        assert len(members.state(last).answered) == 2
    else:
        with pytest.raises(TermsError, match="another included set"):
            members.shares(last, epoch, 3, everybody[1:])
