"""Settle a sealed round: close it, open the sums of its groups, state which count, propose what they come to.

Data are stored before the chain is told of them. A coordinator that is killed after the close, and before the roll-up,
gives the round up: members answer for one included set only, so nothing is revealed by trying the same base again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from flwr.app import ConfigRecord
from flwr.serverapp import Grid

from fedvm.chain.federation_types import Premises, Proposal, RoundState
from fedvm.chain.sealed_rounds import sealed_rollup
from fedvm.federation.coordinator.ledger import LedgerRound
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.sealed.accepted import accepted_of
from fedvm.federation.coordinator.sealed.epochs import MARGIN, EpochKeeper, Request
from fedvm.federation.coordinator.settlement import Refused, Settlement, require_same
from fedvm.federation.errors import CommitmentError, LedgerMismatch
from fedvm.federation.sealed.messages import SharesReply, SharesRequest
from fedvm.protocol import EncodingError, ProofError, SignatureError, model_root, to_bytes
from fedvm.protocol.address import Address
from fedvm.protocol.aggregators import aggregator_named
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.aggregation_fold import GroupSubtotal, group_subtotal
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close, GroupClose, SeedName
from fedvm.protocol.sealed.coordinator import open_group
from fedvm.protocol.sealed.deposit import part_for
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.recomputation import (
    Recomputed,
    Terms,
    check_submission,
    make_record,
    recompute,
)
from fedvm.protocol.sealed.records import SealedFile, SealedRecord, SealedSubmission
from fedvm.protocol.sealed.typed_data import Shares
from fedvm.protocol.sealed.unmasking import unmask
from fedvm.protocol.trees import aggregate_root
from fedvm.protocol.vector import IntVector
from fedvm.protocol.verdict import signs_for
from fedvm.store import Cid
from fedvm.store.masked import StoredMasked


@dataclass(frozen=True)
class SealedRound:
    """A sealed round that is being settled. grid: where the members are. base: int32 (elements,)."""

    federation: Federation
    keeper: EpochKeeper
    grid: Grid
    epoch: Epoch
    round: LedgerRound
    base: IntVector

    @cached_property
    def terms(self) -> Terms:
        """What the round goes by, which nobody can change while it stands."""
        ledger = self.federation.ledger
        return Terms(ledger.rules(), self.keeper.ledger.rules, self.base, ledger.key_in(self.round.number))

    def file_of(self, group: GroupClose, one: SealedSubmission) -> MaskedFile:
        """A member's file, from the store. Raises StoreError if it is lost, EncodingError if it is another's."""
        data = self.federation.store.get(one.masked.cid)
        return MaskedFile.parse(data, group.group, self.base.size, self.terms.lane_bytes)


@dataclass(frozen=True)
class _Opened:
    """The groups that can count, ascending, each with its seeds and what its sum came to."""

    groups: tuple[GroupClose, ...]
    seeds: tuple[Mapping[SeedName, bytes], ...]
    sums: tuple[GroupSubtotal, ...]


def settle_sealed(
    sealed: SealedRound, submissions: Sequence[SealedSubmission], withheld: tuple[Refused, ...]
) -> Settlement:
    """Bring a sealed round to its end, final or failed.

    submissions: masked updates whose files were checked and staged in the store. withheld: those whose files were not
    what their members signed.
    Raises LedgerMismatch if the store lacks or contradicts what was stated, or another result was proposed than
    follows.
    """
    ledger, number = sealed.keeper.ledger, sealed.round.number
    included = ledger.closed(number)
    if sealed.round.rolled_up:
        assert included is not None  # the contract takes no roll-up before a close
        return _proposed_again(sealed, Close(sealed.epoch, number, included))
    if included is not None:
        return _given_up(sealed, withheld)
    taken, refused = _judged(sealed, submissions)
    refused = (*refused, *withheld)
    by_place = {sealed.epoch.draw.place_of(one.member): one for one in taken}
    close = Close(sealed.epoch, number, bitmap(len(sealed.epoch.draw.roster), by_place))
    if not any(group.is_open for group in close.groups):
        return _given_up(sealed, refused)
    sealed.federation.store.sync()
    sealed.federation.ledger.hold_open(number)
    ledger.close(number, sealed.epoch, close.included)
    opened = _open_groups(sealed, close, by_place)
    counted = sum(len(group.included) for group in opened.groups)
    if len(opened.groups) < ledger.rules.min_groups or counted < sealed.terms.rules.min_clients:
        return _given_up(sealed, refused)
    file = _file(sealed, opened, by_place)
    cid = sealed.federation.store.put(file.to_bytes())
    counting = [group.group.number for group in opened.groups]
    made = sealed.terms.result(number, opened.sums)  # may leave int32: then no bond is at stake yet
    ledger.submit(number, sealed_rollup(close, counting, file, Cid.parse(cid).binary))
    return _conclude(sealed, file, made, refused)


def _judged(
    sealed: SealedRound, submissions: Sequence[SealedSubmission]
) -> tuple[list[SealedSubmission], tuple[Refused, ...]]:
    taken, refused, terms = [], [], sealed.terms
    for one in submissions:
        try:
            check_submission(one, sealed.epoch, sealed.round.number, terms)
            # The contract compares it with the time of the close, which is not known yet; none is later than this.
            if one.masked.deadline < sealed.round.deadline:
                raise EncodingError(f"the update of {one.member} expires before the round can be closed")
        except (EncodingError, SignatureError) as error:
            refused.append(Refused(one.member, str(error), "coordinator"))
            continue
        taken.append(one)
    return taken, tuple(refused)


def _given_up(sealed: SealedRound, refused: tuple[Refused, ...]) -> Settlement:
    ledger, number = sealed.federation.ledger, sealed.round.number
    ledger.fail(number)
    return Settlement(ledger.round(number), (), refused, None, None, None)


def _open_groups(sealed: SealedRound, close: Close, by_place: Mapping[int, SealedSubmission]) -> _Opened:
    """Ask ready members for their shares, and open the sums of the groups that have enough."""
    ledger, number = sealed.federation.ledger, sealed.round.number
    open_ = [group for group in close.groups if group.is_open]
    requests: dict[Address, Request] = {}
    for group in open_:
        files = {rank: sealed.file_of(group, by_place[group.group.first + rank]) for rank in group.included}
        for holder in group.group.ready:
            parts = {
                group.group.members[owner]: part_for(group.group, owner, holder, files[owner].deposit)
                for owner in group.included
                if owner != holder
            }
            requests[group.group.members[holder]] = SharesRequest(
                ledger.domain, sealed.epoch.draw.number, number, sealed.round.base_root, close.included, parts
            )
    answers: dict[Address, bytes] = {}
    key_of = ledger.key_in(number)

    def take(member: Address, record: ConfigRecord) -> None:
        reply = SharesReply.from_record(record)
        stated = Shares.over(number, close.hash, reply.shares)
        if not signs_for(stated.signer(ledger.domain, reply.signature), member, key_of):
            raise CommitmentError("its shares are signed by another key")
        answers[member] = reply.shares

    until = sealed.round.deadline - sealed.keeper.ledger.rules.unmask_seconds // MARGIN
    sealed.keeper.ask(sealed.grid, requests, take, until=until)
    groups, seeds, sums = [], [], []
    for group in open_:
        found = _opened(sealed, group, by_place, answers)
        if found is not None:
            groups.append(group)
            seeds.append(found[0])
            sums.append(found[1])
    return _Opened(tuple(groups), tuple(seeds), tuple(sums))


def _opened(
    sealed: SealedRound,
    group: GroupClose,
    by_place: Mapping[int, SealedSubmission],
    answers: Mapping[Address, bytes],
) -> tuple[Mapping[SeedName, bytes], GroupSubtotal] | None:
    """The seeds and the sum of a group; None if too few shares came, or its norm is beyond the bound."""
    members, terms = group.group.members, sealed.terms
    by_rank = {rank: by_place[group.group.first + rank] for rank in group.included}
    files = {rank: sealed.file_of(group, one) for rank, one in by_rank.items()}
    domain, number = sealed.epoch.draw.domain, sealed.round.number
    contexts = {rank: domain.place(number, members[rank]).context(sealed.base.size) for rank in files}
    opened = open_group(
        group,
        {rank: answers[members[rank]] for rank in group.group.ready if members[rank] in answers},
        {rank: file.commitments for rank, file in files.items()},
        contexts,
    )
    if opened.missed is not None:
        return None
    updates = [
        UnmaskedUpdate(
            record.weight,
            unmask(group, rank, files[rank].lanes, opened.seeds, terms.lane_bytes),
            record.digest(),
        )
        for rank in group.included
        for record in (_record(sealed, group, rank, by_place),)
    ]
    found = group_subtotal(updates, sealed.epoch.draw.grouping.height, terms.lane_bytes)
    allowed = terms.sealed.norm_allows(
        found.squares, found.weight, found.included, terms.rules.max_sum_squares
    )
    return (opened.seeds, found) if allowed else None


def _record(
    sealed: SealedRound, group: GroupClose, rank: int, by_place: Mapping[int, SealedSubmission]
) -> SealedRecord:
    place = group.group.first + rank
    return make_record(by_place[place], place, sealed.terms.rules)


def _file(sealed: SealedRound, opened: _Opened, by_place: Mapping[int, SealedSubmission]) -> SealedFile:
    records = [_record(sealed, group, rank, by_place) for group in opened.groups for rank in group.included]
    seeds = [
        found[name] for group, found in zip(opened.groups, opened.seeds, strict=True) for name in group.wanted
    ]
    submissions = tuple(by_place[record.place].to_bytes() for record in records)
    return SealedFile(tuple(records), submissions, tuple(seeds))


def _proposed_again(sealed: SealedRound, close: Close) -> Settlement:
    """Go on with a round that a run before this one rolled up."""
    store, terms = sealed.federation.store, sealed.terms
    counting, file = sealed.keeper.ledger.stated(close, store)
    vectors = StoredMasked(store, close, file, sealed.base.size, terms.lane_bytes)
    try:
        made = recompute(close, counting, file, vectors, terms)
    except (EncodingError, ProofError, SignatureError) as error:
        raise LedgerMismatch(
            f"the roll-up of round {sealed.round.number} does not follow: {error}; let the round run out and fail it"
        ) from error
    return _conclude(sealed, file, made, ())


def _conclude(
    sealed: SealedRound, file: SealedFile, made: Recomputed, refused: tuple[Refused, ...]
) -> Settlement:
    federation, number, aggregate = sealed.federation, sealed.round.number, made.aggregate
    ledger, store = federation.ledger, federation.store
    aggregate_cid = store.put(to_bytes(aggregate.sums))
    model_cid = store.put(to_bytes(aggregate.model))
    premises = Premises(len(file.records), file.total_weight, file.range.digest())
    proposal = Proposal(
        premises,
        made.root,
        aggregate_root(aggregate.sums),
        model_root(aggregate.model),
        Cid.parse(model_cid).binary,
    )
    accepted = accepted_of(number, file)
    while True:
        standing = ledger.round(number)
        if standing.status is not RoundState.PROPOSED:
            ledger.propose(number, proposal)
        else:
            require_same(number, standing, proposal, aggregator_named(sealed.terms.rules.aggregator))
        status = ledger.conclude(number)
        if status is RoundState.FINAL:
            ended = ledger.round(number)
            return Settlement(ended, accepted, refused, aggregate.model, model_cid, aggregate_cid)
        if status is RoundState.FAILED:
            return Settlement(ledger.round(number), accepted, refused, None, None, None)
