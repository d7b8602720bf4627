"""The rules a federation is created with, and their hash."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from eth_abi.abi import encode
from eth_hash.auto import keccak

from fedvm.encoding.checks import check_uint

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
}


@dataclass(frozen=True)
class Rules:
    """The contract's ``Rules`` struct, field by field in its order. Construction checks every range.

    Raises:
        EncodingError: a field is not an integer, or does not fit its width (RangeError).
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

    def __post_init__(self) -> None:
        for name, bits in _BITS.items():
            check_uint(f"rules.{name}", getattr(self, name), bits)

    def as_tuple(self) -> tuple[int, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        return astuple(self)

    def digest(self) -> bytes:
        """``rulesHash``: keccak(abi.encode(Rules)), 32 bytes."""
        return keccak(encode([f"uint{bits}" for bits in _BITS.values()], self.as_tuple()))

    def weight(self, examples: int) -> int:
        """The weight the contract gives to ``examples`` attested examples: capped at ``max_examples``."""
        return min(examples, self.max_examples)
