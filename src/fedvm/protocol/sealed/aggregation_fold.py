"""The root of a sealed round's aggregation tree, and its model, group by group, with the updates of one group in memory
at a time.

The hashes are those of ``sealed_tree``, which keeps all nodes for proofs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedvm.evm.keccak import keccak
from fedvm.protocol.aggregation_fold import Subtotal, join, leaf_subtotal
from fedvm.protocol.aggregators import Aggregator, RoundFacts, aggregate_sums
from fedvm.protocol.errors import EncodingError, ShapeError
from fedvm.protocol.mean import Aggregate, WeightedSums
from fedvm.protocol.sealed.aggregation import GROUP_NODE, UnmaskedUpdate, check_updates
from fedvm.protocol.sealed.masks import read_signed
from fedvm.protocol.sealed.trees import norm_tree
from fedvm.protocol.trees import aggregate_root
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.protocol.vector import IntVector

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class GroupSubtotal(Subtotal):
    """A counting group's node by itself. squares: Σ S² of its sums. included: how many members it adds."""

    squares: int
    included: int

    @property
    def vector(self) -> IntVector:
        """The mean of the group's updates, floor(S / W) cut off at the ends of int32, (n,): what rules other than the
        weighted mean take for an update."""
        means = self.sums // np.int64(self.weight)
        cut: IntVector = np.clip(means, _INT32.min, _INT32.max).astype(np.int32)
        return cut

    @property
    def loss_micros(self) -> int:
        """A group attests no loss."""
        return NOT_ATTESTED_LOSS


def group_subtotal(updates: Sequence[UnmaskedUpdate], height: int, lane_bytes: int) -> GroupSubtotal:
    """The node of a group over its updates, in the order of their places. Raises as ``sealed_tree``."""
    check_updates(updates, height, lane_bytes)
    leaves = (leaf_subtotal(one.weight, one.values, one.record) for one in updates)
    child = join(leaves, height)
    values = read_signed(child.sums, lane_bytes)
    root, norm = aggregate_root(values), norm_tree(values)
    digest = keccak(GROUP_NODE + child.weight.to_bytes(8) + root + child.hash + norm.root)
    return GroupSubtotal(child.weight, values, root, digest, norm.squares, len(updates))


def sealed_fold(groups: Sequence[GroupSubtotal]) -> Subtotal:
    """The top over the nodes of the counting groups, in their order. Raises as ``sealed_tree``."""
    if not groups:
        raise EncodingError("no group counts; fail the round instead")
    return join(groups, (len(groups) - 1).bit_length())


def sealed_aggregate(
    rule: Aggregator, base: IntVector, groups: Sequence[GroupSubtotal], top: Subtotal, facts: RoundFacts
) -> Aggregate:
    """What a rule without memory makes of the counting groups, in their order, and of their ``top``. base: int32 (n,).

    Raises:
        ShapeError: the base has another length than the sums.
        RangeError: an element of the new model leaves int32.
    """
    if base.shape != top.sums.shape:
        raise ShapeError(f"the base has {base.size} elements, the sums {top.sums.size}")
    sums = WeightedSums(top.sums, top.weight)
    result = aggregate_sums(rule, base, sums, groups if rule.needs_updates else (), (), facts)
    return Aggregate(top.sums, top.weight, result.model)
