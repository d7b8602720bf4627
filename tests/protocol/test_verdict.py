"""Our verdict follows the contract's order: the first rule that is broken names the refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account

import conditions
from fedvm.protocol import Domain, Refusal, Update, sign_update
from fedvm.protocol.verdict import Circumstances, verdict

KEY = "0x" + "11" * 32
MEMBER = Account.from_key(KEY).address
DOMAIN = Domain(31415926, "0x" + "22" * 20)
RULES = conditions.rules(
    min_examples=10,
    max_sum_squares=5_000,
    min_accuracy_ppm=500_000,
    max_loss_micros=2_000_000,
    min_labels=3,
    max_epsilon_micros=900,
)
GOOD = Update(
    3, RULES.digest(), b"b" * 32, b"u" * 32, 4_000, 64, 16, 50, 600_000, 1_000_000, 3, 900, 1_000, b"cid"
)
AROUND = Circumstances(DOMAIN, RULES, frozenset({MEMBER}), 3, b"b" * 32, 1_000, "", 900)


def _verdict(update: Update, around: Circumstances = AROUND) -> Refusal:
    return verdict(MEMBER, update, sign_update(update, DOMAIN, KEY), around)


def test_a_good_update_counts() -> None:
    assert _verdict(GOOD) is Refusal.NONE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"round": 4}, Refusal.WRONG_ROUND),
        ({"rules_hash": b"x" * 32}, Refusal.WRONG_RULES),
        ({"base_root": b"x" * 32}, Refusal.WRONG_BASE),
        ({"elements": 65}, Refusal.WRONG_SHAPE),
        ({"fraction_bits": 17}, Refusal.WRONG_SHAPE),
        ({"deadline": 899}, Refusal.EXPIRED),
        ({"examples": 9}, Refusal.TOO_FEW_EXAMPLES),
        ({"sum_squares": 5_001}, Refusal.NORM_TOO_LARGE),
        ({"accuracy_ppm": 499_999}, Refusal.ACCURACY_TOO_LOW),
        ({"accuracy_ppm": 1_000_001}, Refusal.ACCURACY_TOO_LOW),
        ({"loss_micros": 2_000_001}, Refusal.LOSS_TOO_HIGH),
        ({"labels": 2}, Refusal.TOO_FEW_LABELS),
        ({"epsilon_micros": 901}, Refusal.BUDGET_SPENT),
        ({"epsilon_micros": 0}, Refusal.BUDGET_SPENT),
        ({"round": 4, "loss_micros": 2_000_001}, Refusal.WRONG_ROUND),
    ],
)
def test_broken_rules(change: dict[str, object], reason: Refusal) -> None:
    assert _verdict(replace(GOOD, **change)) is reason  # type: ignore[arg-type]


def test_who_signs_comes_first() -> None:
    assert _verdict(GOOD, replace(AROUND, members=frozenset())) is Refusal.NOT_MEMBER
    assert _verdict(GOOD, replace(AROUND, last_member=MEMBER)) is Refusal.DUPLICATE
    assert _verdict(GOOD, replace(AROUND, time=1_001)) is Refusal.EXPIRED
    other = sign_update(GOOD, DOMAIN, "0x" + "33" * 32)
    assert verdict(MEMBER, GOOD, other, AROUND) is Refusal.BAD_SIGNATURE
    assert verdict(MEMBER, GOOD, b"short", AROUND) is Refusal.BAD_SIGNATURE
