"""A configuration's rules and security as the contract has them, and its rules as a configuration states them: real
numbers there, integers here."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from fedvm.federation.rule_units import SCALED, contract_rules
from fedvm.federation.sealed.settings import SealedSettings
from fedvm.federation.settings import RULE_CHANGE, RulesSettings, SecuritySettings
from fedvm.pipeline.errors import UsageError
from fedvm.protocol import EncodingError, RangeError, Rules, Security
from fedvm.protocol.rules import PPM
from fedvm.protocol.sealed.noise import largest_scale
from fedvm.protocol.sealed.odds import chance_of_an_open_group
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS

if TYPE_CHECKING:
    from fedvm.federation.client.distributed_privacy import DistributedPrivacy

_FIXED: Final = "fraction_bits"


def sealed_rules(
    settings: SealedSettings, rules: Rules, privacy: DistributedPrivacy | None
) -> SealedRules | None:
    """How rounds are sealed, in the contract's units; None if they are open. privacy: the noise in the sums of groups,
    for which their norm bound has room: an honest group exceeds it by a chance of 2^−39 a round (`noise_squares`).

    Raises:
        EncodingError: a value is out of its range.
        UsageError: sums with this noise would take lanes of more than six bytes.
    """
    if not settings.group_size:
        return None
    plain = SealedRules(
        group_size=settings.group_size,
        epoch_rounds=settings.epoch_rounds,
        min_roster=settings.min_roster or settings.group_size * settings.min_groups,
        min_groups=settings.min_groups,
        group_norm_ppm=round(settings.group_norm * PPM),
        noise_squares=0,
        enrol_seconds=settings.enrol_seconds,
        key_seconds=settings.key_seconds,
        unmask_seconds=settings.unmask_seconds,
    )
    if privacy is None:
        return plain
    try:
        room = privacy.room(rules, plain.group_size, plain.group_norm_ppm)
        noisy = replace(plain, noise_squares=room)
        lane_bytes(rules, noisy)
    except RangeError as error:
        raise UsageError(
            f"with this noise the sums of groups are too wide to be sealed ({error}): lower "
            "privacy.noise_multiplier, privacy.clip, rules.max_norm, rules.max_examples, rules.fraction_bits or "
            "sealed.assumed_corrupt"
        ) from error
    return noisy


def require_sealable(sealed: SealedRules, rules: Rules, open_seconds: int) -> None:
    """Raise UsageError, which says what to change, if a federation whose rounds are sealed cannot have these rules.
    open_seconds: how long a round takes submissions."""
    try:
        sealed.check_with(rules, open_seconds)
    except EncodingError as error:
        raise UsageError(f"rounds cannot be sealed like this: {error}") from error


def contract_security(settings: SecuritySettings) -> Security:
    """The settings as the contract's struct; both have the same units."""
    return Security(**asdict(settings))


def described_sealing(settings: SealedSettings, clients: int) -> str:
    """A line that says what becomes known in sealed rounds, and what would break that; "" where rounds are open."""
    if not settings.group_size:
        return ""
    corrupt = max(1, clients // 10)
    chance = chance_of_an_open_group(clients, corrupt, settings.group_size)
    opens = f"open a group with a chance of at most {chance:.1g}" if chance else "can open no group"
    return (
        f"sealed rounds: nobody sees an update, only sums of groups of {settings.group_size} or more; if {corrupt} of "
        f"{clients} members are corrupt, they {opens}"
    )


def described_noise(privacy: DistributedPrivacy, rules: Rules, group_size: int, rounds: int) -> str:
    """A line that says what noise in the sums of groups promises after so many rounds, and what it costs."""
    scale = largest_scale(privacy.total(rules), group_size, privacy.assumed_corrupt)
    unit = float(rules.max_weight << rules.fraction_bits)
    noise = scale * math.sqrt(rules.elements / group_size) / unit
    bound = math.ldexp(math.sqrt(privacy.squares(rules)), -rules.fraction_bits)
    # The more members are ready, the less noise each adds, and the further the sum is from a Gaussian.
    spent = privacy.epsilon(rounds, privacy.excess(rules, 2 * group_size - 1))
    return (
        f"noise: after {rounds} rounds ε = {spent:.4g} (δ = {privacy.delta:g}) for a client's data "
        f"in what becomes known, unless more than {privacy.assumed_corrupt} of its group conspire; in the mean of "
        f"{group_size} full updates the noise has norm {noise:.3g} or less, the longest update has {bound:.3g}"
    )


def rules_in_settings(rules: Rules) -> dict[str, int | float | None]:
    """The contract's rules as a configuration states them, by the settings' names; None for what is not asked for."""
    shown: dict[str, int | float | None] = {}
    for key in RulesSettings.__dataclass_fields__:
        if key == "max_norm":
            shown[key] = _norm(rules)
        elif key == "max_loss" and rules.max_loss_micros == NOT_ATTESTED_LOSS:
            shown[key] = None
        elif key in SCALED:
            shown[key] = getattr(rules, SCALED[key]) / PPM
        else:
            shown[key] = getattr(rules, key)
    return shown


def _norm(rules: Rules) -> float:
    """A short decimal number that gives the contract's bound on Σd², or the float nearest to it if none does."""
    root = math.ldexp(math.sqrt(rules.max_sum_squares), -rules.fraction_bits)
    rounded = (float(f"{root:.{digits}g}") for digits in range(1, 18))
    for norm in (*rounded, math.nextafter(root, math.inf)):
        if int((Fraction(norm) * 2**rules.fraction_bits) ** 2) == rules.max_sum_squares:
            return norm
    return root


def changed_rules(present: Rules, wanted: RulesSettings, stated: Collection[str]) -> Rules:
    """The present rules with those settings of `wanted` that are `stated`; all others stay to the bit.

    Raises:
        UsageError: nothing changes, or what belongs to the model would.
        EncodingError: a value does not fit the contract.
    """
    if wanted.fraction_bits != present.fraction_bits:
        raise UsageError(
            f"rules.{_FIXED} = {wanted.fraction_bits}: the model on chain is in fixed point of {present.fraction_bits} "
            "bits, which stays with the federation; leave it out"
        )
    fields = contract_rules(wanted)
    names = {SCALED.get(key, "max_sum_squares" if key == "max_norm" else key) for key in stated}
    changes: dict[str, Any] = {name: fields[name] for name in names if name in fields}
    rules = replace(present, **changes)
    if rules == present:
        raise UsageError(
            f"these are the rules in force already: state what is to change, e.g. --set {RULE_CHANGE}"
        )
    return rules
