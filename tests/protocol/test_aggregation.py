"""The aggregation tree and the mountain range over commitments, beyond the shared vectors."""

import numpy as np
import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fedvm.protocol import (
    Commitment,
    CountedUpdate,
    EncodingError,
    RangeError,
    Security,
    ShapeError,
    aggregation_nodes,
    aggregation_tree,
    commitment_tree,
    fold,
    subtotal,
)
from fedvm.protocol.aggregation import AGGREGATION_NODE
from fedvm.protocol.commitments import COMMITMENT_NODE

MEMBERS = [f"0x{index:040x}" for index in range(1, 40)]


def commitment(index: int, weight: int = 3) -> Commitment:
    return Commitment(MEMBERS[index], weight, keccak(bytes([index])), index)


def update(index: int, *values: int, weight: int = 3) -> CountedUpdate:
    return CountedUpdate(commitment(index, weight), np.array(values or [1, 2], dtype=np.int32))


@given(st.integers(1, 39), st.data())
def test_every_commitment_leads_to_its_peak(count: int, data: st.DataObject) -> None:
    tree = commitment_tree([commitment(index) for index in range(count)])
    assert sorted(tree.peaks) == [bit for bit in range(6) if count >> bit & 1]
    index = data.draw(st.integers(0, count - 1))
    node, siblings = commitment(index).digest(), tree.siblings(index)
    start = sum(1 << height for height in tree.peaks if height > len(siblings))
    position = index - start
    for level, sibling in enumerate(siblings):
        pair = (sibling, node) if position >> level & 1 else (node, sibling)
        node = keccak(COMMITMENT_NODE + pair[0] + pair[1])
    assert node == tree.peak(len(siblings))


def test_a_leaf_outside_is_refused() -> None:
    with pytest.raises(RangeError, match="no update 2; 2 were accepted"):
        commitment_tree([commitment(0), commitment(1)]).siblings(2)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=9))
def test_the_top_states_weight_and_sum(rows: list[tuple[bool, int]]) -> None:
    updates = [
        update(index, index, -index, weight=weight) if counts else None
        for index, (counts, weight) in enumerate(rows)
    ]
    counted = [one for one in updates if one]
    if not counted:
        with pytest.raises(EncodingError, match="no accepted updates"):
            aggregation_tree(updates)
        return
    top = aggregation_tree(updates).top
    assert top.weight == sum(one.commitment.weight for one in counted)
    total = sum(one.commitment.weight * one.vector.astype(np.int64) for one in counted)
    assert (top.sums.vector == total).all()


@given(st.lists(st.booleans(), min_size=1, max_size=9).filter(any))
def test_every_leaf_has_its_way_to_the_top(counts: list[bool]) -> None:
    tree = aggregation_tree([update(n, n, -n) if counted else None for n, counted in enumerate(counts)])
    for position, counted in enumerate(counts):
        if not counted:
            with pytest.raises(RangeError, match=f"position {position}"):
                tree.path(position)
            continue
        node = tree.hash_at(0, position)
        for level, step in enumerate(tree.path(position)):
            pair = (step.sibling + node) if position >> level & 1 else (node + step.sibling)
            node = keccak(AGGREGATION_NODE + step.weight.to_bytes(8) + step.sums + pair)
        assert node == tree.root
    with pytest.raises(RangeError, match="position"):
        tree.path(len(tree.levels[0]))


def test_what_cannot_be_added_is_refused() -> None:
    with pytest.raises(ShapeError, match="has 3 elements, others 2"):
        aggregation_tree([update(0), update(1, 1, 2, 3)])
    with pytest.raises(EncodingError, match=r"weight of .* is zero"):
        aggregation_tree([update(0, weight=0)])
    with pytest.raises(RangeError, match="2\\^32"):
        aggregation_tree([update(0, weight=2**32 - 1), update(1, weight=1)])


def test_security_checks_its_widths() -> None:
    assert Security().as_tuple() == (3600, 600, 10**18, 0, 10**15, 86_400, 0)
    with pytest.raises(RangeError, match=r"security\.bond"):
        Security(bond=2**128)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_folding_blocks_of_updates_gives_the_trees_root(count: int, block: int) -> None:
    updates: list[CountedUpdate | None] = [update(i, i, -i, 7, weight=i + 1) for i in range(count)]
    for excluded in (set(), {0}, set(range(1, count)), {count - 1}):
        kept = [None if i in excluded else one for i, one in enumerate(updates)]
        if not any(kept):
            continue
        tree, height = aggregation_tree(kept), (count - 1).bit_length()
        low = min(block, height)
        tops = [subtotal(kept[at : at + (1 << low)], low) for at in range(0, count, 1 << low)]
        top = fold(tops, height - low)
        assert top is not None
        assert (top.hash, top.weight, top.sums_root) == (tree.root, tree.top.weight, tree.top.sums.root)
        assert np.array_equal(top.sums, tree.top.sums.vector)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
def test_the_nodes_one_after_the_other_are_those_of_the_tree(count: int) -> None:
    updates: list[CountedUpdate | None] = [update(i, i, -i, 7, weight=i + 1) for i in range(count)]
    for excluded in (set(), {0}, set(range(1, count)), {count - 1}):
        kept = [None if i in excluded else one for i, one in enumerate(updates)]
        if any(kept):
            found = [node.preimage for node in aggregation_nodes(iter(kept))]
            assert sorted(found) == sorted(node.preimage for node in aggregation_tree(kept).nodes())


def test_folding_refuses_what_the_tree_refuses() -> None:
    assert subtotal([None, None], 3) is None and fold([], 2) is None
    with pytest.raises(ShapeError):
        subtotal([update(0), update(1, 1, 2, 3)], 1)
    with pytest.raises(EncodingError, match="weight"):
        subtotal([update(0, weight=0)], 0)
    with pytest.raises(RangeError, match="total weight"):
        subtotal([update(0, weight=2**32 - 1), update(1, weight=1)], 1)
    with pytest.raises(RangeError, match="more than 2 nodes"):
        subtotal([update(i) for i in range(3)], 1)
