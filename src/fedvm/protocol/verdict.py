"""The contract's verdict on one update, computed again (`Federation.sol`, `RulesLib.sol`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fedvm.protocol.errors import SignatureError
from fedvm.protocol.refusal import Refusal
from fedvm.protocol.rules import PPM, Rules
from fedvm.protocol.typed_data import Domain, Update, recover_signer


class Attested(Protocol):
    """What a signed update of any kind attests of its training."""

    @property
    def accuracy_ppm(self) -> int: ...
    @property
    def loss_micros(self) -> int: ...
    @property
    def labels(self) -> int: ...
    @property
    def epsilon_micros(self) -> int: ...


def no_key(member: str) -> str:
    """The `key_of` of a round for which nobody appointed a key."""
    return ""


@dataclass(frozen=True)
class Circumstances:
    """What a verdict depends on besides the update: the round as it stood when the update was relayed.

    last_member: highest member accepted so far, "" before the first; time: of the block, Unix seconds; rests: whether
    the rules make the member sit this round out; key_of: the key that a member had appointed for the round, "" if none;
    held: members that submitted an update of this round themselves, so that none of theirs can be relayed. All
    addresses are checksummed.
    """

    domain: Domain
    rules: Rules
    members: frozenset[str]
    round: int
    base_root: bytes
    deadline: int
    last_member: str
    time: int
    rests: bool = False
    key_of: Callable[[str], str] = no_key
    held: frozenset[str] = frozenset()


def verdict(member: str, update: Update, signature: bytes, around: Circumstances) -> Refusal:
    """Why the update does not count; Refusal.NONE if it does. member: its checksummed address."""
    if member not in around.members:
        return Refusal.NOT_MEMBER
    if member == around.last_member or member in around.held:
        return Refusal.DUPLICATE
    signer = signer_of(update, around.domain, signature)
    if not signs_for(signer, member, around.key_of):
        return Refusal.BAD_SIGNATURE
    return _by_rules(update, around)


def signer_of(update: Update, domain: Domain, signature: bytes) -> str:
    """Checksummed address of the key that signed, "" if no key can have."""
    try:
        return recover_signer(update, domain, signature)
    except SignatureError:
        return ""


def signs_for(signer: str, member: str, key_of: Callable[[str], str]) -> bool:
    """Whether `signer` ("" if nobody) may sign for the member: it is the member, or the key that the member
    appointed."""
    return signer != "" and (signer == member or signer == key_of(member))


def _by_rules(update: Update, around: Circumstances) -> Refusal:
    rules = around.rules
    shape = (rules.elements, rules.fraction_bits)
    checks = (
        (update.round == around.round, Refusal.WRONG_ROUND),
        (update.rules_hash == rules.digest(), Refusal.WRONG_RULES),
        (update.base_root == around.base_root, Refusal.WRONG_BASE),
        ((update.elements, update.fraction_bits) == shape, Refusal.WRONG_SHAPE),
        (around.time <= min(update.deadline, around.deadline), Refusal.EXPIRED),
        (update.examples >= rules.min_examples, Refusal.TOO_FEW_EXAMPLES),
        (update.sum_squares <= rules.max_sum_squares, Refusal.NORM_TOO_LARGE),
        *attested_checks(update, rules),
        (not around.rests, Refusal.TOO_SOON),
    )
    return next((reason for holds, reason in checks if not holds), Refusal.NONE)


def attested_checks(update: Attested, rules: Rules) -> tuple[tuple[bool, Refusal], ...]:
    """For what a member attests, whether it keeps the rules, and the refusal if not; in the contract's order."""
    budget = rules.max_epsilon_micros
    return (
        (rules.min_accuracy_ppm <= update.accuracy_ppm <= PPM, Refusal.ACCURACY_TOO_LOW),
        (update.loss_micros <= rules.max_loss_micros, Refusal.LOSS_TOO_HIGH),
        (update.labels >= rules.min_labels, Refusal.TOO_FEW_LABELS),
        (not budget or 0 < update.epsilon_micros <= budget, Refusal.BUDGET_SPENT),
    )
