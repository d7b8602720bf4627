"""Judges what relaying transactions hold: single updates, and the order of a roll-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fedvm.chain.federation_types import SubmittedDirectly
from fedvm.protocol import EncodingError, Refusal, Rollup, Update, roll_up
from fedvm.protocol.address import Address
from fedvm.protocol.verdict import Circumstances, verdict


def follows(rollup: Rollup) -> bool:
    """Whether a roll-up's records stand in order and its running totals add up."""
    try:
        return roll_up(rollup.judged) == rollup
    except EncodingError:  # members out of order, a weight of a refused update
        return False


@dataclass(frozen=True)
class Verdict:
    """What the rules say of an update, and whose it is. update_root, cid: as it was relayed."""

    reason: Refusal
    member: str
    update_root: bytes
    cid: bytes

    def differs(self, member: str, update_root: bytes, cid: bytes) -> str:
        """Which of these an event states otherwise, in words; "" if none."""
        stated = {"member": member, "updateRoot": update_root, "cid": cid}
        relayed = {"member": self.member, "updateRoot": self.update_root, "cid": self.cid}
        return ", ".join(name for name, value in stated.items() if value != relayed[name])


def judge(submission: Mapping[str, Any], around: Circumstances) -> Verdict:
    """The verdict on an update as a transaction's decoded calldata holds it."""
    statement, member = submission["update"], submission["member"]
    values = [*(statement.values() if isinstance(statement, Mapping) else statement)]
    names = [one.name for one in fields(Update)]
    root, cid = (bytes(values[names.index(name)]) for name in ("update_root", "cid"))
    try:
        reason = verdict(member, Update(*values), submission["signature"], around)
    except EncodingError:  # a CID of a length that the contract refuses for its shape, too
        reason = Refusal.WRONG_SHAPE
    return Verdict(reason, member, root, cid)


def replaced(rollup: Rollup, direct: Mapping[Address, SubmittedDirectly]) -> set[str]:
    """The members whose own submissions a roll-up leaves out: a refused record of another submission does not replace
    them. direct: what members submitted themselves."""
    records = {one.member: one for one in rollup.judged}
    found = set[str]()
    for member, submitted in direct.items():
        one, own = records.get(member), submitted.submission
        if one is not None and one.reason and (one.update, one.signature) != (own.update, own.signature):
            found.add(member)
    return found
