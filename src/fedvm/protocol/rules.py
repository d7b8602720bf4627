"""The rules a federation is created with, and their hash."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import lru_cache
from math import isqrt

from eth_abi.abi import encode

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import check_bytes, check_uint
from fedvm.protocol.durations import spoken

PPM = 1_000_000
"""Parts per million in a whole."""
WEIGHTED_MEAN = bytes(32)
"""``Rules.aggregator`` of the one aggregator that can be disputed on chain."""

_BITS = {
    "min_clients": 32,
    "min_examples": 32,
    "max_examples": 32,
    "max_sum_squares": 128,
    "elements": 64,
    "fraction_bits": 8,
    "round_seconds": 64,
    "min_accuracy_ppm": 32,
    "max_loss_micros": 64,
    "max_share_ppm": 32,
    "min_labels": 32,
    "rest_rounds": 32,
    "max_epsilon_micros": 64,
}


@dataclass(frozen=True)
class Rules:
    """The contract's ``Rules`` struct, field by field in its order. Construction checks every width.

    Raises:
        EncodingError: a field is not an integer (the aggregator: not 32 bytes), or does not fit its width
            (RangeError).
    """

    min_clients: int
    """Quorum: fewer accepted updates fail the round."""
    min_examples: int
    """Fewer examples are refused."""
    max_examples: int
    """Cap: more examples count as this many."""
    max_sum_squares: int
    """Bound on Σd² of an update, in fixed point."""
    elements: int
    """Parameters of the model."""
    fraction_bits: int
    """Fixed point: value · 2^fraction_bits."""
    round_seconds: int
    """Deadline of a round after its opening, seconds."""
    min_accuracy_ppm: int
    """Least attested validation accuracy, parts per million."""
    max_loss_micros: int
    """Greatest attested validation loss, millionths."""
    max_share_ppm: int
    """Greatest share of a round's total weight that one update may have, parts per million."""
    min_labels: int
    """Least number of distinct labels attested of the training examples."""
    rest_rounds: int
    """Rounds that a member sits out after one in which an update of its was accepted and that did not fail."""
    max_epsilon_micros: int
    """Privacy budget: greatest attested ε, millionths; 0 asks for none."""
    aggregator: bytes
    """How the updates make the new model, 32 bytes; other than zero it is audit-only."""

    def __post_init__(self) -> None:
        for name, bits in _BITS.items():
            check_uint(f"rules.{name}", getattr(self, name), bits)
        check_bytes("rules.aggregator", self.aggregator, 32)

    def as_tuple(self) -> tuple[int | bytes, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        return astuple(self)

    def digest(self) -> bytes:
        """``rulesHash``: keccak(abi.encode(Rules)), 32 bytes."""
        return _digest(self)

    @property
    def max_weight(self) -> int:
        """The greatest weight of one update: ``max_examples``, or less to stay within ``max_share_ppm``.

        At least ``min_clients`` − 1 other updates count, of at least ``min_examples`` each; docs/protocol.md,
        section 3, derives the bound.
        """
        if self.max_share_ppm >= PPM:
            return self.max_examples
        others = max(0, self.min_clients - 1) * self.min_examples
        return min(self.max_examples, self.max_share_ppm * others // (PPM - self.max_share_ppm))

    @property
    def make_rest(self) -> bool:
        """Whether a member must sit rounds out. If so, the contract takes no roll-ups."""
        return self.rest_rounds > 0

    def rests_after(self, number: int) -> range:
        """The rounds before round ``number`` that count for its rest: a member with an accepted update in one of them
        that did not fail sits round ``number`` out."""
        return range(max(1, number - self.rest_rounds), number)

    def weight(self, examples: int) -> int:
        """The weight the contract gives to ``examples`` attested examples: capped at ``max_weight``."""
        return min(examples, self.max_weight)

    def sentences(self) -> tuple[str, ...]:
        """What the rules ask of rounds and updates, a sentence for people each; without the aggregator."""
        length = isqrt(self.max_sum_squares) / (1 << self.fraction_bits)
        found = [
            f"A round counts if at least {self.min_clients:,} updates are accepted. Otherwise it fails, and the model "
            "stays as it was.",
            f"A round takes updates for {spoken(self.round_seconds)}.",
            f"An update trained on fewer than {self.min_examples:,} examples is refused.",
            f"However many examples a member states, they count as {self.max_weight:,} at most.",
            f"No update may change the model by more than {length:.4g} (its length as a vector).",
        ]
        if self.max_share_ppm < PPM:
            found.append(f"No member has more than {self.max_share_ppm / PPM:.1%} of the say in a round.")
        if self.min_accuracy_ppm:
            right = self.min_accuracy_ppm / PPM
            found.append(
                f"A member must state that its model is right in {right:.1%} of its own tests or more."
            )
        if self.max_loss_micros:
            found.append(f"The loss that a member states must not be above {self.max_loss_micros / PPM:g}.")
        if self.min_labels:
            found.append(f"A member's data must have {self.min_labels:,} different classes or more.")
        if self.rest_rounds:
            rounds = "round" if self.rest_rounds == 1 else f"{self.rest_rounds:,} rounds"
            found.append(f"After an update of its counted, a member sits the next {rounds} out.")
        if self.max_epsilon_micros:
            spent = self.max_epsilon_micros / PPM
            found.append(
                "What a member's updates may reveal of its data is bounded: its privacy "
                f"budget is ε = {spent:g}."
            )
        return tuple(found)


@lru_cache(maxsize=16)
def _digest(rules: Rules) -> bytes:
    # Cached: a round asks for it twice for each client.
    types = [*(f"uint{bits}" for bits in _BITS.values()), "bytes32"]
    return keccak(encode(types, rules.as_tuple()))
