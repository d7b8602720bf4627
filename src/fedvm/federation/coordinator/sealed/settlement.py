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
from fedvm.federation.coordinator.reception import Spread
from fedvm.federation.coordinator.sealed.accepted import accepted_of
from fedvm.federation.coordinator.sealed.epochs import MARGIN, EpochKeeper, Request
from fedvm.federation.coordinator.sealed.opening import ClosedGroup, OpenedGroup, open_sum
from fedvm.federation.coordinator.settlement import Refused, Settlement, require_same
from fedvm.federation.errors import CommitmentError, LedgerMismatch
from fedvm.federation.sealed.messages import SharesReply, SharesRequest
from fedvm.protocol import EncodingError, ProofError, SignatureError, model_root, to_bytes
from fedvm.protocol.address import Address
from fedvm.protocol.aggregators import aggregator_named
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close, GroupClose
from fedvm.protocol.sealed.deposit import parts_of
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.masked_file import read_deposit
from fedvm.protocol.sealed.recomputation import (
    Recomputed,
    Terms,
    check_submission,
    make_record,
    recompute,
)
from fedvm.protocol.sealed.records import SealedFile, SealedRecord, SealedSubmission
from fedvm.protocol.sealed.typed_data import Shares
from fedvm.protocol.trees import aggregate_root
from fedvm.protocol.vector import IntVector
from fedvm.protocol.verdict import signs_for
from fedvm.store import Cid
from fedvm.store.masked import StoredMasked


@dataclass(frozen=True)
class SealedRound:
    """A sealed round that is being settled. grid: where the members are. base: int32 (elements,). spread: runs the sums
    of groups, in workers if there are any."""

    federation: Federation
    keeper: EpochKeeper
    grid: Grid
    epoch: Epoch
    round: LedgerRound
    base: IntVector
    spread: Spread = map

    @cached_property
    def terms(self) -> Terms:
        """What the round goes by, which nobody can change while it stands."""
        ledger = self.federation.ledger
        return Terms(ledger.rules(), self.keeper.ledger.rules, self.base, ledger.key_in(self.round.number))

    def parts_of(self, group: GroupClose, rank: int, one: SealedSubmission) -> dict[int, bytes]:
        """What an included member left for each other ready one, by rank, from its file in the store. Raises StoreError
        if that is lost, EncodingError if it is another's."""
        data = self.federation.store.get(one.masked.cid)
        deposit = read_deposit(data, group.group, self.base.size, self.terms.lane_bytes)
        return parts_of(group.group, rank, deposit)


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
    counted = sum(len(one.group.included) for one in opened)
    if len(opened) < ledger.rules.min_groups or counted < sealed.terms.rules.min_clients:
        return _given_up(sealed, refused)
    file = _file(sealed, opened, by_place)
    cid = sealed.federation.store.put(file.to_bytes())
    counting = [one.group.group.number for one in opened]
    made = sealed.terms.result(
        number, [one.sums for one in opened]
    )  # may leave int32: then no bond is at stake yet
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


def _open_groups(
    sealed: SealedRound, close: Close, by_place: Mapping[int, SealedSubmission]
) -> list[OpenedGroup]:
    """Ask ready members for their shares, and open the sums of the groups that have enough: those that can count, in
    ascending order."""
    ledger, number = sealed.federation.ledger, sealed.round.number
    open_ = [group for group in close.groups if group.is_open]
    requests: dict[Address, Request] = {}
    for group in open_:
        left = {
            rank: sealed.parts_of(group, rank, by_place[group.group.first + rank]) for rank in group.included
        }
        for holder, member in _ready(group):
            parts = {
                group.group.members[owner]: parts[holder] for owner, parts in left.items() if owner != holder
            }
            requests[member] = SharesRequest(
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
    domain, height = sealed.epoch.draw.domain, sealed.epoch.draw.grouping.height
    closed = [
        ClosedGroup(
            sealed.federation.store,
            domain,
            number,
            group,
            height,
            sealed.terms.rules,
            sealed.terms.sealed,
            {rank: by_place[group.group.first + rank] for rank in group.included},
            {rank: answers[who] for rank, who in _ready(group) if who in answers},
        )
        for group in open_
    ]
    return [one for one in sealed.spread(open_sum, closed) if one is not None]


def _ready(group: GroupClose) -> list[tuple[int, Address]]:
    return [(rank, group.group.members[rank]) for rank in group.group.ready]


def _record(
    sealed: SealedRound, group: GroupClose, rank: int, by_place: Mapping[int, SealedSubmission]
) -> SealedRecord:
    place = group.group.first + rank
    return make_record(by_place[place], place, sealed.terms.rules)


def _file(
    sealed: SealedRound, opened: Sequence[OpenedGroup], by_place: Mapping[int, SealedSubmission]
) -> SealedFile:
    records = [_record(sealed, one.group, rank, by_place) for one in opened for rank in one.group.included]
    seeds = [one.seeds[name] for one in opened for name in one.group.wanted]
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
            if not ledger.store_evidence(number, proposal):
                ledger.fail(number)
                return Settlement(ledger.round(number), accepted, refused, None, None, None)
            ledger.propose(number, proposal)
        else:
            require_same(number, standing, proposal, aggregator_named(sealed.terms.rules.aggregator))
        status = ledger.conclude(number)
        if status is RoundState.FINAL:
            ended = ledger.round(number)
            return Settlement(ended, accepted, refused, aggregate.model, model_cid, aggregate_cid)
        if status is RoundState.FAILED:
            return Settlement(ledger.round(number), accepted, refused, None, None, None)
