"""Finds what is wrong with a proposed sealed round, as evidence that one of its contracts accepts.

The range is opened first, then what members submitted; from these follow the sums, the norms and the model.
"""

from __future__ import annotations

import numpy as np

from fedvm.audit.preimages import Preimages, first_known
from fedvm.audit.sealed_case import SealedCase
from fedvm.audit.sealed_range import stated_records
from fedvm.audit.sealed_submissions import SubmittedUpdates
from fedvm.audit.sealed_walk import (
    TrueSums,
    aggregation_fraud,
    false_top,
    malformed_vector,
    norm_fraud,
    opening_of,
)
from fedvm.audit.vector_walk import StatedChunk, Trail, differing_chunk
from fedvm.chain import sealed_proofs as proofs
from fedvm.chain.court import Evidence
from fedvm.protocol import CHUNK, model_tree, open_plain
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.preimages import by_hash
from fedvm.protocol.rules import WEIGHTED_MEAN
from fedvm.protocol.sealed.aggregation import sealed_tree
from fedvm.protocol.sealed.records import SealedFile
from fedvm.protocol.sealed.trees import SEED
from fedvm.store import Store, StoreError

_INT32 = np.iinfo(np.int32)


class SealedFraud:
    """The search in one proposal. What was found right stays known while data are asked for."""

    def __init__(self, case: SealedCase, store: Store) -> None:
        self._case, self._updates = case, SubmittedUpdates(case, store)
        self._published = by_hash(_of_file(case, store))

    def find(self, source: Preimages) -> Evidence | None:
        """Evidence against the proposal, or against what it counts; None if nothing is wrong.

        source: what is known of the hashes stated. Raises PreimagesMissing when more must be asked for.
        """
        case = self._case
        known = first_known(self._published.get, source)
        records = stated_records(case, known)
        if isinstance(records, Evidence):
            return records
        submitted = self._updates.open(records, known)
        if isinstance(submitted, Evidence):
            return submitted
        groups = self._updates.unmasked(submitted)
        true = TrueSums(case, submitted, sealed_tree(groups, case.height, case.terms.lane_bytes))
        if case.round.aggregation_root != true.tree.root:
            return aggregation_fraud(Trail(known), true)
        found = false_top(true) or norm_fraud(true)
        if (
            found or case.terms.rules.aggregator != WEIGHTED_MEAN
        ):  # the contract judges no other model; only an audit can
            return found
        return _model_fraud(case, Trail(known), true)


def _model_fraud(case: SealedCase, trail: Trail, true: TrueSums) -> Evidence | None:
    sums, weight = true.tree.top.sums, true.tree.top.weight
    model = case.terms.base.astype(np.int64) + sums.vector // np.int64(weight)
    expected = model_tree(np.clip(model, _INT32.min, _INT32.max).astype(np.int32))
    outside = np.flatnonzero((model < _INT32.min) | (model > _INT32.max))
    if case.round.model_root != expected.root:
        found = differing_chunk(trail, case.round.model_root, expected)
        if not isinstance(found, StatedChunk):
            return malformed_vector(found, None)
        stated = opening_of(found)
    elif outside.size:  # no model would be right: the round should have failed
        stated = open_plain(expected, int(outside[0]) // CHUNK)
    else:
        return None
    return proofs.wrong_mean(open_plain(case.base, stated.index), open_plain(sums, stated.index), stated)


def _of_file(case: SealedCase, store: Store) -> list[bytes]:
    """Preimages of the records, submissions and revealed seeds in the round's file, as far as it can be read; whether
    they are those on the chain is not checked."""
    try:
        file = SealedFile.parse(store.get(case.stated.cid))
        found = [record.preimage() for record in file.records]
        found += [*file.submissions, *file.range.nodes()]
    except (StoreError, EncodingError):  # the data can be demanded on the chain
        return []
    seeds = iter(file.seeds)
    for index, spot in enumerate(case.spots):
        for other in (spot.rank, *spot.group.absent):
            seed = next(seeds, None)
            if seed is not None:
                found.append(SEED + case.context(index) + other.to_bytes(1) + seed)
    return found
