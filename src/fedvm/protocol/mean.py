"""The exact weighted mean of a round, in integers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.protocol.aggregation import CountedUpdate
from fedvm.protocol.checks import address_bytes
from fedvm.protocol.errors import EncodingError, RangeError, ShapeError
from fedvm.protocol.vector import IntVector, SumVector, check_vector

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Aggregate:
    """S = Σ wᵢ·dᵢ (int64, (n,)), W = Σ wᵢ, and the new model base + floor(S / W) (int32, (n,))."""

    sums: SumVector
    total_weight: int
    model: IntVector


@dataclass(frozen=True)
class WeightedSums:
    """S = Σ wᵢ·dᵢ (int64, (n,)) and W = Σ wᵢ ≥ 1: the sums that can be disputed on chain, whatever the rule."""

    sums: SumVector
    total_weight: int


def weighted_sums(counted: Sequence[CountedUpdate], elements: int) -> WeightedSums:
    """Add up the weighted updates of ``elements`` elements each.

    Raises:
        EncodingError: no updates, a weight of zero, or a member that comes twice.
        ShapeError: an update has another length, or a dtype other than int32.
        RangeError: W · 2^31 ≥ 2^63, so a sum could overflow.
    """
    total = _total_weight(counted)
    sums = np.zeros(elements, dtype=np.int64)
    for one in counted:
        check_vector(f"update of {one.member}", one.vector, np.int32)
        if one.vector.shape != sums.shape:
            raise ShapeError(
                f"the update of {one.member} has {one.vector.size} elements, the model {elements}"
            )
        sums += np.int64(one.weight) * one.vector.astype(np.int64)
    return WeightedSums(sums, total)


def weighted_mean(base: IntVector, counted: Sequence[CountedUpdate]) -> Aggregate:
    """Add the weighted updates to ``base``: federated averaging (McMahan et al. 2017, arXiv:1602.05629)
    with the quotient rounded down, so that 0 ≤ S − q·W < W holds for every element.

    Raises what :func:`weighted_sums` and :func:`moved` raise.
    """
    check_vector("base model", base, np.int32)
    mean = weighted_sums(counted, base.size)
    step = mean.sums // np.int64(mean.total_weight)  # NumPy's // rounds down, as the rule demands
    return Aggregate(mean.sums, mean.total_weight, moved(base, step))


def moved(base: IntVector, step: NDArray[Any]) -> IntVector:
    """base + step, int32 (n,). step: integers of any dtype whose sum with an int32 does not overflow it.

    Raises:
        RangeError: an element of the new model leaves int32.
    """
    model = base.astype(step.dtype) + step
    if model.min() < _INT32.min or model.max() > _INT32.max:
        at = int(np.flatnonzero((model < _INT32.min) | (model > _INT32.max))[0])
        raise RangeError(
            f"element {at} of the new model is {int(model[at])}, outside int32; lower fraction_bits"
        )
    inside: IntVector = model.astype(np.int32)
    return inside


def _total_weight(counted: Sequence[CountedUpdate]) -> int:
    if not counted:
        raise EncodingError("no accepted updates to aggregate; fail the round instead")
    seen: set[bytes] = set()
    total = 0
    for one in counted:
        address = address_bytes("member", one.member)
        if address in seen:
            raise EncodingError(f"member {one.member} comes twice; each counts once")
        seen.add(address)
        if one.weight == 0:
            raise EncodingError(f"the weight of {one.member} is zero; leave it out")
        total += one.weight
    if total << 31 >= 1 << 63:
        raise RangeError(f"the total weight {total} lets sums leave int64; it must stay below 2^32")
    return total
