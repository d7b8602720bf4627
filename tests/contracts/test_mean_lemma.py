"""The inequality by which the contract checks a floor division, proved over the integers.

`contracts/test/symbolic/MeanProofs.t.sol` proves that the code computes this inequality; here it is shown to mean the
floor, for weights and vectors of any size, with z3.
"""

from __future__ import annotations

import z3


def test_the_rest_is_in_range_exactly_for_the_floor() -> None:
    quotient, stated, weight, rest = z3.Ints("quotient stated weight rest")
    total = quotient * weight + rest  # S, with quotient = floor(S / W)
    remainder = total - stated * weight
    solver = z3.Solver()
    solver.set("timeout", 20_000)
    solver.add(weight > 0, rest >= 0, rest < weight)
    solver.push()
    solver.add(z3.And(remainder >= 0, remainder < weight) != (stated == quotient))
    assert solver.check() == z3.unsat
    solver.pop()
    # the premises can be met, and a remainder of W itself would let a second quotient pass
    solver.add(remainder >= 0, remainder <= weight, stated != quotient)
    assert solver.check() == z3.sat


def test_aggregates_fit_their_widths() -> None:
    """|Σ wᵢ·dᵢ| < 2^63 when Σ wᵢ < 2^32 and dᵢ are int32, by induction over one more update."""
    total, weights, weight, element = z3.Ints("total weights weight element")
    bound = 2**31
    solver = z3.Solver()
    solver.set("timeout", 20_000)
    solver.add(weights >= 0, weight >= 0, weights + weight < 2**32)
    solver.add(total >= -weights * bound, total <= weights * bound)
    solver.add(element >= -bound, element < bound)
    after = total + weight * element
    solver.add(
        z3.Or(
            after < -(weights + weight) * bound,
            after > (weights + weight) * bound,
            after >= 2**63,
            after < -(2**63),
        )
    )
    assert solver.check() == z3.unsat


def test_the_greatest_weight_keeps_its_share() -> None:
    """`RulesLib.maxWeight`: w = floor(s·R / (10^6 − s)) has w / (w + R) ≤ s / 10^6, and w + 1 has not."""
    share, others, weight = z3.Ints("share others weight")
    solver = z3.Solver()
    solver.set("timeout", 20_000)
    rest = 1_000_000 - share
    solver.add(share >= 0, rest > 0, others >= 0, weight >= 0)
    solver.add(weight * rest <= share * others, (weight + 1) * rest > share * others)
    solver.push()
    solver.add(weight * 1_000_000 > share * (weight + others))
    assert solver.check() == z3.unsat
    solver.pop()
    solver.push()
    solver.add((weight + 1) * 1_000_000 <= share * (weight + 1 + others))
    assert solver.check() == z3.unsat
    solver.pop()
    assert solver.check(share == 250_000, others == 30) == z3.sat  # the premises can be met
