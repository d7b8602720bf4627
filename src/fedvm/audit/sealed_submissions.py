"""Opens what members submitted in a sealed round as they signed it: vectors, commitments to seeds, revealed seeds.

What the store has is a guess: only hashes that differ from it are opened. A node of a wrong form is evidence against
the coordinator, which should have left its member out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fedvm.audit.preimages import Preimages
from fedvm.audit.sealed_case import SealedCase, StatedRecord
from fedvm.audit.vector_walk import Asked, PreimagesMissing, Trail
from fedvm.chain import sealed_proofs as proofs
from fedvm.chain.court import Evidence
from fedvm.chain.sealed_disputes import SeedQuestion
from fedvm.chain.sealed_proofs import RevealedSeeds, SubmittedNode
from fedvm.protocol import EncodingError
from fedvm.protocol.hashing import CHUNK, EMPTY, chunk_count
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.close import SeedName
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.masks import SEED_BYTES, from_bytes, to_bytes
from fedvm.protocol.sealed.trees import (
    MASKED_NODE,
    SEED,
    SEED_NODE,
    MaskedTree,
    SeedsTree,
    masked_leaf,
    masked_tree,
    seeds_tree,
    stated_seeds_tree,
)
from fedvm.protocol.sealed.unmasking import unmask
from fedvm.store import Store, StoreError

_NODE_BYTES = 65


@dataclass(frozen=True)
class Submitted:
    """What a member signed, opened: its masked vector, its commitments, and the seeds that were revealed of it."""

    stated: StatedRecord
    masked: MaskedTree
    commitments: SeedsTree
    seeds: Mapping[SeedName, bytes]

    def opened_seeds(self, rank: int, absent: tuple[int, ...]) -> RevealedSeeds:
        """Its own seed and those shared with absent members, as proofs open them."""
        others = sorted((rank, *absent))
        seeds = tuple(self.seeds[rank, other] for other in others)
        return RevealedSeeds(seeds, self.commitments.siblings_of_all(others))


class SubmittedUpdates:
    """Opens the updates of a round that count. What was right stays known from one attempt to the next."""

    def __init__(self, case: SealedCase, store: Store) -> None:
        self._case, self._store = case, store
        self._found: dict[int, Submitted] = {}

    def open(self, records: tuple[StatedRecord, ...], source: Preimages) -> Evidence | tuple[Submitted, ...]:
        """All of them in order, or evidence against one. What is missing is missing together, so that one phase opens
        all. Raises PreimagesMissing."""
        missing: list[Asked] = []
        for stated in records:
            if stated.index in self._found:
                continue
            try:
                found = self._submitted(stated, source)
            except PreimagesMissing as one:
                missing += one.questions
                continue
            if isinstance(found, Evidence):
                return found
            self._found[stated.index] = found
        if missing:
            raise PreimagesMissing(missing)
        return tuple(self._found[stated.index] for stated in records)

    def unmasked(self, submitted: tuple[Submitted, ...]) -> list[list[UnmaskedUpdate]]:
        """The updates as ``sealed_tree`` adds them, group by group."""
        case = self._case
        groups: list[list[UnmaskedUpdate]] = [[] for _ in case.counting]
        for one in submitted:
            spot, record = case.spots[one.stated.index], one.stated.record
            width = case.terms.lane_bytes
            values = unmask(spot.group, spot.rank, one.masked.lanes, one.seeds, width)
            groups[spot.group_rank].append(UnmaskedUpdate(record.weight, values, record.digest()))
        return groups

    def _submitted(self, stated: StatedRecord, source: Preimages) -> Evidence | Submitted:
        case, missing = self._case, list[Asked]()
        file, trail = self._file(stated), Trail(source, stated.trail)
        parts: list[MaskedTree | tuple[SeedsTree, dict[SeedName, bytes]]] = []
        for part in (self._masked, self._seeds):
            try:
                opened = part(stated, file, trail)
            except PreimagesMissing as one:
                missing += one.questions
                continue
            if isinstance(opened, SubmittedNode):
                return proofs.malformed_submission(case.shape, stated.seat, opened)
            parts.append(opened)
        if missing:
            raise PreimagesMissing(missing)
        masked, commitments = parts
        assert isinstance(masked, MaskedTree) and isinstance(commitments, tuple)
        return Submitted(stated, masked, *commitments)

    def _file(self, stated: StatedRecord) -> MaskedFile | None:
        """What the store has under the CID, whatever it is; None if nothing of the right length."""
        case, group = self._case, self._case.spots[stated.index].group.group
        try:
            data = self._store.get(stated.submission.masked.cid)
            return MaskedFile.parse(data, group, case.terms.base.size, case.terms.lane_bytes)
        except (StoreError, EncodingError):
            return None

    def _masked(
        self, stated: StatedRecord, file: MaskedFile | None, trail: Trail
    ) -> MaskedTree | SubmittedNode:
        """The signed vector, or the topmost node that is wrong."""
        elements, width = self._case.terms.base.size, self._case.terms.lane_bytes
        context, root = self._case.context(stated.index), stated.submission.masked.masked_root
        lanes = np.zeros(elements, dtype=np.uint64) if file is None else file.lanes
        vector, guess = bytearray(to_bytes(lanes, width)), masked_tree(lanes, width, context)
        if guess.root == root:
            return guess
        missing: list[Asked] = []
        pending = [(_Node(len(guess.levels) - 1, 0, root, ()), trail)]
        while pending:
            node, above = pending.pop()
            if node.hash == guess.levels[node.level][node.position].tobytes():
                continue
            beyond = node.level == 0 and node.position >= chunk_count(elements)
            if node.hash == EMPTY or beyond:
                return node.wrong(b"", of_seeds=False)
            try:
                preimage, below = above.open(node.hash, node.level + 1)
            except PreimagesMissing as one:
                missing += one.questions
                continue
            if node.level > 0:
                if len(preimage) != _NODE_BYTES or preimage[:1] != MASKED_NODE:
                    return node.wrong(preimage, of_seeds=False)
                pending += [(child, below) for child in node.children(preimage)]
                continue
            begin = node.position * CHUNK * width
            size = min(CHUNK * width, len(vector) - begin)
            payload = preimage[-size:]
            if preimage != masked_leaf(context, node.position, payload, width):
                return node.wrong(preimage, of_seeds=False)
            vector[begin : begin + size] = payload
        if missing:
            raise PreimagesMissing(missing)
        return masked_tree(from_bytes(bytes(vector), elements, width), width, context)

    def _seeds(
        self, stated: StatedRecord, file: MaskedFile | None, trail: Trail
    ) -> tuple[SeedsTree, dict[SeedName, bytes]] | SubmittedNode:
        """The commitments as signed and the seeds that were revealed, or what is wrong among them."""
        case, spot = self._case, self._case.spots[stated.index]
        tree = self._commitments(stated, file, trail)
        if isinstance(tree, SubmittedNode):
            return tree
        context, seeds, missing = case.context(stated.index), {}, list[Asked]()
        for other in (spot.rank, *spot.group.absent):
            commitment, siblings = tree.levels[0][other].tobytes(), tree.siblings(other)
            node = SubmittedNode(True, other, b"", siblings, commitment)
            if commitment == EMPTY:
                return node
            preimage = trail.source(commitment)
            if preimage is None:
                place = spot.group.group.first + other
                missing.append(SeedQuestion(case.shape, stated.seat, place, commitment, siblings))
                continue
            header = SEED + context + other.to_bytes(1)
            if len(preimage) != len(header) + SEED_BYTES or not preimage.startswith(header):
                return replace(node, preimage=preimage)
            seeds[spot.rank, other] = preimage[-SEED_BYTES:]
        if missing:
            raise PreimagesMissing(missing)
        return tree, seeds

    def _commitments(
        self, stated: StatedRecord, file: MaskedFile | None, trail: Trail
    ) -> SeedsTree | SubmittedNode:
        group, root = self._case.spots[stated.index].group.group, stated.submission.masked.seeds_root
        blank = dict.fromkeys(group.ready, EMPTY)
        guess = seeds_tree(group, blank if file is None else file.commitments)
        if guess.root == root:
            return guess
        leaves = [row.tobytes() for row in guess.levels[0]]
        missing: list[Asked] = []
        pending = [(_Node(group.height, 0, root, ()), trail)]
        while pending:
            node, above = pending.pop()
            if node.hash == guess.levels[node.level][node.position].tobytes():
                continue
            if node.level == 0:  # whatever it is: what counts of the leaves is looked at elsewhere
                leaves[node.position] = node.hash
                continue
            if node.hash == EMPTY:
                return node.wrong(b"", of_seeds=True)
            try:
                preimage, below = above.open(node.hash, node.level)  # the leaves may not be asked for
            except PreimagesMissing as one:
                missing += one.questions
                continue
            if len(preimage) != _NODE_BYTES or preimage[:1] != SEED_NODE:
                return node.wrong(preimage, of_seeds=True)
            pending += [(child, below) for child in node.children(preimage)]
        if missing:
            raise PreimagesMissing(missing)
        return stated_seeds_tree(leaves)


@dataclass(frozen=True)
class _Node:
    level: int
    position: int
    hash: bytes
    siblings: tuple[bytes, ...]

    def wrong(self, preimage: bytes, *, of_seeds: bool) -> SubmittedNode:
        return SubmittedNode(of_seeds, self.position, preimage, self.siblings, self.hash)

    def children(self, preimage: bytes) -> tuple[_Node, _Node]:
        left, right = preimage[1:33], preimage[33:]
        level, position = self.level - 1, 2 * self.position
        return (
            _Node(level, position, left, (right, *self.siblings)),
            _Node(level, position + 1, right, (left, *self.siblings)),
        )
