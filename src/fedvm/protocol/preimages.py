"""Preimages of the hashes in a proposal and in a roll-up, for publishing and for answering demands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fedvm.evm.keccak import keccak
from fedvm.protocol.aggregation import AggregationNode
from fedvm.protocol.commitments import Commitment, commitment_tree
from fedvm.protocol.hashing import CHUNK, EMPTY, UPDATE_LEAF, UPDATE_NODE, chunk_count, chunk_length
from fedvm.protocol.rollup import COUNTS, RECORD_LEAF, Record, record_tree, rollup_entries
from fedvm.protocol.submissions import Submission, is_submission
from fedvm.protocol.trees import PlainTree, UpdateTree
from fedvm.protocol.vector import to_bytes


def of_vector(tree: PlainTree) -> Iterator[bytes]:
    """Preimages of the root, all nodes and all leaves of a model or a vector of sums, each after what it lies below."""
    kind = tree.kind
    yield kind.root + tree.vector.size.to_bytes(8) + tree.hashes[-1][0]
    for level in reversed(tree.hashes[:-1]):
        below = iter(level)
        for left, right in zip(below, below, strict=True):
            yield kind.node + left + right
    data, step = to_bytes(tree.vector), CHUNK * kind.width
    for index in range(chunk_count(tree.vector.size)):
        count = chunk_length(tree.vector.size, index)
        yield kind.leaf + index.to_bytes(4) + count.to_bytes(4) + data[index * step : (index + 1) * step]


def of_update(tree: UpdateTree) -> Iterator[bytes]:
    """Preimages of all nodes and leaves of an update, each after what it lies below."""
    for hashes, sums in zip(reversed(tree.hashes[:-1]), reversed(tree.sums[:-1]), strict=True):
        for at in range(0, len(hashes), 2):
            left = hashes[at] + sums[at].to_bytes(16)
            yield UPDATE_NODE + left + hashes[at + 1] + sums[at + 1].to_bytes(16)
    data, size = to_bytes(tree.vector), tree.vector.size
    for index in range(chunk_count(size)):
        header = UPDATE_LEAF + tree.context + index.to_bytes(4) + chunk_length(size, index).to_bytes(4)
        payload = data[index * CHUNK * 4 : (index + 1) * CHUNK * 4]
        yield header + tree.sums[0][index].to_bytes(16) + payload


def of_aggregation(nodes: Iterable[AggregationNode]) -> Iterator[bytes]:
    """Preimages of nodes of an aggregation tree, and of their vectors of sums."""
    for node in nodes:
        yield node.preimage
        yield from of_vector(node.sums)


def of_rollup(file: bytes) -> Iterator[bytes]:
    """Preimages of the records and submissions in a roll-up's published file, and of the trees over them, as far as the
    file can be read. Whether they match the roll-up on chain is not checked."""
    leaves: list[bytes] = []
    commitments: list[Commitment] = []
    for preimage, submission in rollup_entries(file):
        yield preimage
        yield submission
        leaves.append(keccak(preimage))
        if is_submission(submission) and preimage[:1] == RECORD_LEAF:
            record = Record.parse(preimage)
            if record.reason == COUNTS:
                update = Submission.parse(record.member, submission).update
                stated = (record.member, record.weight, update.update_root, update.sum_squares)
                commitments.append(Commitment(*stated))
    if leaves:
        yield from record_tree(leaves).nodes()
    yield from of_commitments(commitments)


def of_commitments(commitments: Sequence[Commitment]) -> Iterator[bytes]:
    """Preimages of all leaves and nodes of the mountain range over a round's updates."""
    yield from (commitment.preimage() for commitment in commitments)
    yield from commitment_tree(commitments).nodes()


_IN_TREE: Final = {
    0x01: (97, (1, 49)),
    0x03: (65, (1, 33)),
    0x04: (41, (9,)),
    0x06: (65, (1, 33)),
    0x07: (41, (9,)),
    0x09: (105, (41, 73)),
    0x0A: (73, (25,)),
    0x0B: (65, (1, 33)),
    0x0D: (65, (1, 33)),
    0x34: (65, (1, 33)),
    0x39: (65, (1, 33)),
    0x3A: (41, (9,)),
    0x3C: (105, (41, 73)),
    0x3E: (129, (1, 65)),
    0x3F: (65, (33,)),
}
"""By the first byte: the length of a preimage, and where it holds the hashes of what lies below it in its tree."""


def children(preimage: bytes) -> tuple[bytes, ...]:
    """Hashes of what lies below a node in its tree, as an answer on the chain opens them; none of a leaf or of what has
    not the length of its kind."""
    length, places = _IN_TREE.get(preimage[0] if preimage else -1, (0, ()))
    if len(preimage) != length:
        return ()
    return tuple(found for at in places if (found := preimage[at : at + 32]) != EMPTY)


def by_hash(*groups: Iterable[bytes]) -> dict[bytes, bytes]:
    """Preimages by their keccak-256."""
    return {keccak(preimage): preimage for group in groups for preimage in group}
