"""q-FedAvg: Li et al. 2020, "Fair Resource Allocation in Federated Learning", arXiv:1905.10497, algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

import numpy as np

from fedvm.protocol.aggregators.arithmetic import shown_micros
from fedvm.protocol.aggregators.rule import (
    MICROS,
    Aggregator,
    Point,
    RoundFacts,
    ServerState,
    check_parameter,
)
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.protocol.vector import SumVector, sum_squares

_MOST = 100 * MICROS
_SHARE_BITS = 31
_ONE = 10**30
_LOSS_UNITS = 10**10
# ln, · and exp are each rounded correctly, half to even, to 50 digits: the same on every machine.
_DECIMALS = Context(prec=50, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999)


@dataclass(frozen=True)
class FairAverage(Aggregator):
    """Updates weighted by powers of the losses that their clients attest: the higher the loss, the more it counts.

    With F = loss + 10^−10, p = F^q and the client's learning rate η, the model moves by
    Σ p·d / Σ (p + (q/η)·(p/F)·‖d‖²), in exact integers as docs/protocol.md, section 7, says. An update that attests no
    loss has p = 0. q and η are in millionths.

    Raises:
        EncodingError: a parameter is out of range.
    """

    title = "QFedAvg"
    kind = 9
    needs_updates = True
    needs_losses = True

    rate: int
    fairness: int

    def __post_init__(self) -> None:
        check_parameter("QFedAvg's client_learning_rate, in millionths,", self.rate, 1, _MOST)
        check_parameter("QFedAvg's q, in millionths,", self.fairness, 0, _MOST)

    def parameters(self) -> tuple[int, ...]:
        """(η, q)."""
        return self.rate, self.fairness

    def shown_parameters(self) -> dict[str, str]:
        """As in Flower."""
        return {"client_learning_rate": shown_micros(self.rate), "q": shown_micros(self.fairness)}

    def step(
        self,
        counted: Sequence[Point],
        sums: WeightedSums,
        state: ServerState,
        facts: RoundFacts,
    ) -> SumVector:
        """Σ floor(2^31·p / D) · d, over 2^31 and rounded down, int64 (n,)."""
        shares = self.shares(counted, facts)
        total = np.zeros_like(sums.sums)
        for one, share in zip(counted, shares, strict=True):  # Σ shares ≤ 2^31: no sum leaves int64
            total += np.int64(share) * one.vector.astype(np.int64)
        return total >> _SHARE_BITS

    def shares(self, counted: Sequence[Point], facts: RoundFacts) -> tuple[int, ...]:
        """By what each update is multiplied, in units of 2^−31."""
        losses = [loss_units(one.loss_micros) for one in counted]
        greatest = max((loss for loss in losses if loss is not None), default=1)
        powers = [0 if loss is None else self._power(loss, greatest) for loss in losses]
        bound = sum(
            power + self._curvature(power, loss, sum_squares(one.vector), facts)
            for power, loss, one in zip(powers, losses, counted, strict=True)
            if loss is not None
        )
        return tuple((power << _SHARE_BITS) // bound if bound else 0 for power in powers)

    def _power(self, loss: int, greatest: int) -> int:
        """floor(10^30 · (loss / greatest)^q); of the greatest exactly 10^30."""
        if loss == greatest or self.fairness == 0:
            return _ONE
        context = _DECIMALS
        exponent = context.divide(Decimal(self.fairness), Decimal(MICROS))
        logarithm = context.subtract(context.ln(Decimal(loss)), context.ln(Decimal(greatest)))
        power = context.exp(context.multiply(exponent, logarithm))
        return int(context.scaleb(power, 30).to_integral_value(ROUND_FLOOR))

    def _curvature(self, power: int, loss: int, squares: int, facts: RoundFacts) -> int:
        """floor((q/η) · (p/F) · Σd² / 2^(2f))."""
        numerator = self.fairness * power * _LOSS_UNITS * squares
        return numerator // (self.rate * loss << 2 * facts.fraction_bits)


def loss_units(loss_micros: int) -> int | None:
    """An attested loss plus 10^−10, in units of 10^−10; None for none."""
    return None if loss_micros == NOT_ATTESTED_LOSS else loss_micros * (_LOSS_UNITS // MICROS) + 1
