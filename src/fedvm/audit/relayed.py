"""Judges what relaying transactions hold: single updates, and the order of a roll-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedvm.protocol import EncodingError, Refusal, Rollup, Update, roll_up
from fedvm.protocol.verdict import Circumstances, verdict


def follows(rollup: Rollup) -> bool:
    """Whether a roll-up's records stand in order and its running totals add up."""
    try:
        return roll_up(rollup.judged) == rollup
    except EncodingError:  # members out of order, a weight of a refused update
        return False


def judge(submission: Mapping[str, Any], around: Circumstances) -> Refusal:
    """The verdict on an update as a transaction's decoded calldata holds it."""
    statement = submission["update"]
    values = statement.values() if isinstance(statement, Mapping) else statement
    try:
        update = Update(*values)
    except EncodingError:  # a CID of a length that the contract refuses for its shape, too
        return Refusal.WRONG_SHAPE
    return verdict(submission["member"], update, submission["signature"], around)
