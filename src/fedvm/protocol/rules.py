"""The rules a federation is created with, and their hash."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import lru_cache

from eth_abi.abi import encode

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import check_bytes, check_uint

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


@lru_cache(maxsize=16)
def _digest(rules: Rules) -> bytes:
    # Cached: a round asks for it twice for each client.
    types = [*(f"uint{bits}" for bits in _BITS.values()), "bytes32"]
    return keccak(encode(types, rules.as_tuple()))
