"""What a sealed federation is created with besides its rules, and how wide its lanes must be."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from math import isqrt

from eth_abi.abi import encode

from fedvm.evm.keccak import keccak
from fedvm.protocol.aggregators import aggregator_named
from fedvm.protocol.checks import check_uint
from fedvm.protocol.errors import EncodingError, RangeError
from fedvm.protocol.rules import PPM, Rules
from fedvm.protocol.sealed.bounds import (
    LARGEST_GROUP,
    LARGEST_LANE,
    LARGEST_ROSTER,
    LEAST_COMPARED,
    LEAST_GROUP,
    LEAST_SECONDS,
    MOST_SECONDS,
)

_BITS = (16, 16, 32, 16, 32, 128, 32, 32, 32)


@dataclass(frozen=True)
class SealedRules:
    """The contract's ``SealedRules`` struct, field by field in its order. Construction checks every field by itself;
    :func:`lane_bytes` and :meth:`check_with` check them against the federation's rules.

    Raises:
        EncodingError: a field is not an integer or, as RangeError, outside its bounds.
    """

    group_size: int
    """g: groups hold g to 2g − 1 members."""
    epoch_rounds: int
    """Rounds for which groups and keys stay."""
    min_roster: int
    """Fewer enrolments fail the epoch."""
    min_groups: int
    """Fewer counting groups fail the round."""
    group_norm_ppm: int
    """Bound on the norm of a group's sum, parts per million of its weight times the bound on one update."""
    noise_squares: int
    """What the members' noise may add to Σ S² of a group, for each included member; 0: there is no noise."""
    enrol_seconds: int
    """From the opening of an epoch until its enrolment can be closed."""
    key_seconds: int
    """From the draw until the coordinator must have set who is ready."""
    unmask_seconds: int
    """From the end of a round's submissions until its shares are due."""

    def __post_init__(self) -> None:
        for field, bits in zip(fields(self), _BITS, strict=True):
            value = check_uint(f"sealed.{field.name}", getattr(self, field.name), bits)
            object.__setattr__(self, field.name, value)
        _within("group_size", self.group_size, LEAST_GROUP, LARGEST_GROUP)
        _within("epoch_rounds", self.epoch_rounds, 1, None)
        _within("min_groups", self.min_groups, 1, None)
        _within("min_roster", self.min_roster, self.group_size * self.min_groups, LARGEST_ROSTER)
        _within("group_norm_ppm", self.group_norm_ppm, 1, PPM)
        _within("noise_squares", self.noise_squares, 0, (1 << 94) - 1)
        for name in ("enrol_seconds", "key_seconds", "unmask_seconds"):
            _within(name, getattr(self, name), LEAST_SECONDS, MOST_SECONDS)

    def as_tuple(self) -> tuple[int, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        return astuple(self)

    def digest(self) -> bytes:
        """``sealedHash``: keccak(abi.encode(SealedRules)), 32 bytes."""
        return keccak(encode([f"uint{bits}" for bits in _BITS], self.as_tuple()))

    def check_with(self, rules: Rules, open_seconds: int) -> None:
        """Check that a federation can have these rules together. open_seconds: how long a round takes submissions.

        Raises:
            EncodingError: it cannot; the message says what to change.
        """
        rule = aggregator_named(rules.aggregator)
        if rule.is_stateful:
            raise EncodingError(
                f"rules.aggregator is {rule.name}, which remembers rounds: a sealed federation has the weighted "
                "mean, or a rule without memory, such as FedMedian, over the means of groups"
            )
        if rule.over_bytes:
            raise EncodingError(
                f"rules.aggregator is {rule.name}, which gathers the bytes of each member: a sealed round shows only "
                "sums"
            )
        if rule.needs_losses:
            raise EncodingError(
                f"rules.aggregator is {rule.name}, which weighs clients by their losses: a sealed round shows only the "
                "sums of groups, so take the weighted mean, or FedMedian over the means of groups"
            )
        if rule.needs_updates and self.min_groups < LEAST_COMPARED:
            raise EncodingError(
                f"{rule.name} compares the means of groups, and sealed.min_groups is {self.min_groups}: of fewer than "
                f"{LEAST_COMPARED} groups none can be told from the others; raise it"
            )
        if open_seconds + self.unmask_seconds > rules.round_seconds:
            raise RangeError(
                f"{open_seconds} s for submissions and {self.unmask_seconds} s for shares exceed "
                f"rules.round_seconds, {rules.round_seconds}; raise it"
            )
        lane_bytes(rules, self)

    def norm_allows(self, squares: int, weight: int, included: int, max_sum_squares: int) -> bool:
        """Whether a group of this weight and number of included members may have a sum S with Σ S² = ``squares``."""
        bound = weight**2 * max_sum_squares * self.group_norm_ppm**2 + self.noise_squares * included * PPM**2
        return squares * PPM**2 <= bound


def lane_bytes(rules: Rules, sealed: SealedRules) -> int:
    """k: bytes of a lane, the fewest in which a group's sum of honest updates cannot wrap.

    Raises:
        RangeError: that would take more than six bytes, or the bound on an update is 2^62 or more.
    """
    if rules.max_sum_squares >= 1 << 62:
        raise RangeError(
            f"rules.max_sum_squares is {rules.max_sum_squares}; a sealed federation needs less than 2^62"
        )
    most = 2 * sealed.group_size - 1
    reach = most * (rules.max_weight * isqrt(rules.max_sum_squares) + isqrt(sealed.noise_squares))
    width = reach.bit_length() // 8 + 1  # the least k with reach < 2^(8k − 1)
    if width > LARGEST_LANE:
        raise RangeError(
            f"a group's sum may reach {reach}, which needs lanes of {width} bytes, and {LARGEST_LANE} is the most; "
            "lower max_examples, the norm bound, fraction_bits, noise_squares or group_size"
        )
    return width


def _within(name: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        raise RangeError(f"sealed.{name} is {value}, must be {bounds}")
