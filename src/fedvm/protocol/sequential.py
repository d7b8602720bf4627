"""The sequential test of the promotion gate in integers, as the contract computes it (`SequentialTest.sol`).

Source: A. Wald, "Sequential Tests of Statistical Hypotheses", 1945; the bounds are those of Ville's inequality (1939),
which hold exactly: a likelihood ratio exceeds 1/α with probability at most α where its denominator is true.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fedvm.protocol.errors import RangeError

PPM = 1_000_000
_SCALE = 10**36
_LN_2 = 693147180559945309417232121458176568  # ln 2 · 10^36, rounded down
_MICRO = 10**30


class Verdict(Enum):
    """What the answers so far say."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True)
class AccuracyTest:
    """What a version's accuracy is tested against, in parts per million: an accuracy that must not pass, one that
    should pass, and the greatest probability of a wrong verdict for either.

    Raises:
        RangeError: not 0 < fail < pass < 10^6, or a probability is not between 0 and 10^6.
    """

    fail_ppm: int
    pass_ppm: int
    alpha_ppm: int
    beta_ppm: int

    def __post_init__(self) -> None:
        if not 0 < self.fail_ppm < self.pass_ppm < PPM:
            raise RangeError(
                f"the accuracies {self.fail_ppm} and {self.pass_ppm} ppm must satisfy 0 < fail < pass < 10^6"
            )
        for name, value in (("alpha", self.alpha_ppm), ("beta", self.beta_ppm)):
            if not 0 < value < PPM:
                raise RangeError(f"{name} is {value} ppm; it must lie between 0 and 10^6")

    def as_tuple(self) -> tuple[int, int, int, int]:
        """The fields in the struct's order, as web3 takes a struct."""
        return self.fail_ppm, self.pass_ppm, self.alpha_ppm, self.beta_ppm


@dataclass(frozen=True)
class Thresholds:
    """The test's integers in micro-nats: gain of a right answer, loss of a wrong one, sums that decide."""

    gain: int
    loss: int
    pass_at: int
    fail_at: int

    def verdict(self, asked: int, right: int, max_samples: int) -> Verdict:
        """The verdict after `right` right answers of `asked`; at `max_samples` a version that has not passed has
        failed."""
        score = right * self.gain - (asked - right) * self.loss
        if score >= self.pass_at:
            return Verdict.PASSED
        failed = score <= -self.fail_at or asked >= max_samples
        return Verdict.FAILED if failed else Verdict.OPEN

    @property
    def fewest(self) -> int:
        """The number of right answers in a row that is enough to pass."""
        return -(-self.pass_at // self.gain)


def thresholds(test: AccuracyTest) -> Thresholds:
    """The integers of a test, rounded to the disadvantage of the version that is tested."""
    return Thresholds(
        gain=ln_micros(test.pass_ppm, test.fail_ppm),
        loss=ln_micros(PPM - test.fail_ppm, PPM - test.pass_ppm) + 1,
        pass_at=ln_micros(PPM, test.alpha_ppm) + 1,
        fail_at=ln_micros(PPM, test.beta_ppm) + 1,
    )


def ln_micros(numerator: int, denominator: int) -> int:
    """floor(10^6 · ln(numerator / denominator)) for numerator ≥ denominator ≥ 1, by the series of artanh."""
    total = 0
    while numerator >= 2 * denominator:
        denominator *= 2
        total += _LN_2
    z = (numerator - denominator) * _SCALE // (numerator + denominator)
    square = z * z // _SCALE
    n = 1
    while z > 0:
        total += 2 * z // n
        z = z * square // _SCALE
        n += 2
    return total // _MICRO
