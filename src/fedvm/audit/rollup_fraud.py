"""Finds what is wrong with a roll-up, as evidence that the Rollups contract accepts.

Known data are judged first. The rest is demanded only if nothing is wrong with these.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedvm.audit.preimages import Preimages
from fedvm.audit.rollup_walk import StatedRecord, differing_leaf, open_records
from fedvm.audit.vector_walk import PreimagesMissing
from fedvm.chain.artifacts import ROLLUPS
from fedvm.chain.court import Evidence, Fraud
from fedvm.chain.direct import DirectState, DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RollupSubmitted, SubmittedDirectly
from fedvm.chain.rollups import RollupJudge, rollup_judge
from fedvm.evm.keccak import keccak
from fedvm.protocol import Record, Rollup, Submission
from fedvm.protocol.address import Address
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.rollup import COUNTS
from fedvm.protocol.submissions import is_submission

_BEFORE_THE_FIRST = StatedRecord(0, Record(Address("0x" + "00" * 20), 0, 0, 0, 0, EMPTY), (), None)


def rollup_case(contract: FederationContract, number: int, first_block: int) -> RollupCase | None:
    """The roll-up of an open federation's round; None if its updates were relayed one by one. first_block: at or before
    the round's opening."""
    submitted: list[SubmittedDirectly] = []
    for event in contract.events([RollupSubmitted, SubmittedDirectly], first=first_block):
        if isinstance(event, SubmittedDirectly) and event.round == number:
            submitted.append(event)
        if isinstance(event, RollupSubmitted) and event.round == number:
            return RollupCase(contract, event, tuple(submitted))
    return None


@dataclass
class RollupCase:
    """The roll-up of the round that is challenged.

    submitted: updates of the round that members submitted themselves. right: digests of records that were judged and
    are right.
    """

    contract: FederationContract
    stated: RollupSubmitted
    submitted: tuple[SubmittedDirectly, ...] = ()
    right: set[bytes] = field(default_factory=set)

    def examine(self, source: Preimages) -> Evidence | Rollup:
        """Evidence against the roll-up, or the roll-up itself if everything in it is right.

        source: what is known of the hashes stated. Raises PreimagesMissing when more must be asked for.
        """
        opened = open_records(self.stated.records_root, self.stated.records, source)
        if isinstance(opened, Evidence):
            return opened
        evidence = self._sequence_fraud(opened.records) or self._record_fraud(opened.records)
        if evidence is not None:
            return evidence
        if opened.missing:
            raise PreimagesMissing(opened.missing)
        ordered = [opened.records[index] for index in range(self.stated.records)]
        submissions = tuple(one.submission for one in ordered if one.submission is not None)
        rollup = Rollup(tuple(one.record for one in ordered), submissions)
        return self._omission(ordered) or self._range_fraud(ordered, rollup, source) or rollup

    def _sequence_fraud(self, records: dict[int, StatedRecord]) -> Evidence | None:
        for index, one in records.items():
            before = records.get(index - 1) if index else _BEFORE_THE_FIRST
            if before is not None and not self._follows(before.record, one):
                arguments = (before.as_tuple(), one.as_tuple())
                return Evidence(Fraud.WRONG_SEQUENCE, "proveWrongSequence", arguments, ROLLUPS)
        return None

    def _follows(self, before: Record, one: StatedRecord) -> bool:
        record, stated = one.record, self.stated
        ascends = int(record.member, 16) > int(before.member, 16)
        counted = record.accepted == before.accepted + (record.reason == COUNTS)
        if one.index == stated.records - 1:
            counted = counted and (record.accepted, record.total) == (stated.accepted, stated.total_weight)
        return ascends and counted and record.total == before.total + record.weight

    def _record_fraud(self, records: dict[int, StatedRecord]) -> Evidence | None:
        new = [one for one in records.values() if one.record.digest() not in self.right]
        if not new:
            return None
        stated = self.stated
        members = {one.record.member for one in new}
        judge = rollup_judge(self.contract, stated.round, members, stated.judged_at)
        return next(filter(None, (self._judge(one, judge) for one in new)), None)

    def _judge(self, one: StatedRecord, judge: RollupJudge) -> Evidence | None:
        record = one.record
        if one.submission is None and record.submission != EMPTY:
            return None
        if one.submission is None or not is_submission(one.submission):
            malformed = (one.as_tuple(), one.submission or b"")
            return Evidence(Fraud.WRONG_RECORD, "proveMalformedSubmission", malformed, ROLLUPS)
        submission = _submission(one)
        reason = judge.reason_where_stated(submission, record.reason)
        if (record.reason, record.weight) == (reason, judge.weight(submission, reason)):
            self.right.add(record.digest())
            return None
        arguments = (one.as_tuple(), submission.as_tuple())
        return Evidence(Fraud.WRONG_RECORD, "proveWrongRecord", arguments, ROLLUPS)

    def _omission(self, ordered: list[StatedRecord]) -> Evidence | None:
        """Evidence that a waiting update is omitted: its member has no record, or one of another submission that does
        not count."""
        for submitted in self.submitted:
            member = submitted.member
            at = next((one for one in ordered if int(one.record.member, 16) >= int(member, 16)), ordered[-1])
            own = keccak(submitted.submission.to_bytes())
            is_there = at.record.member == member
            if is_there and (at.record.reason == COUNTS or at.record.submission == own):
                continue
            direct = DirectSubmissionsContract.of(self.contract)
            if direct.update_of(self.stated.round, member).state is not DirectState.WAITING:
                continue
            before = ordered[at.index - 1] if at.index else _BEFORE_THE_FIRST
            arguments = (member, before.as_tuple(), at.as_tuple())
            return Evidence(Fraud.OMISSION, "proveOmission", arguments, ROLLUPS)
        return None

    def _range_fraud(self, ordered: list[StatedRecord], rollup: Rollup, source: Preimages) -> Evidence | None:
        found = differing_leaf(self.stated.peaks_by_height, rollup.range, source)
        if found is None or isinstance(found, Evidence):
            return found
        counted = [one for one in ordered if one.record.reason == COUNTS]
        one = counted[found.index]
        arguments = (one.as_tuple(), _submission(one).as_tuple(), found.hash, list(found.siblings))
        return Evidence(Fraud.WRONG_COMMITMENT, "proveWrongCommitment", arguments, ROLLUPS)


def _submission(one: StatedRecord) -> Submission:
    return Submission.parse(one.record.member, one.submission or b"")
