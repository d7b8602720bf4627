"""What the report says of a run whose rounds were sealed: its groups, and how long their sums were."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import numpy as np

from fedvm.chain.epochs import EpochsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.genuine import is_sealed
from fedvm.chain.sealed_rounds import RoundClosed, SealedRollupSubmitted, SealedRoundsContract
from fedvm.pipeline.results import GroupRow, SealedFacts, SealedRoundRow
from fedvm.protocol import Rules
from fedvm.protocol.sealed.bitmaps import set_bits
from fedvm.protocol.sealed.close import Close, GroupClose
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.masks import read_signed
from fedvm.protocol.sealed.records import SealedFile, SealedSubmission
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.sealed.unmasking import Seeds, unmask
from fedvm.store import Store


def sealed_facts(
    contract: FederationContract, store: Store, final: Collection[int], first_block: int = 0
) -> SealedFacts | None:
    """The groups of the final rounds; None if the federation's rounds are open. final: numbers of these rounds.
    first_block: at or before the federation's creation. Raises as the store and the chain."""
    if not is_sealed(contract.w3, contract.address):
        return None
    epochs, rounds = EpochsContract.of(contract), SealedRoundsContract.of(contract)
    rules, sealed, found = contract.rules(), epochs.sealed_rules(), list[SealedRoundRow]()
    agreed = cache(lambda number: epochs.agreed(number, first_block))
    closed: dict[int, RoundClosed] = {}
    for event in rounds.events(first=first_block):
        if isinstance(event, RoundClosed):
            closed[event.round] = event
        elif event.round in final:
            one = closed[event.round]
            close = Close(agreed(one.epoch), event.round, one.included)
            found.append(SealedRoundRow(event.round, _groups(event, close, store, rules, sealed)))
    return SealedFacts(sealed.group_size, sealed.min_groups, tuple(found))


def _groups(
    event: SealedRollupSubmitted, close: Close, store: Store, rules: Rules, sealed: SealedRules
) -> tuple[GroupRow, ...]:
    file = SealedFile.parse(store.get(event.cid))
    by_place = {record.place: one for record, one in zip(file.records, file.parsed, strict=True)}
    weights = {record.place: record.weight for record in file.records}
    left, rows, width = iter(file.seeds), list[GroupRow](), lane_bytes(rules, sealed)
    for number in set_bits("counting", event.counting, close.epoch.draw.grouping.groups):
        group = close.groups[number]
        seeds = {name: next(left) for name in group.wanted}
        places = [group.group.first + rank for rank in group.included]
        weight = sum(weights[place] for place in places)
        sums = _sum(group, [by_place[place] for place in places], seeds, store, rules, width)
        unit = float(weight << rules.fraction_bits)
        share = sealed.group_norm_ppm / 1_000_000
        bound = (weight * share) ** 2 * rules.max_sum_squares + sealed.noise_squares * len(places)
        length = float(np.linalg.norm(sums.astype(np.float64)))
        # Either so many put their shares together; or the fewest that make a sum are included, all but one of them.
        needed = min(group.group.threshold, group.group.least_included - 1)
        shape = number, len(group.group.members), len(places), needed
        rows.append(GroupRow(*shape, weight, length / unit, bound**0.5 / unit))
    return tuple(rows)


def _sum(
    group: GroupClose,
    submissions: list[SealedSubmission],
    seeds: Seeds,
    store: Store,
    rules: Rules,
    width: int,
) -> np.ndarray:
    """S of a group, int64 (elements,)."""
    total = np.zeros(rules.elements, dtype=np.int64)
    for rank, one in zip(group.included, submissions, strict=True):
        file = MaskedFile.parse(store.get(one.masked.cid), group.group, rules.elements, width)
        total += unmask(group, rank, file.lanes, seeds, width)
    return read_signed(total, width)
