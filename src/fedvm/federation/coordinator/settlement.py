"""Settle an open round: submit what clients signed, read the verdicts, aggregate what was accepted, close.

Every step can be repeated. Data are stored before the chain is told of them, verdicts already on chain are
kept, and the aggregate follows from the accepted updates alone, so that a coordinator killed anywhere comes
to the same model when it settles again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedvm.chain.federation_types import Proposal, RoundState, UpdateAccepted
from fedvm.chain.history import RoundHistory
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.direct import with_posted_vectors, with_vectors
from fedvm.federation.coordinator.ledger import LedgerRound
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.reception import Spread
from fedvm.federation.coordinator.sealed.accepted import accepted_of
from fedvm.federation.coordinator.stored_updates import StoredUpdates
from fedvm.federation.errors import LedgerMismatch, UpdatesWaiting
from fedvm.protocol import Submission, Subtotal, model_root, to_bytes
from fedvm.protocol.address import by_address
from fedvm.protocol.aggregators import (
    Aggregator,
    RoundFacts,
    RoundResult,
    ServerState,
    WeightedMean,
    aggregate_sums,
)
from fedvm.protocol.mean import WeightedSums
from fedvm.protocol.vector import IntVector
from fedvm.store import Cid
from fedvm.store.payloads import StoredPayloads

ROLLUP_ABOVE = 64
"""So many updates are still relayed one by one where the form of submission is left open."""


@dataclass(frozen=True)
class Refused:
    """An update that does not count. by: "contract" (reason is its `Refusal`) or "coordinator", which did not relay it,
    because its data are not what it states."""

    member: str
    reason: str
    by: str


@dataclass(frozen=True)
class Settlement:
    """How a round ended. model, its CID and the aggregate's CID (text) are None when the round failed.

    memory: what the server remembers after a final round; as given after a failed one, and empty when recalled.
    """

    round: LedgerRound
    accepted: tuple[UpdateAccepted, ...]
    refused: tuple[Refused, ...]
    model: IntVector | None
    model_cid: str | None
    aggregate_cid: str | None
    memory: ServerState = ()


def still_wanted(ledger: ChainLedger, round_: LedgerRound, sampled: Sequence[str]) -> tuple[str, ...]:
    """The sampled members whose updates can still be submitted.

    They have no verdict yet, have submitted nothing themselves, and their address is above the last one relayed. In a
    round that has just been opened these are all sampled members. In one that an earlier coordinator left open they can
    be fewer; after the deadline or a roll-up there are none.
    """
    if round_.status is not RoundState.OPEN or round_.rolled_up or ledger.now() > round_.deadline:
        return ()
    told = ledger.history(round_.number)
    decided = {verdict.member for verdict in told.verdicts}
    decided |= {submission.member for submission in ledger.waiting(round_.number)}
    relayed = (one.member for one in told.accepted if one.member not in told.direct)
    last = max(map(by_address, relayed), default=0)
    return tuple(m for m in sampled if m not in decided and by_address(m) > last)


def settle(
    federation: Federation,
    round_: LedgerRound,
    base: IntVector,
    submissions: Sequence[Submission],
    *,
    withheld: tuple[Refused, ...] = (),
    rule: Aggregator | None = None,
    memory: ServerState = (),
    spread: Spread = map,
) -> Settlement:
    """Bring a round to its end, final or failed; the round may be submitted or proposed already.

    base: the model the round trains from, int32 (elements,). submissions: updates whose data were checked and staged in
    the store, ascending by member. withheld: updates that the coordinator does not relay. rule: how the updates change
    the model, the weighted mean unless given. memory: the server optimiser's state before the round. spread: runs a
    function on blocks of updates, in worker processes if there are any.
    Raises LedgerMismatch if the store lacks or contradicts what was accepted, or if another result was
    proposed than follows.
    """
    for one in submissions:
        federation.vectors.remember(round_.number, one.member, one.update)
    while True:
        try:
            with federation.ledger.step():
                return _settled(federation, round_, base, submissions, withheld, rule, memory, spread)
        except UpdatesWaiting:
            # A member has submitted its update itself meanwhile. The next turn includes it; a member can do so once
            # only.
            round_ = federation.ledger.round(round_.number)
            if federation.ledger.history(round_.number).verdicts:
                submissions = ()


def _settled(
    federation: Federation,
    round_: LedgerRound,
    base: IntVector,
    submissions: Sequence[Submission],
    withheld: tuple[Refused, ...],
    rule: Aggregator | None,
    memory: ServerState,
    spread: Spread,
) -> Settlement:
    ledger = federation.ledger
    if round_.rolled_up:  # by a run before this one, or so it says
        ledger.judge_again(round_.number)
    elif round_.status is RoundState.OPEN:
        _submit(federation, round_, submissions)
    told = ledger.history(round_.number)
    accepted = with_posted_vectors(federation, told)
    refused = (*_refused(told), *withheld)
    if len(accepted) < ledger.rules().min_clients:
        ledger.fail(round_.number)
        return Settlement(ledger.round(round_.number), accepted, refused, None, None, None, memory)
    rule = rule or WeightedMean()
    payloads = StoredPayloads(federation.store, writing=True) if rule.over_bytes else None
    facts = RoundFacts(round_.number, ledger.rules().fraction_bits, payloads)
    plan = _Plan(rule, base, memory, facts, spread)
    updates = StoredUpdates(federation, round_.number, accepted)
    concluded = _conclude(federation, plan, updates)
    ended = ledger.round(round_.number)
    if concluded is None:
        return Settlement(ended, accepted, refused, None, None, None, memory)
    result = concluded.result
    cids = (concluded.model_cid, concluded.aggregate_cid)
    return Settlement(ended, accepted, refused, result.model, *cids, result.state)


def _submit(federation: Federation, round_: LedgerRound, submissions: Sequence[Submission]) -> None:
    """Submit the received updates to the chain, and include those that members submitted themselves."""
    ledger, number = federation.ledger, round_.number
    if submissions:
        federation.store.sync()
    direct = {one.member for one in ledger.waiting(number)}
    relayed = [one for one in submissions if one.member not in direct]
    if _rolls_up(federation, round_, len(relayed) + len(direct)):
        ledger.hold_open(number)
        included = with_vectors(federation, number)
        journal = ledger.history(number).journal
        everything = sorted([*relayed, *included], key=lambda one: by_address(one.member))
        if everything:
            ledger.submit_rollup(number, everything, journal)
        return
    # First what must come before the deadline.
    if relayed:
        ledger.submit(number, relayed)
    ledger.hold_open(number)
    for one in with_vectors(federation, number):
        ledger.include(number, one)


def _rolls_up(federation: Federation, round_: LedgerRound, updates: int) -> bool:
    """Whether a round is rolled up. A round in which updates were already relayed one by one is not."""
    ledger, form = federation.ledger, federation.submission
    if form == "commitments" or ledger.history(round_.number).verdicts:
        return False
    if form == "rollup":
        return True
    return updates > ROLLUP_ABOVE and not ledger.rules().make_rest


def recall(federation: Federation, number: int) -> Settlement:
    """The settlement of a closed round, from the chain alone; without the model and the aggregate's CID."""
    ledger = federation.ledger
    told = ledger.history(number)
    round_ = ledger.round(number)
    if not round_.status.is_over:
        raise LedgerMismatch(f"round {number} is still open; settle it first")
    accepted = told.accepted
    if ledger.sealed is not None and round_.rolled_up:
        accepted = accepted_of(number, ledger.sealed.file(number, federation.store))
    return Settlement(
        round_,
        accepted,
        _refused(told),
        model=None,
        model_cid=str(Cid.from_binary(round_.model_cid)) if round_.model_cid else None,
        aggregate_cid=None,
    )


