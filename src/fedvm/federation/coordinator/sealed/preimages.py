"""What can be asked about a sealed proposal, computed again from the store: every hash that was stated or signed, and
the seeds that were revealed. What stays hidden is not here, and the contract lets nobody ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from fedvm.protocol import ProofError, model_tree
from fedvm.protocol.preimages import of_aggregation, of_vector
from fedvm.protocol.sealed.aggregation import sealed_tree
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.recomputation import Terms, counted_updates
from fedvm.protocol.sealed.records import SealedFile
from fedvm.protocol.sealed.trees import SEED, masked_tree, seeds_tree
from fedvm.store import Store, StoreError
from fedvm.store.vectors import stored_vector


def sealed_preimages(
    close: Close,
    counting: tuple[int, ...],
    file: SealedFile,
    store: Store,
    terms: Terms,
    model_cid: bytes,
) -> Iterator[bytes]:
    """The preimage of every hash that can be asked for, as far as the store has the data for it. model_cid: binary, of
    the proposed model."""
    elements, width = terms.base.size, terms.lane_bytes
    for record, submission in zip(file.records, file.submissions, strict=True):
        yield record.preimage()
        yield submission
    yield from file.range.nodes()
    with suppress(StoreError):
        yield from of_vector(model_tree(stored_vector(store, model_cid, elements)))
    files: dict[int, MaskedFile] = {}
    for record, one in zip(file.records, file.parsed, strict=True):
        group = close.groups[close.epoch.draw.grouping.group_of(record.place)].group
        with suppress(StoreError):  # the update is lost: demands for it stay open
            files[record.place] = MaskedFile.parse(store.get(one.masked.cid), group, elements, width)
    yield from _submitted(close, counting, file, files, width, elements)
    with suppress(ProofError):  # the nodes above a lost update cannot be computed
        yield from _aggregated(close, counting, file, files, terms)


def _submitted(
    close: Close,
    counting: tuple[int, ...],
    file: SealedFile,
    files: Mapping[int, MaskedFile],
    width: int,
    elements: int,
) -> Iterator[bytes]:
    seeds = iter(file.seeds)
    for number in counting:
        group = close.groups[number]
        revealed = {name: next(seeds) for name in group.wanted}
        for rank in group.included:
            place = group.group.first + rank
            where = close.epoch.draw.domain.place(close.round, group.group.members[rank])
            context = where.context(elements)
            for (owner, other), seed in revealed.items():
                if owner == rank:
                    yield SEED + context + other.to_bytes(1) + seed
            if place in files:
                yield from seeds_tree(group.group, files[place].commitments).preimages()
                yield from masked_tree(files[place].lanes, width, context).preimages()


def _aggregated(
    close: Close,
    counting: tuple[int, ...],
    file: SealedFile,
    files: Mapping[int, MaskedFile],
    terms: Terms,
) -> Iterator[bytes]:
    groups = list(counted_updates(close, counting, file, files, terms))
    tree = sealed_tree(groups, close.epoch.draw.grouping.height, terms.lane_bytes)
    yield from of_aggregation(reversed(list(tree.nodes())))
    for node in tree.group_nodes:
        yield from node.norm.preimages()
