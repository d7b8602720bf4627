"""Replays sealed rounds: whose updates were included, which groups count, what their published file comes to."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.findings import Ledger, Place, cid_text
from fedvm.audit.open_round import OpenRound
from fedvm.audit.sealed_epochs import EpochReplay, Now
from fedvm.audit.sealed_verdict import Expected, signer_of
from fedvm.chain.decoding import decoded_input
from fedvm.chain.epoch_types import EPOCH_EVENTS, EpochEvent
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.events import Place as At
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import FederationEvent, RoundProposed
from fedvm.chain.rule_book import keys_in_round
from fedvm.chain.sealed_rounds import (
    RoundClosed,
    SealedEvent,
    SealedRollupSubmitted,
    SealedRoundsContract,
)
from fedvm.protocol import EncodingError, ProofError, Rules, SignatureError, model_root
from fedvm.protocol.aggregators import aggregator_named
from fedvm.protocol.refusal import Refusal
from fedvm.protocol.sealed.aggregation_fold import GroupSubtotal, group_subtotal
from fedvm.protocol.sealed.bitmaps import set_bits
from fedvm.protocol.sealed.close import Close, GroupClose
from fedvm.protocol.sealed.coordinator import check_file
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.recomputation import Terms, counted_updates, make_record
from fedvm.protocol.sealed.records import SealedFile, SealedRecord, SealedSubmission
from fedvm.protocol.sealed.rules import lane_bytes
from fedvm.protocol.sealed.unmasking import check_seed
from fedvm.protocol.trees import aggregate_root
from fedvm.protocol.vector import IntVector
from fedvm.protocol.verdict import signs_for
from fedvm.store import Store, StoreError
from fedvm.store.masked import StoredMasked

_Commitments = Mapping[int, bytes]


@dataclass
class _Round:
    """A round that was closed. file, counting: None and empty before its roll-up, or where it does not follow. wrong:
    updates and seeds that could not be verified."""

    close: Close | None
    closed_at: int
    file: SealedFile | None = None
    counting: tuple[int, ...] = ()
    wrong: int = 0


class SealedReplay:
    """Replays what a sealed federation has beside an open one into `ledger`."""

    def __init__(
        self, reader: ChainReader, contract: FederationContract, store: Store, ledger: Ledger
    ) -> None:
        self._reader, self._contract, self._store, self._ledger = reader, contract, store, ledger
        self._epochs = EpochReplay(reader, contract, ledger)
        self._domain = EpochsContract.of(contract).domain()
        self._abi = SealedRoundsContract.of(contract).contract
        self._rounds: dict[int, _Round] = {}

    def merged(self, events: Iterator[FederationEvent], first_block: int) -> Iterator[ReplayedEvent]:
        """These events of the federation and those of its epochs and sealed rounds, in the order of the chain."""
        epochs = EpochsContract.of(self._contract).events(first=first_block, last=self._reader.head)
        rounds = SealedRoundsContract.of(self._contract).events(first=first_block, last=self._reader.head)
        return heapq.merge(events, epochs, rounds, key=lambda event: _order(event.at))

    def check_rules(self, rules: Rules, open_seconds: int, place: Place) -> None:
        """Check that rules that were adopted fit those of sealed rounds."""
        try:
            self._epochs.rules.check_with(rules, open_seconds)
        except EncodingError as error:
            self._ledger.check("sealed rules", False, place, str(error))
        else:
            self._ledger.check("sealed rules", True, place, "")

    def on_epoch(self, event: EpochEvent, now: Now) -> None:
        """Check an event of the epochs."""
        self._epochs.handle(event, now)

    def on_closed(self, event: RoundClosed, opened: OpenRound) -> None:
        """Check whose updates are said to have come."""
        epoch = self._epochs.epoch_of(event.round, opened.opened_at)
        time = self._reader.time(event.at.block_number)
        place = Place(event.round, tx=event.at.tx_hash, epoch=event.epoch)
        close = None
        try:
            close = None if epoch is None else Close(epoch, event.round, event.included)
            _ = close and close.flags
        except EncodingError as error:
            self._ledger.check("close", False, place, str(error))
        parts = {
            "epoch": epoch is not None and epoch.draw.number == event.epoch,
            "hash": close is not None and close.hash == event.closed_hash,
            "time": time <= opened.deadline,
            "once": event.round not in self._rounds,
        }
        wrong = ", ".join(part for part, holds in parts.items() if not holds)
        self._ledger.check("close", not wrong, place, f"does not follow: {wrong}")
        if epoch is not None:
            self._check_ready(epoch, place)
        self._rounds[event.round] = _Round(close, time)

    def _check_ready(self, epoch: Epoch, place: Place) -> None:
        """The contract has compared the ready members that a close names with its own, so all of them were told."""
        name, arguments = decoded_input(self._abi, self._reader.calldata(place.tx))
        if name != "close" or len(arguments["ready"]) != len(epoch.ready):
            return
        told, named = (int.from_bytes(bits, "little") for bits in (epoch.ready, arguments["ready"]))
        left_out = named & ~told
        for one in (spot for spot in range(len(epoch.draw.roster)) if left_out >> spot & 1):
            self._ledger.left_out("ReadyAdded", f"place {one} in epoch {epoch.draw.number}", place)

    def on_rolled_up(
        self, event: SealedRollupSubmitted, opened: OpenRound, rules: Rules, wanted: bool
    ) -> None:
        """Check the groups that count, and, if the round is wanted, the published file as far as it can be had."""
        place = Place(event.round, tx=event.at.tx_hash, cid=cid_text(event.cid))
        opened.rolled_up = True
        self._epochs.count_round()
        opened.accepted, opened.total_weight = event.accepted, event.total_weight
        one = self._rounds.get(event.round)
        if one is None or one.close is None:
            self._ledger.check("close", False, place, "was rolled up without a close that follows")
            if one is None:
                self._ledger.left_out("RoundClosed", f"round {event.round}", place)
            return
        groups = self._counting(event, one.close, place)
        if groups is None or not wanted:
            return
        file = self._file(event, place)
        if file is None:
            return
        opened.total_weight = file.total_weight
        expected = [group.group.first + rank for group in groups for rank in group.included]
        follows = [record.place for record in file.records] == expected
        message = "its records are not those of the included members of the groups that count"
        if not self._ledger.check("round file", follows, place, message):
            return
        one.file, one.counting = file, tuple(group.group.number for group in groups)
        commitments = self._submissions(one, file, opened, rules)
        self._seeds(one, groups, commitments, rules)

    def check_final(
        self, opened: OpenRound, rules: Rules, base: IntVector | None, proposal: RoundProposed, place: Place
    ) -> None:
        """Compare a final round with what its masked updates come to."""
        one = self._rounds.get(opened.number)
        if one is None or one.close is None or one.file is None or base is None:
            what = "the base model" if one and one.file else "its close or its file"
            message = f"cannot be computed again: {what} could not be verified"
            self._ledger.unverified("aggregate", place, message)
            return
        if one.wrong:
            message = f"cannot be computed again: {one.wrong} updates or seeds could not be verified"
            self._ledger.unverified("aggregate", place, message)
            return
        self._recompute(one, one.close, one.file, self._terms(opened.number, rules, base), proposal, place)

    def _recompute(
        self,
        one: _Round,
        close: Close,
        file: SealedFile,
        terms: Terms,
        proposal: RoundProposed,
        place: Place,
    ) -> None:
        check, height = self._ledger.check, close.epoch.draw.grouping.height
        groups: list[GroupSubtotal] = []
        try:
            vectors = StoredMasked(self._store, close, file, terms.base.size, terms.lane_bytes)
            counted = counted_updates(close, one.counting, file, vectors, terms)
            for number, updates in zip(one.counting, counted, strict=True):
                node = group_subtotal(updates, height, terms.lane_bytes)
                bound = terms.rules.max_sum_squares
                allowed = terms.sealed.norm_allows(node.squares, node.weight, node.included, bound)
                where = Place(close.round, tx=place.tx, group=number)
                message = f"the squares of its sum come to {node.squares}, more than the rules allow a group"
                check("group norm", allowed, where, message)
                groups.append(node)
            made = terms.result(close.round, groups)
        except (EncodingError, ProofError, SignatureError, StoreError) as error:
            check("aggregate", False, place, f"cannot be computed again: {error}")
            return
        check(
            "aggregate",
            (made.root, aggregate_root(made.aggregate.sums))
            == (proposal.aggregation_root, proposal.aggregate_root),
            place,
            "the sum of the groups that count has another root",
        )
        rule = aggregator_named(terms.rules.aggregator)
        message = f"base plus {rule.name} of the groups has another root than the model stated"
        check("model", model_root(made.aggregate.model) == proposal.model_root, place, message + rule.caveat)

    def _terms(self, number: int, rules: Rules, base: IntVector) -> Terms:
        return Terms(rules, self._epochs.rules, base, keys_in_round(self._contract, number))

    def _counting(self, event: SealedRollupSubmitted, close: Close, place: Place) -> list[GroupClose] | None:
        check = self._ledger.check
        try:
            numbers = set_bits("counting", event.counting, close.epoch.draw.grouping.groups)
        except EncodingError as error:
            check("counting groups", False, place, str(error))
            return None
        groups = [close.groups[number] for number in numbers]
        closed = [group.group.number for group in groups if not group.is_open]
        accepted, least = sum(len(group.included) for group in groups), self._epochs.rules.min_groups
        parts = {
            f"groups {closed} are void or not fit": not closed,
            f"{len(groups)} groups are fewer than {least}": len(groups) >= least,
            f"they have {accepted} included members, not {event.accepted}": accepted == event.accepted,
        }
        wrong = "; ".join(part for part, holds in parts.items() if not holds)
        return groups if check("counting groups", not wrong, place, wrong) else None

    def _file(self, event: SealedRollupSubmitted, place: Place) -> SealedFile | None:
        check = self._ledger.check
        try:
            file = SealedFile.parse(self._store.get(event.cid))
            peaks = [file.range.peak(height) for height in sorted(file.range.peaks, reverse=True)]
            _ = file.parsed
        except (StoreError, EncodingError) as error:
            self._ledger.unreadable("round file", place, error)
            return None
        same = tuple(peaks) == event.peaks and file.total_weight == event.total_weight
        message = "its records have another root, or another weight, than the chain's"
        return file if check("round file", same, place, message) else None

    def _submissions(
        self, one: _Round, file: SealedFile, opened: OpenRound, rules: Rules
    ) -> dict[int, _Commitments]:
        """Check each update that counts; the commitments to seeds of those that are right, by place."""
        found: dict[int, _Commitments] = {}
        for record, submission in zip(file.records, file.parsed, strict=True):
            commitments = self._submission(one, record, submission, opened, rules)
            if commitments is not None:
                found[record.place] = commitments
        one.wrong = len(file.records) - len(found)
        return found

    def _submission(
        self,
        one: _Round,
        record: SealedRecord,
        submission: SealedSubmission,
        opened: OpenRound,
        rules: Rules,
    ) -> _Commitments | None:
        assert one.close is not None
        check, close, masked = self._ledger.check, one.close, submission.masked
        place = Place(close.round, submission.member, cid=cid_text(masked.cid))
        follows = submission.member == close.epoch.draw.seats[record.place].member and record == make_record(
            submission, record.place, rules
        )
        message = f"the record of place {record.place} does not follow from the submission of its member"
        right = check("record", follows, place, message)
        signer = signer_of(submission, self._domain)
        signed = signs_for(signer, submission.member, keys_in_round(self._contract, close.round))
        right &= check("signature", signed, place, f"signed by {signer or 'no possible key'}")
        expected = Expected(rules, close.round, opened.base_root, close.epoch.root, one.closed_at)
        reason = expected.refusal(masked)
        right &= check("submission", reason is Refusal.NONE, place, f"counts, but is {reason.label}")
        try:
            data = self._store.get(masked.cid)
        except StoreError as error:
            self._ledger.unreadable("update data", place, error)
            return None
        check("update data", True, place, "")
        width = lane_bytes(rules, self._epochs.rules)
        try:
            read = check_file(close.epoch, submission.member, masked, data, rules.elements, width)
        except (EncodingError, ProofError) as error:
            check("update root", False, place, str(error))
            return None
        check("update root", True, place, "")
        return read.commitments if right else None

    def _seeds(
        self,
        one: _Round,
        groups: list[GroupClose],
        commitments: Mapping[int, _Commitments],
        rules: Rules,
    ) -> None:
        assert one.close is not None and one.file is not None
        close, file, check = one.close, one.file, self._ledger.check
        wanted = [(group, name) for group in groups for name in group.wanted]
        if len(file.seeds) != len(wanted):
            message = f"the file reveals {len(file.seeds)} seeds; the groups that count take {len(wanted)}"
            check("seed", False, Place(close.round), message)
            one.wrong += 1
            return
        for (group, name), seed in zip(wanted, file.seeds, strict=True):
            own = commitments.get(group.group.first + name[0])
            if own is None:
                continue  # its update is a finding already
            member = group.group.members[name[0]]
            context = self._domain.place(close.round, member).context(rules.elements)
            place = Place(close.round, member, group=group.group.number)
            try:
                check_seed(name, seed, own[name[1]], context)
            except ProofError as error:
                check("seed", False, place, str(error))
                one.wrong += 1
            else:
                check("seed", True, place, "")


ReplayedEvent = FederationEvent | EpochEvent | SealedEvent
EPOCH_KINDS = tuple(EPOCH_EVENTS.values())


def _order(at: At) -> tuple[int, int]:
    return at.block_number, at.log_index
