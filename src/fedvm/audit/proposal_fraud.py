"""Finds what is wrong with a proposal, as evidence that the Disputes contract accepts.

Only hashes that differ from the true ones are opened: about log₂(clients) + log₂(chunks) of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedvm.audit.aggregation_walk import (
    StatedNode,
    TrueAggregation,
    aggregation_fraud,
    chunk_of,
    commitment_proof,
    malformed_vector,
    wrong_leaf,
    wrong_node,
)
from fedvm.audit.pending_round import PendingRound
from fedvm.audit.preimages import Preimages
from fedvm.audit.update_walk import BadNode, signed_update
from fedvm.audit.vector_walk import Asked, PreimagesMissing, StatedChunk, Trail, differing_chunk
from fedvm.chain.court import Evidence, Fraud
from fedvm.protocol import (
    CHUNK,
    WEIGHTED_MEAN,
    CommitmentTree,
    CountedUpdate,
    PlainTree,
    UpdateTree,
    aggregation_tree,
    commitment_tree,
    model_tree,
)
from fedvm.protocol.hashing import EMPTY

_INT32 = np.iinfo(np.int32)


def find_fraud(pending: PendingRound, source: Preimages) -> Evidence | None:
    """Evidence against the proposal, or against an update that it counts; None if nothing is wrong.

    source: what is known of the coordinator's hashes. Raises PreimagesMissing when more must be asked for.
    """
    trail, peaks = Trail(source), commitment_tree(pending.commitments)
    updates = _signed_updates(pending, trail, peaks)
    if isinstance(updates, Evidence):
        return updates
    true = _true_aggregation(pending, peaks, updates)
    tree = true.tree
    if pending.aggregation_root != tree.root:
        return aggregation_fraud(trail, pending.aggregation_root, true)
    if pending.aggregate_root != tree.top.sums.root:
        return wrong_node(StatedNode(tree.height, 0, tree.top.preimage, ()))
    if pending.aggregator != WEIGHTED_MEAN:  # the contract cannot judge the model; only an audit can
        return None
    return _model_fraud(pending, trail, tree.top.sums)


def _true_aggregation(
    pending: PendingRound, peaks: CommitmentTree, updates: Sequence[UpdateTree]
) -> TrueAggregation:
    counted = [
        CountedUpdate(commitment, tree.vector)
        for commitment, tree in zip(pending.commitments, updates, strict=True)
    ]
    return TrueAggregation(pending.commitments, peaks, updates, aggregation_tree(counted))


def _model_fraud(pending: PendingRound, trail: Trail, sums: PlainTree) -> Evidence | None:
    model = pending.base.vector.astype(np.int64) + sums.vector // np.int64(pending.total_weight)
    true = model_tree(np.clip(model, _INT32.min, _INT32.max).astype(np.int32))
    outside = np.flatnonzero((model < _INT32.min) | (model > _INT32.max))
    if pending.model_root != true.root:
        found = differing_chunk(trail, pending.model_root, true)
        if not isinstance(found, StatedChunk):
            return malformed_vector(found, None)
        index, chunk = found.index, found.as_tuple()
    elif outside.size:  # no model would be right: the round should have failed
        index = int(outside[0]) // CHUNK
        chunk = chunk_of(true, index)
    else:
        return None
    arguments = (index, chunk_of(pending.base, index), chunk_of(sums, index), chunk)
    return Evidence(Fraud.WRONG_MEAN, "proveWrongMean", arguments)


def _signed_updates(
    pending: PendingRound, trail: Trail, peaks: CommitmentTree
) -> list[UpdateTree] | Evidence:
    """All updates as they were signed. What is missing of them is missing together, so that one phase opens all."""
    updates, missing = list[UpdateTree](), list[Asked]()
    for index, tree in enumerate(pending.published):
        commitment = pending.commitments[index]
        if (tree.root, tree.sum_squares) == (commitment.update_root, commitment.sum_squares):
            updates.append(tree)
            continue
        try:
            signed = _signed_update(pending, trail, peaks, index)
        except PreimagesMissing as one:
            missing += one.questions
            continue
        if isinstance(signed, Evidence):
            return signed
        updates.append(signed)
    if missing:
        raise PreimagesMissing(missing)
    return updates


def _signed_update(
    pending: PendingRound, trail: Trail, peaks: CommitmentTree, index: int
) -> UpdateTree | Evidence:
    """The signed update if the published data differ from it, or evidence that the signed update is malformed or
    bad."""
    commitment, guess = pending.commitments[index], pending.published[index]
    if commitment.update_root != guess.root and trail.source(commitment.update_root) is None:
        way = _way_to(pending, trail, peaks, index)
        if isinstance(way, Evidence):
            return way
        trail = way
    found = signed_update(trail, commitment.update_root, commitment.sum_squares, guess)
    if isinstance(found, BadNode):
        proof = commitment_proof(pending.commitments, peaks, index)
        return Evidence(Fraud.BAD_UPDATE, "proveBadUpdate", (proof, found.as_tuple()))
    return pending.tree_of(index, found)


def _way_to(pending: PendingRound, trail: Trail, peaks: CommitmentTree, index: int) -> Trail | Evidence:
    """Walk down the stated tree to the leaf that must hold the commitment, so that its data can be demanded."""
    level, stated = (len(pending.commitments) - 1).bit_length(), pending.aggregation_root
    node = StatedNode(level, 0, b"", ())
    while True:
        if stated == EMPTY:
            return wrong_node(StatedNode(level, index >> level, b"", node.path))
        preimage, trail = trail.open(stated, level + 1)
        node = StatedNode(level, index >> level, preimage, node.path)
        if not node.is_well_formed:
            return wrong_node(node)
        if level == 0:
            break
        level -= 1
        side = index >> level & 1
        stated = node.children[side]
        node = StatedNode(level, index >> level, b"", node.child_path(side))
    if node.preimage[41:] != pending.commitments[index].digest():
        return wrong_leaf(node, commitment_proof(pending.commitments, peaks, index))
    # The commitment's own preimage is public: its hash must be opened before the update's root can be demanded.
    return Trail(trail.source, (*trail.opened, pending.commitments[index].preimage()))
