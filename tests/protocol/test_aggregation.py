"""The aggregation tree and the mountain range over commitments, beyond the shared vectors."""

import numpy as np
import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

import conditions
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


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_the_top_states_weight_and_sum(weights: list[int]) -> None:
    updates = [update(index, index, -index, weight=weight) for index, weight in enumerate(weights)]
    top = aggregation_tree(updates).top
    assert top.weight == sum(weights)
    total = sum(one.commitment.weight * one.vector.astype(np.int64) for one in updates)
    assert (top.sums.vector == total).all()


@given(st.integers(1, 9))
def test_every_leaf_has_its_way_to_the_top(count: int) -> None:
    tree = aggregation_tree([update(n, n, -n) for n in range(count)])
    for position in range(count):
        node = tree.hash_at(0, position)
        for level, step in enumerate(tree.path(position)):
            pair = (step.sibling + node) if position >> level & 1 else (node + step.sibling)
            node = keccak(AGGREGATION_NODE + step.weight.to_bytes(8) + step.sums + pair)
        assert node == tree.root
    for beyond in range(count, len(tree.levels[0]) + 1):
        with pytest.raises(RangeError, match=f"position {beyond}"):
            tree.path(beyond)


@given(st.integers(1, 20))
def test_a_node_is_empty_where_no_update_lies_below_and_nowhere_else(count: int) -> None:
    tree = aggregation_tree([update(n, n, -n) for n in range(count)])
    for level, nodes in enumerate(tree.levels):
        for position, node in enumerate(nodes):
            assert (node is None) == (position << level >= count)


def test_what_cannot_be_added_is_refused() -> None:
    with pytest.raises(ShapeError, match="has 3 elements, others 2"):
        aggregation_tree([update(0), update(1, 1, 2, 3)])
    with pytest.raises(EncodingError, match=r"weight of .* is zero"):
        aggregation_tree([update(0, weight=0)])
    with pytest.raises(RangeError, match="2\\^32"):
        aggregation_tree([update(0, weight=2**32 - 1), update(1, weight=1)])


def test_security_checks_its_widths() -> None:
    assert Security(*range(8)).as_tuple() == tuple(range(8))
    with pytest.raises(RangeError, match=r"security\.bond"):
        conditions.security(bond=2**128)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_folding_blocks_of_updates_gives_the_trees_root(count: int, block: int) -> None:
    updates = [update(i, i, -i, 7, weight=i + 1) for i in range(count)]
    tree, height = aggregation_tree(updates), (count - 1).bit_length()
    low = min(block, height)
    tops = [subtotal(updates[at : at + (1 << low)], low) for at in range(0, count, 1 << low)]
    top = fold(tops, height - low)
    assert (top.hash, top.weight, top.sums_root) == (tree.root, tree.top.weight, tree.top.sums.root)
    assert np.array_equal(top.sums, tree.top.sums.vector)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
def test_the_nodes_one_after_the_other_are_those_of_the_tree(count: int) -> None:
    updates = [update(i, i, -i, 7, weight=i + 1) for i in range(count)]
    found = [node.preimage for node in aggregation_nodes(iter(updates))]
    assert sorted(found) == sorted(node.preimage for node in aggregation_tree(updates).nodes())


def test_folding_refuses_what_the_tree_refuses() -> None:
    for nothing in (lambda: subtotal([], 3), lambda: fold([], 2), lambda: aggregation_tree([])):
        with pytest.raises(EncodingError, match="no accepted updates"):
            nothing()
    with pytest.raises(ShapeError):
        subtotal([update(0), update(1, 1, 2, 3)], 1)
    with pytest.raises(EncodingError, match="weight"):
        subtotal([update(0, weight=0)], 0)
    with pytest.raises(RangeError, match="total weight"):
        subtotal([update(0, weight=2**32 - 1), update(1, weight=1)], 1)
    with pytest.raises(RangeError, match="more than 2 nodes"):
        subtotal([update(i) for i in range(3)], 1)
