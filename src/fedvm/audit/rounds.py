"""Replays a federation: every event in order, every update fetched, every sum computed again.

It folds the events itself instead of using `fedvm.chain.history`, since other code relies on that module and the audit
must not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from eth_abi.abi import encode

from fedvm.audit.adoption import was_announced
from fedvm.audit.aggregates import AggregateReplay, RoundUpdates
from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.errors import AuditError, OutOfOrder
from fedvm.audit.findings import Ledger, Place, cid_text
from fedvm.audit.open_round import FinalRound, OpenRound
from fedvm.audit.relayed import Verdict, follows, judge, replaced
from fedvm.audit.scope import WHOLE, Scope
from fedvm.audit.sealed_epochs import Now
from fedvm.audit.sealed_rounds import EPOCH_KINDS, ReplayedEvent, SealedReplay
from fedvm.audit.standing import FederationStanding
from fedvm.audit.stored import StoredVectors
from fedvm.chain.decoding import decoded_input
from fedvm.chain.direct import DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import (
    ChallengeExtended,
    FederationCreated,
    MemberAdded,
    MemberRemoved,
    ProposalRejected,
    RollupSubmitted,
    RoundFailed,
    RoundFinal,
    RoundOpened,
    RoundProposed,
    RulesAdopted,
    SecuritySet,
    SubmittedDirectly,
    UpdateAccepted,
    UpdateRefused,
    VectorForfeited,
)
from fedvm.chain.genuine import is_sealed
from fedvm.chain.rollups import rolled_events, stated_rollup
from fedvm.chain.rule_book import keys_in_round
from fedvm.chain.sealed_rounds import RoundClosed, SealedRollupSubmitted
from fedvm.evm.keccak import keccak
from fedvm.protocol import (
    CountedUpdate,
    Domain,
    EncodingError,
    Judged,
    Refusal,
    Rules,
)
from fedvm.protocol.address import by_address
from fedvm.protocol.aggregators import is_over_bytes
from fedvm.protocol.vector import IntVector
from fedvm.protocol.verdict import Circumstances, signer_of, signs_for, verdict
from fedvm.store import Store, StoreError

_RoundEvent = (
    UpdateAccepted
    | UpdateRefused
    | RollupSubmitted
    | SubmittedDirectly
    | VectorForfeited
    | RoundProposed
    | ChallengeExtended
    | ProposalRejected
    | RoundFinal
    | RoundFailed
    | RoundClosed
    | SealedRollupSubmitted
)


class FederationReplay:
    """Replays one Federation contract into `ledger`; then `finals` holds its final rounds by number."""

    def __init__(
        self,
        reader: ChainReader,
        contract: FederationContract,
        store: Store,
        ledger: Ledger,
        scope: Scope = WHOLE,
    ) -> None:
        self.finals: dict[int, FinalRound] = {}
        self.first_opened: int | None = None  # Unix seconds of round 1
        self._reader, self._contract, self._store, self._ledger = reader, contract, store, ledger
        self._domain = Domain(reader.chain_id, contract.address)
        self._members: set[str] = set()
        self._last_accepted: dict[str, int] = {}  # while the rules ask for rest
        self._failed: set[int] = set()
        self._model: IntVector | None = None
        self._model_root = b""
        self._latest = 0
        self._round: OpenRound | None = None
        self._rules: Rules | None = None
        self._aggregates = AggregateReplay(ledger, store)
        self._notice = self._open_seconds = self._challenge_seconds = 0  # promised to members, in seconds
        self._first_block = 0
        self._scope = scope
        self._standing = FederationStanding()
        sealed = is_sealed(reader.w3, contract.address)
        self._sealed = SealedReplay(reader, contract, store, ledger) if sealed else None

    @cached_property
    def _stored(self) -> StoredVectors:
        return StoredVectors(self._contract, self._store, self._ledger, self._first_block)

    @property
    def aggregation(self) -> str:
        """How the rules say the updates make the model, and who can check that."""
        return "" if self._rules is None else self._aggregates.describe(self._rules)

    @property
    def rules(self) -> Rules:
        """The rules in force at this point of the replay. Raises AuditError before the creation was seen."""
        if self._rules is None:
            raise AuditError(
                f"{self._contract.address} has no FederationCreated event here: start at an earlier block, "
                "or check address and network"
            )
        return self._rules

    def run(self, first_block: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Replay everything from `first_block` on; `progress(done, events)`.

        Raises AuditError if the contract's creation is not among the events.
        """
        self._first_block = first_block
        told = self._contract.events(first=first_block, last=self._reader.head)
        events = list(self._sealed.merged(told, first_block) if self._sealed else told)
        for done, event in enumerate(events, start=1):
            self._handle(event)
            if progress:
                progress(done, len(events))
        assert self.rules
        self._scope.require_within(self._latest)
        self._standing.compare(self._contract, self._reader, self._ledger, first_block)

    def _handle(self, event: ReplayedEvent) -> None:
        self._standing.note(event, self._reader.time(event.at.block_number))
        if self._sealed is not None:
            self._on_sealed(event, self._sealed)
        match event:
            case FederationCreated():
                self._on_created(event)
            case SecuritySet():
                self._notice = event.security.notice_seconds
                self._challenge_seconds = event.security.challenge_seconds
                self._open_seconds = event.security.open_seconds
            case RulesAdopted():
                self._on_adopted(event)
            case MemberAdded():
                self._members.add(event.member)
            case MemberRemoved():
                self._members.discard(event.member)
            case RoundOpened():
                self._on_opened(event)
            case SubmittedDirectly():
                self._opened(event).direct[event.member] = event
            case VectorForfeited():
                self._opened(event).dealt_with.add(event.member)
            case UpdateAccepted():
                self._on_accepted(event)
            case UpdateRefused():
                self._on_refused(event)
            case RollupSubmitted():
                self._on_rolled_up(event)
            case RoundProposed():
                self._on_proposed(event)
            case ChallengeExtended():
                self._opened(event).until = event.until
            case ProposalRejected():
                self._opened(event).rejected = True
            case RoundFinal():
                self._on_final(event)
            case RoundFailed():
                self._on_failed(event)

    def _on_sealed(self, event: ReplayedEvent, sealed: SealedReplay) -> None:
        """Hand on what only a sealed federation tells of."""
        match event:
            case RoundClosed():
                self._check_open_time(event, self._opened(event))
                sealed.on_closed(event, self._opened(event))
            case SealedRollupSubmitted():
                sealed.on_rolled_up(event, self._opened(event), self.rules, self._needs_updates(event.round))
            case RulesAdopted():
                sealed.check_rules(event.rules, self._open_seconds, Place(tx=event.at.tx_hash))
            case _ if isinstance(event, EPOCH_KINDS):
                now = Now(self.rules, frozenset(self._members), self._latest, self._round is None)
                sealed.on_epoch(event, now)

    def _on_created(self, event: FederationCreated) -> None:
        self._rules = event.rules
        place = Place(tx=event.at.tx_hash, cid=cid_text(event.model_cid))
        hashed = event.rules.digest() == event.rules_hash
        self._ledger.check("rules", hashed, place, "the rules' hash is not that of the rules")
        self._aggregates.go_by(event.rules, place)
        self._model_root = event.model_root
        if self._needs_model(0):
            self._model = self._stored.model(self.rules, event.model_cid, event.model_root, place)

    def _on_adopted(self, event: RulesAdopted) -> None:
        shape = (event.rules.elements, event.rules.fraction_bits)
        parts = {
            "hash": event.rules.digest() == event.rules_hash,
            "shape": shape == (self.rules.elements, self.rules.fraction_bits),
            "time": self._round is None,
            "notice": was_announced(self._contract, event, self._reader, self._first_block, self._notice),
        }
        wrong = ", ".join(name for name, holds in parts.items() if not holds)
        place = Place(tx=event.at.tx_hash)
        self._ledger.check("rules", not wrong, place, f"the rules that were adopted are wrong in: {wrong}")
        if event.rules.aggregator != self.rules.aggregator:
            self._aggregates.go_by(event.rules, place)
        self._rules = event.rules

    def _on_opened(self, event: RoundOpened) -> None:
        opened_at = self._reader.time(event.at.block_number)
        if self.first_opened is None:
            self.first_opened = opened_at
        types = ["uint256", "address", "uint64", "bytes32"]
        values = [self._reader.chain_id, self._contract.address, event.round, event.base_root]
        parts = {
            "number": event.round == self._latest + 1 and self._round is None,
            "base root": event.base_root == self._model_root,
            "seed": event.seed == keccak(encode(types, values)),
            "rules hash": event.rules_hash == self.rules.digest(),
            "deadline": event.deadline == opened_at + self.rules.round_seconds,
        }
        wrong = ", ".join(name for name, holds in parts.items() if not holds)
        place = Place(round=event.round, tx=event.at.tx_hash)
        self._ledger.check("round opening", not wrong, place, f"does not follow: {wrong}")
        self._latest = event.round
        members = frozenset(self._members)
        self._round = OpenRound(event.round, event.base_root, opened_at, event.deadline, members)

    def _on_accepted(self, event: UpdateAccepted) -> None:
        opened = self._opened(event)
        member, check = event.member, self._ledger.check
        place = Place(event.round, event.member, tx=event.at.tx_hash, cid=cid_text(event.cid))
        self._check_relay(event, opened, Refusal.NONE, place)
        check(
            "membership",
            member in self._members | opened.members,
            place,
            "an update of someone who is no member counts",
        )
        update = event.update(self.rules, opened.base_root)
        signer = signer_of(update, self._domain, event.signature)
        signed = signs_for(signer, member, keys_in_round(self._contract, event.round))
        check("signature", signed, place, f"signed by {signer or 'no possible key'}")
        opened.dealt_with.add(member)
        included = member in opened.direct and not opened.rolled_up
        if not included:
            follows = not opened.last_member or by_address(member) > by_address(opened.last_member)
            check("order", follows, place, f"stands after {opened.last_member}")
            opened.last_member = member
        weight = self.rules.weight(event.examples)
        check(
            "weight",
            event.weight == weight,
            place,
            f"counts {event.weight}, but {event.examples} examples under the cap of {self.rules.max_weight} "
            f"make {weight}",
        )
        if self.rules.make_rest:
            self._last_accepted[member] = event.round
        opened.accepted += 1
        opened.total_weight += event.weight
        if not self._needs_updates(event.round):
            return
        vector = self._stored.update(self.rules, update, member, place)
        if vector is None:
            opened.missing += 1
        else:
            opened.updates.append(CountedUpdate(event.commitment, vector, event.loss_micros))

    def _on_refused(self, event: UpdateRefused) -> None:
        place = Place(event.round, event.member, tx=event.at.tx_hash, cid=cid_text(event.cid))
        opened = self._opened(event)
        self._check_relay(event, opened, event.reason, place)
        # A relayed update is refused as a duplicate if an update of the same member waits.
        if event.reason is not Refusal.DUPLICATE:
            opened.dealt_with.add(event.member)

    def _on_proposed(self, event: RoundProposed) -> None:
        opened = self._opened(event)
        if opened.proposal is None and not opened.rolled_up:
            self._check_open_time(event, opened)
        window_ends = self._reader.time(event.at.block_number) + self._challenge_seconds
        wrong = opened.deviation(event, window_ends)
        where = Place(round=event.round, tx=event.at.tx_hash, event="RoundProposed", field=wrong)
        self._ledger.check("proposal", not wrong, where, f"does not follow: {wrong}")
        if not opened.accepted and not opened.rolled_up:
            self._ledger.left_out("update or roll-up", f"round {event.round}", where)
        opened.proposal, opened.until = event, event.until
        for member, submitted in opened.direct.items():
            place = Place(event.round, submitted.member, tx=submitted.at.tx_hash)
            message = "was submitted by its member, and neither included nor given up"
            self._ledger.check("direct", member in opened.dealt_with, place, message)

    def _check_open_time(
        self, event: RoundProposed | RollupSubmitted | RoundClosed, opened: OpenRound
    ) -> None:
        """Check that the round stayed open for the time in which members may submit themselves."""
        open_for = self._reader.time(event.at.block_number) - opened.opened_at
        place = Place(round=event.round, tx=event.at.tx_hash)
        message = f"was closed {open_for} s after its opening, members were promised {self._open_seconds} s"
        self._ledger.check("open time", open_for >= self._open_seconds, place, message)

    def _on_rolled_up(self, event: RollupSubmitted) -> None:
        """Check the roll-up against its published records, then these as if they had been relayed."""
        opened = self._opened(event)
        place = Place(round=event.round, tx=event.at.tx_hash, cid=cid_text(event.cid))
        self._check_open_time(event, opened)
        try:
            rollup = stated_rollup(event, self._store.get(event.cid))
            told = list(rolled_events(event, rollup))
        except (StoreError, EncodingError) as error:
            self._ledger.unreadable("roll-up", place, error)
            opened.accepted, opened.total_weight = event.accepted, event.total_weight
            opened.missing = event.accepted
            return
        right = follows(rollup)
        self._ledger.check("roll-up", right, place, "its records' order or running totals do not follow")
        opened.expected[event.at.tx_hash] = iter(
            [
                Verdict(
                    self._verdict_on(one, opened, event),
                    one.member,
                    one.update.update_root,
                    one.update.cid,
                )
                for one in rollup.judged
            ]
        )
        opened.rolled_up = True
        for update in told:
            if isinstance(update, UpdateAccepted):
                self._on_accepted(update)
            else:
                self._on_refused(update)
        opened.dealt_with -= replaced(rollup, opened.direct)

    def _verdict_on(self, one: Judged, opened: OpenRound, event: RollupSubmitted) -> Refusal:
        """The verdict by the rules. On stakes, and on members that left during the round, the records are believed."""
        member = one.member
        if one.reason == Refusal.NOT_MEMBER and member not in self._members:
            return Refusal.NOT_MEMBER
        around = self._around(opened, opened.members, event.judged_at)
        found = verdict(member, one.update, one.signature, around)
        believed = found is Refusal.NONE and one.reason == Refusal.STAKE_TOO_LOW
        return Refusal.STAKE_TOO_LOW if believed else found

    def _on_final(self, event: RoundFinal) -> None:
        opened, check = self._opened(event), self._ledger.check
        proposal = opened.proposal
        if proposal is None:
            message = f"round {event.round} became final in {event.at.tx_hash} without a proposal"
            raise OutOfOrder(message, event.at.tx_hash, event.round)
        place = Place(round=event.round, tx=event.at.tx_hash, cid=cid_text(proposal.cid))
        stated = (event.attempt, event.model_root, event.aggregate_root)
        check(
            "proposal",
            stated == (proposal.attempt, proposal.model_root, proposal.aggregate_root)
            and self._reader.time(event.at.block_number) > opened.until,
            place,
            "is not what was proposed last, or came before its challenge window was over",
        )
        check(
            "total weight",
            (event.total_weight, event.accepted) == (opened.total_weight, opened.accepted),
            place,
            f"states {event.accepted} updates of weight {event.total_weight}, "
            f"accepted were {opened.accepted} of {opened.total_weight}",
        )
        check(
            "quorum",
            opened.accepted >= self.rules.min_clients,
            place,
            f"{opened.accepted} accepted updates are fewer than the quorum of {self.rules.min_clients}",
        )
        if not self._needs_updates(event.round):
            pass
        elif self._sealed is not None:
            self._sealed.check_final(opened, self.rules, self._model, proposal, place)
        else:
            updates = RoundUpdates(opened.number, opened.updates, opened.missing, self._model)
            self._aggregates.check(updates, self.rules, proposal, place)
        self._model_root = event.model_root
        self._model = None
        if self._needs_model(event.round):
            self._model = self._stored.model(self.rules, proposal.cid, event.model_root, place)
        self.finals[event.round] = FinalRound(event.model_root, self._model, is_over_bytes(self.rules))
        self._round = None

    def _needs_updates(self, number: int) -> bool:
        """Whether the updates of a round are read: it is to be checked, or the server's memory goes on from it."""
        return self._scope.wants(number) or self._aggregates.is_stateful

    def _needs_model(self, number: int) -> bool:
        """Whether the model of a round is read; 0: the first."""
        return self._scope.wants_model(number) or self._aggregates.is_stateful

    def _on_failed(self, event: RoundFailed) -> None:
        opened = self._opened(event)
        late = self._reader.time(event.at.block_number) > opened.deadline
        self._ledger.check(
            "quorum",
            late or opened.rejected or opened.accepted < self.rules.min_clients,
            Place(round=event.round, tx=event.at.tx_hash),
            "was failed before its deadline in spite of its quorum",
        )
        self._failed.add(event.round)
        self._round = None

    def _opened(self, event: _RoundEvent) -> OpenRound:
        if self._round is None or self._round.number != event.round:
            raise OutOfOrder(
                f"{type(event).__name__} in {event.at.tx_hash} is of round {event.round}, which is not open",
                event.at.tx_hash,
                event.round,
            )
        return self._round

    def _check_relay(
        self, event: UpdateAccepted | UpdateRefused, opened: OpenRound, stated: Refusal, place: Place
    ) -> None:
        """Compare the contract's verdict with ours, which follows from the transaction's calldata."""
        tx = event.at.tx_hash
        if tx not in opened.expected:
            time = self._reader.time(event.at.block_number)
            opened.expected[tx] = iter(self._verdicts(opened, self._reader.calldata(tx), time))
        expected = next(opened.expected[tx], None)
        if expected is not None:
            message = f"the verdict is {stated.label}, by the rules it is {expected.reason.label}"
            other = expected.differs(event.member, event.update_root, event.cid)
            message = f"was relayed with another {other}" if other else message
            self._ledger.check("relay", stated is expected.reason and not other, place, message)

    def _verdicts(self, opened: OpenRound, calldata: bytes, time: int) -> list[Verdict]:
        """Verdicts on all updates that a transaction relays; none if it went through another contract."""
        name, arguments = decoded_input(self._contract.contract, calldata)
        if name != "submit":
            return self._verdict_on_included(opened, calldata) if not name else []
        verdicts, last = list[Verdict](), opened.last_member
        for submission in arguments["submissions"]:
            around = self._around(
                opened,
                frozenset(self._members),
                time,
                last_member=last,
                rests=self._rests(submission["member"], opened.number),
                held=frozenset(opened.direct),
            )
            verdicts.append(judge(submission, around))
            last = submission["member"] if verdicts[-1].reason is Refusal.NONE else last
        return verdicts

    def _verdict_on_included(self, opened: OpenRound, calldata: bytes) -> list[Verdict]:
        """The verdict on a waiting update that a transaction includes; its deadlines were checked when it was
        submitted."""
        direct = DirectSubmissionsContract.of(self._contract).contract
        name, arguments = decoded_input(direct, calldata)
        if name != "include":
            return []
        submission = arguments["submission"]
        rests = self._rests(submission["member"], opened.number)
        return [judge(submission, self._around(opened, frozenset(self._members), 0, rests=rests))]

    def _around(
        self,
        opened: OpenRound,
        members: frozenset[str],
        time: int,
        *,
        last_member: str = "",
        rests: bool = False,
        held: frozenset[str] = frozenset(),
    ) -> Circumstances:
        """The facts that a verdict on an update of the round depends on."""
        place = (opened.number, opened.base_root, opened.deadline)
        keys = keys_in_round(self._contract, opened.number)
        return Circumstances(self._domain, self.rules, members, *place, last_member, time, rests, keys, held)

    def _rests(self, member: str, number: int) -> bool:
        """Whether a member sits round `number` out (`Federation._rests`)."""
        last = self._last_accepted.get(member, 0)
        return last in self.rules.rests_after(number) and last not in self._failed
