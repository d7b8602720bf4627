"""Open the sum of one group from its members' shares: the work of the coordinator that grows with the model, done group
by group so that processes can share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedvm.protocol import Domain, Rules
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.aggregation_fold import GroupSubtotal, group_subtotal
from fedvm.protocol.sealed.close import GroupClose, SeedName
from fedvm.protocol.sealed.coordinator import open_group
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.recomputation import make_record
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.sealed.unmasking import unmask
from fedvm.store import Store


@dataclass(frozen=True)
class ClosedGroup:
    """A group of a closed round whose sum may become known. It pickles if its store does.

    submissions: of included members, by rank; their files are in the store. answers: of ready members, by rank. height:
    of the groups' trees.
    """

    store: Store
    domain: Domain
    round: int
    group: GroupClose
    height: int
    rules: Rules
    sealed: SealedRules
    submissions: Mapping[int, SealedSubmission]
    answers: Mapping[int, bytes]


@dataclass(frozen=True)
class OpenedGroup:
    """A group that can count: the seeds that were revealed, by name, and what its sum came to."""

    group: GroupClose
    seeds: Mapping[SeedName, bytes]
    sums: GroupSubtotal


def open_sum(closed: ClosedGroup) -> OpenedGroup | None:
    """The seeds and the sum of a group; None if too few shares came, or its norm is beyond the bound.

    Raises StoreError if a file is lost, EncodingError if it is another's.
    """
    group, members, rules = closed.group, closed.group.group.members, closed.rules
    width = lane_bytes(rules, closed.sealed)
    files = {
        rank: MaskedFile.parse(closed.store.get(one.masked.cid), group.group, rules.elements, width)
        for rank, one in closed.submissions.items()
    }
    places = {rank: closed.domain.place(closed.round, members[rank]) for rank in files}
    opened = open_group(
        group,
        closed.answers,
        {rank: file.commitments for rank, file in files.items()},
        {rank: place.context(rules.elements) for rank, place in places.items()},
    )
    if opened.missed is not None:
        return None
    updates = []
    for rank in group.included:
        record = make_record(closed.submissions[rank], group.group.first + rank, rules)
        values = unmask(group, rank, files[rank].lanes, opened.seeds, width)
        updates.append(UnmaskedUpdate(record.weight, values, record.digest()))
    found = group_subtotal(updates, closed.height, width)
    bound = rules.max_sum_squares
    if not closed.sealed.norm_allows(found.squares, found.weight, found.included, bound):
        return None
    return OpenedGroup(group, opened.seeds, found)
