"""Distributed differential privacy: each member of a sealed federation adds a part of the noise that a sum needs.

What becomes known of a member's update is the sum of its group. So the noise of all members together need only hide
each of them. It is added in integers, before the masks (Kairouz, Liu and Steinke 2021, "The Distributed Discrete
Gaussian Mechanism for Federated Learning with Secure Aggregation", ICML). docs/privacy.md says what is promised.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedvm.federation.client.accountant import PrivacyBudget, Releases
from fedvm.federation.client.discrete_gaussian import Words, discrete_gaussian, secure_words, seeded_words
from fedvm.federation.commitment import Attestation, norm_bound
from fedvm.federation.errors import CommitmentError, SettingsError, TermsError
from fedvm.federation.reproducible import derive_seed
from fedvm.protocol import EncodingError, Rules, max_sum_squares, quantize_update
from fedvm.protocol.rules import PPM
from fedvm.protocol.sealed.epoch import Group
from fedvm.protocol.sealed.noise import (
    certain_members,
    largest_scale,
    member_scale,
    noise_squares,
    sum_excess,
)
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.protocol.vector import IntVector, SumVector, sum_squares

ROOM_FACTOR: Final = 4
"""The room for noise may be so many times what a member's noise needs. Where a change of rules halves the weight or
length that an update may have, the same settings need about a fourth of the room. With still less, the others cannot
count on a member's noise."""


@dataclass(frozen=True)
class DistributedPrivacy(PrivacyBudget):
    """Noise in the sums of groups.

    clip: bound on the L2 norm of an update. noise_multiplier: standard deviation of the noise that is certain to be in
    a sum, over clip · the greatest weight of an update. assumed_corrupt: how many members of a group may act together
    with the coordinator, or add no noise: that of so many is not counted.
    """

    assumed_corrupt: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.assumed_corrupt < 0:
            raise SettingsError(
                f"assumed_corrupt is {self.assumed_corrupt}; give 0 or more members of a group"
            )

    def squares(self, rules: Rules) -> int:
        """The bound on Σd² of an update before the noise, in fixed point."""
        return max_sum_squares(self._norm(rules), rules.fraction_bits)

    def quantize(self, difference: NDArray[np.float64], rules: Rules) -> IntVector:
        """Clip a float difference (elements,) to `clip`, or to the rules' norm if that is less, and round toward zero;
        int32 (elements,)."""
        return quantize_update(difference, self._norm(rules), rules.fraction_bits)

    def _norm(self, rules: Rules) -> float:
        return min(self.clip, norm_bound(rules))

    def total(self, rules: Rules) -> float:
        """Standard deviation of the noise that is certain to be in a sum, in units of the sum. Two weighted updates
        differ by at most twice the greatest weight times the bound on an update."""
        return self.noise_multiplier * rules.max_weight * math.sqrt(self.squares(rules))

    def room(self, rules: Rules, group_size: int, group_norm_ppm: int) -> int:
        """The `noise_squares` that sealed rules need, so that groups with this noise keep their norm bound.

        Raises:
            SettingsError: more members are assumed to be corrupt than a group must include.
        """
        try:
            scale = largest_scale(self.total(rules), group_size, self.assumed_corrupt)
        except EncodingError as error:
            raise SettingsError(f"assumed_corrupt = {self.assumed_corrupt}: {error}") from error
        bound = rules.max_weight * math.sqrt(rules.max_sum_squares) * group_norm_ppm / PPM
        return noise_squares(scale, rules.elements, group_size, bound)

    def check_rules(self, rules: Rules, sealed: SealedRules) -> None:
        """Raise TermsError if groups whose members add this noise would exceed the norm bound of these rules, or if
        their room is more than `ROOM_FACTOR` times what this noise needs."""
        needed = self.room(rules, sealed.group_size, sealed.group_norm_ppm)
        if not needed <= sealed.noise_squares <= ROOM_FACTOR * needed:
            raise TermsError(
                f"the sealed rules leave room for noise of {sealed.noise_squares} a member (noiseSquares), and this "
                f"client's needs {needed}; it may need no more, and at least 1/{ROOM_FACTOR} of that: give its app the "
                "privacy settings that the federation was created with, or take part in another federation"
            )

    def privatise(self, update: IntVector, weight: int, rules: Rules, ready: int, words: Words) -> SumVector:
        """weight · update with this member's part of the noise, int64 (elements,). update: d, int32 (elements,);
        ready: how many members of its group are ready.

        Raises:
            CommitmentError: the update is longer than `clip`.
        """
        found, most = sum_squares(update), self.squares(rules)
        if found > most:
            raise CommitmentError(
                f"Σd² of the update is {found}, above {most}: clip it before noise is added"
            )
        scale = member_scale(self.total(rules), certain_members(ready, self.assumed_corrupt))
        return update.astype(np.int64) * np.int64(weight) + discrete_gaussian(scale, update.size, words)

    def excess(self, rules: Rules, ready: int) -> float:
        """As `sum_excess` of the protocol, for a group with so many ready members."""
        certain = certain_members(ready, self.assumed_corrupt)
        return sum_excess(member_scale(self.total(rules), certain), certain, rules.elements)


@dataclass(frozen=True)
class SealedNoise:
    """What a member adds to its updates: how much, and from which randomness. words: from a round's number to words
    that are used for that round alone."""

    privacy: DistributedPrivacy
    words: Callable[[int], Words]

    @classmethod
    def of(cls, privacy: DistributedPrivacy, seed: int | None, partition: object) -> SealedNoise:
        """From the operating system's randomness; from a seed **for simulations only**: then noise follows from seed,
        round and partition, and protects nobody."""
        if seed is None:
            return cls(privacy, lambda _: secure_words)
        return cls(privacy, lambda round_: seeded_words(derive_seed(seed, "privacy", round_, partition)))

    def one_more(self, before: Releases | None, round_: int, rules: Rules, group: Group) -> Releases:
        """The updates that a member will have sealed with one in a round; before: as for `PrivacyBudget.one_more`."""
        return self.privacy.one_more(before, round_, self.privacy.excess(rules, len(group.ready)))


def nothing_but_examples(said: Attestation) -> Attestation:
    """What a client with noise attests besides ε: how well a model does on its data, and which labels they have, would
    leave it without any noise.

    Raises:
        CommitmentError: the app adds noise of its own.
    """
    if said.epsilon is not None:
        raise CommitmentError(
            "the app reports ε of noise of its own, and this client adds noise to its group's sum: take dp_mod out"
        )
    return Attestation(said.examples, None, None)
