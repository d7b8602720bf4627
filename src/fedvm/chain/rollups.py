"""Roll-ups of a round: how the coordinator judges and submits them, and how anyone reads them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from fedvm.chain.artifacts import ROLLUPS, contract_at
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RollupSubmitted, UpdateAccepted, UpdateRefused
from fedvm.chain.passing_time import await_block_after
from fedvm.chain.rule_book import keys_in_round
from fedvm.chain.sender import Receipt
from fedvm.protocol import Domain, EncodingError, Judged, Refusal, Rollup, Rules, Submission, roll_up
from fedvm.protocol.address import by_address
from fedvm.protocol.journal import EMPTY_JOURNAL
from fedvm.protocol.submissions import SIGNATURE_BYTES
from fedvm.protocol.verdict import Circumstances, verdict


@dataclass(frozen=True)
class RollupJudge:
    """Judges updates by the rules, as the contract `Rollups` would. stakeless: members whose stake is too low; left,
    restaked: members who left, or whose stake changed, during the round. Nobody can tell what the coordinator saw of
    these members, so the contract accepts what the record says of them.
    """

    around: Circumstances
    stakeless: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    restaked: frozenset[str] = frozenset()

    def reason(self, submission: Submission) -> Refusal:
        """The reason why an update does not count; NONE if it counts."""
        found = verdict(submission.member, submission.update, submission.signature, self.around)
        if found is Refusal.NONE and submission.member in self.stakeless:
            return Refusal.STAKE_TOO_LOW
        return found

    def reason_where_stated(self, submission: Submission, stated: int) -> Refusal:
        """What the contract holds the reason to be when a record states ``stated``, the number of a `Refusal`."""
        member = submission.member
        if stated == Refusal.NOT_MEMBER and member in self.left:
            return Refusal.NOT_MEMBER
        if member in self.restaked:
            found = verdict(member, submission.update, submission.signature, self.around)
            believed = found is Refusal.NONE and stated == Refusal.STAKE_TOO_LOW
            return Refusal.STAKE_TOO_LOW if believed else found
        return self.reason(submission)

    def weight(self, submission: Submission, reason: Refusal) -> int:
        """The weight of an update with this reason; 0 if it does not count."""
        return self.rules.weight(submission.update.examples) if reason is Refusal.NONE else 0

    @property
    def rules(self) -> Rules:
        """The rules of the round."""
        return self.around.rules


def rollup_judge(
    contract: FederationContract,
    number: int,
    accounts: Iterable[str],
    judged_at: int,
    *,
    of: Iterable[str] | None = None,
) -> RollupJudge:
    """A judge of the roll-up of the latest round, from the contract as it stands.

    accounts: members (checksummed) whose updates will be judged; judged_at: Unix seconds, see `RollupSubmitted`; of:
    the federation's members, if they are known; the contract is asked about each account otherwise.
    """
    round_, stake = contract.round(number), contract.security().stake
    wanted = set(accounts)
    members = {one for one in wanted if contract.is_member(one)} if of is None else set(of)
    changed = {one for one in wanted if stake and contract.stake_changed_at(one) >= round_.opened_at}
    left = {one for one in wanted - members if contract.left_in(one) == number}
    around = Circumstances(
        domain=Domain(int(contract.w3.eth.chain_id), contract.address),
        rules=contract.rules(),
        members=frozenset(members | left),
        round=number,
        base_root=contract.model_root(),
        deadline=round_.deadline,
        last_member="",
        time=judged_at,
        key_of=keys_in_round(contract, number),
    )
    stakeless = {one for one in wanted if stake and contract.stake_of(one) < stake}
    return RollupJudge(around, frozenset(stakeless), frozenset(left), frozenset(changed))


def judged_rollup(judge: RollupJudge, submissions: Sequence[Submission]) -> Rollup:
    """The roll-up of the received updates, one per member. An update that no contract could take, since its signature
    does not have 65 bytes, is left out. Raises EncodingError if none is left."""
    judged = []
    for one in sorted(submissions, key=lambda submission: by_address(submission.member)):
        if len(one.signature) != SIGNATURE_BYTES:
            continue
        reason = judge.reason(one)
        weight = judge.weight(one, reason)
        judged.append(Judged(one.member, one.update, one.signature, int(reason), weight))
    return roll_up(judged)


def judged_again(judge: RollupJudge, stated: Rollup) -> Rollup:
    """The roll-up that follows from what another one says was received; equal to it if its records are true.

    What nobody can tell any more of members that left, or of their stakes, is believed.
    """
    again = []
    for one in stated.judged:
        submission = Submission(one.member, one.update, one.signature)
        reason = judge.reason_where_stated(submission, one.reason)
        weight = judge.weight(submission, reason)
        again.append(Judged(one.member, one.update, one.signature, int(reason), weight))
    return roll_up(again)


def submit_rollup(
    contract: FederationContract,
    account: LocalAccount,
    number: int,
    rollup: Rollup,
    *,
    judged_at: int,
    cid: bytes,
    journal: bytes = EMPTY_JOURNAL,
    anchor: tuple[int, bytes] | None = None,
) -> Receipt:
    """Submit all updates of a round at once (coordinator), and pay in what the bond lacks.

    cid: binary, of the published file; journal: the round's, see `RoundHistory`; the roll-up must hold all updates that
    wait by it; anchor: number and hash of the block at which the chain was read, None for the latest.
    Raises TransactionFailed with ``OtherPremises`` if the chain is another or more was submitted.
    """
    if anchor is None:
        latest = contract.w3.eth.get_block("latest")
        anchor = latest["number"], bytes(latest["hash"])
    await_block_after(contract.w3, contract.sender.network, anchor[0])
    rollups = contract_at(contract.w3, ROLLUPS, contract.rollups())
    stated = (
        rollup.tree.root,
        len(rollup.records),
        rollup.accepted,
        rollup.total_weight,
        judged_at,
        journal,
        *anchor,
        list(rollup.range.peak_hashes),
        cid,
    )
    bond = contract.lacking_bond(account.address)
    return contract.sender.transact(account, rollups, "Rollups.submit", number, stated, value=bond)


def stated_rollup(event: RollupSubmitted, data: bytes) -> Rollup:
    """The roll-up of a published file. Raises EncodingError unless it is the one that was stated."""
    rollup = Rollup.parse(data)
    stated = (event.records_root, event.records, event.accepted, event.total_weight)
    if stated != (rollup.tree.root, len(rollup.records), rollup.accepted, rollup.total_weight):
        raise EncodingError(f"the file of round {event.round}'s roll-up is not the one stated on chain")
    if event.peaks_by_height != {height: rollup.range.peak(height) for height in rollup.range.peaks}:
        raise EncodingError(f"the updates of round {event.round}'s roll-up are not those stated on chain")
    return rollup


def rolled_events(event: RollupSubmitted, rollup: Rollup) -> Iterator[UpdateAccepted | UpdateRefused]:
    """The events that the contract would have emitted if the same updates had been relayed one by one."""
    for one in rollup.judged:
        update = one.update
        if one.reason:
            reason = Refusal(one.reason) if one.reason in set(Refusal) else Refusal.BAD_SIGNATURE
            yield UpdateRefused(event.round, one.member, reason, update.update_root, update.cid, at=event.at)
            continue
        yield UpdateAccepted(
            round=event.round,
            member=one.member,
            update_root=update.update_root,
            weight=one.weight,
            examples=update.examples,
            accuracy_ppm=update.accuracy_ppm,
            loss_micros=update.loss_micros,
            labels=update.labels,
            epsilon_micros=update.epsilon_micros,
            sum_squares=update.sum_squares,
            deadline=update.deadline,
            cid=update.cid,
            signature=one.signature,
            at=event.at,
        )