@dataclass(frozen=True)
class _Plan:
    """How a round's updates become its model."""

    rule: Aggregator
    base: IntVector
    memory: ServerState
    facts: RoundFacts
    spread: Spread

    def result(self, updates: StoredUpdates, top: Subtotal) -> RoundResult:
        counted = updates.load() if self.rule.needs_updates else []
        sums = WeightedSums(top.sums, top.weight)
        return aggregate_sums(self.rule, self.base, sums, counted, self.memory, self.facts)


@dataclass(frozen=True)
class _Concluded:
    result: RoundResult
    model_cid: str
    aggregate_cid: str


def _conclude(federation: Federation, plan: _Plan, updates: StoredUpdates) -> _Concluded | None:
    """Propose the result of the updates, again and again until a proposal becomes final; None if the round failed.

    An honest proposal is rejected only when its data did not come in time.
    """
    ledger, store, number = federation.ledger, federation.store, plan.facts.number
    top = updates.add_up(plan.spread)
    result = plan.result(updates, top)
    aggregate_cid = store.put(to_bytes(result.sums.sums))
    model_cid = store.put(to_bytes(result.model))
    root = model_root(result.model)
    proposal = Proposal(updates.premises, top.hash, top.sums_root, root, Cid.parse(model_cid).binary)
    while True:
        status = ledger.conclude(number) if _propose(ledger, plan, proposal) else RoundState.FAILED
        if status is RoundState.FINAL:
            return _Concluded(result, model_cid, aggregate_cid)
        if status is RoundState.FAILED:
            return None


def _propose(ledger: ChainLedger, plan: _Plan, proposal: Proposal) -> bool:
    """Propose, unless that was done; False if the round failed for want of stored evidence."""
    number = plan.facts.number
    standing = ledger.round(number)
    if standing.status is RoundState.PROPOSED:
        require_same(number, standing, proposal, plan.rule)
        return True
    if not ledger.store_evidence(number, proposal):
        ledger.fail(number)
        return False
    ledger.propose(number, proposal)
    return True


def require_same(number: int, standing: LedgerRound, proposal: Proposal, rule: Aggregator) -> None:
    """Raise LedgerMismatch, which says what can be done, if what stands proposed is not what follows."""
    sums_differ = (standing.aggregation_root, standing.aggregate_root) != (
        proposal.aggregation_root,
        proposal.aggregate_root,
    )
    if sums_differ or (standing.model_root != proposal.model_root and not rule.is_audit_only):
        raise LedgerMismatch(
            f"what was proposed for round {number} does not follow from its updates; challenge it"
        )
    if standing.model_root != proposal.model_root:
        raise LedgerMismatch(
            f"the model proposed for round {number} is not what {rule.name} makes of its updates; the rule is "
            "audit-only, so no challenge can bring it down: begin a new federation from the model before"
        )


def _refused(told: RoundHistory) -> tuple[Refused, ...]:
    return tuple(Refused(one.member, one.reason.label, "contract") for one in told.refused)
