"""Single rounds of a Flower strategy whose results a contract checks and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import INFO

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message_type import MessageType
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy

from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.coordinator.flower_rules import check_rule, rule_of
from fedvm.federation.coordinator.ledger import LedgerRound
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.outcome import Failure, TrainOutcome
from fedvm.federation.coordinator.reception import Intake, Received, Spread
from fedvm.federation.coordinator.roster import MemberGrid, Roster
from fedvm.federation.coordinator.sampling import choose_members, resting_members
from fedvm.federation.coordinator.sealed.epochs import EpochKeeper
from fedvm.federation.coordinator.sealed.intake import SealedIntake
from fedvm.federation.coordinator.sealed.settlement import SealedRound, settle_sealed
from fedvm.federation.coordinator.server_memory import recall_memory
from fedvm.federation.coordinator.settlement import Refused, Settlement, settle, still_wanted
from fedvm.federation.errors import LedgerMismatch, SettingsError
from fedvm.federation.sealed.messages import round_record
from fedvm.federation.terms import RECORD, SEALED_ROUND, Briefing, RoundTerms
from fedvm.protocol import Rules, Submission
from fedvm.protocol.address import by_address
from fedvm.protocol.aggregators import ServerState
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.protocol.sealed.rules import lane_bytes
from fedvm.protocol.vector import IntVector


@dataclass(frozen=True)
class _OpenRound:
    ledger_round: LedgerRound
    sampled: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class _Answers:
    """A round's replies: submissions, failures and withheld updates, ascending by member; metrics by member."""

    submissions: tuple[Submission | SealedSubmission, ...]
    withheld: tuple[Refused, ...]
    metrics: dict[str, RecordDict]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Sealing:
    """The epoch that the configured round is sealed in, and where its members are."""

    grid: Grid
    epoch: Epoch


class RoundStrategy(Strategy):
    """Adds a round's terms to the inner strategy's messages, and aggregates only what the contract accepted.

    inner: decides how many nodes take part and with which configuration, and averages metrics. Its aggregation must
    have a fixed-point definition (`flower_rules`), the one that the contract's rules name. The arrays of the result are
    computed by this definition in integers, not by the inner strategy in floats. Only the weighted mean (FedAvg,
    FedProx) can be disputed on chain; the other rules are audit-only. Metrics are weighted by the weights that the
    contract accepted. The inner strategy sees only the nodes of members (`roster`); which of them take part follows
    from the round's public seed (`sampling`).

    One chain round is one Flower round, with the same number.
    Raises SettingsError for an inner strategy without such a definition, or if the contract's rules name another one.
    """

    def __init__(self, inner: FedAvg, *, federation: Federation) -> None:
        self.inner = inner
        self.federation = federation
        self.rule = rule_of(inner)
        check_rule(inner, self.rule, self.rules.aggregator)
        self._memory: ServerState = ()
        self._codec: ModelCodec | None = None
        self._vector: IntVector | None = None
        self._roster = Roster(federation.ledger, federation.nodes)
        sealed = federation.ledger.sealed
        self._keeper = EpochKeeper(federation, sealed, self._roster) if sealed else None
        self._open: _OpenRound | None = None
        self._outcome: TrainOutcome | None = None
        self._sealing: _Sealing | None = None

    @property
    def rules(self) -> Rules:
        """The rules in force, which can change between rounds."""
        return self.federation.ledger.rules()

    # --- the model ---

    def begin(self, initial_arrays: ArrayRecord) -> ArrayRecord:
        """Start from the federation's state on chain, and return the model's arrays (floats).

        initial_arrays: the model's state, named float tensors; after round 1 only its layout counts.
        Raises LedgerMismatch if before round 1 they are not the model the federation was created with.
        """
        arrays = named_arrays(initial_arrays)
        self._codec = ModelCodec.for_arrays(arrays, self.rules.fraction_bits)
        if self._codec.spec.elements != self.rules.elements:
            raise LedgerMismatch(
                f"the model has {self._codec.spec.elements} parameters, the federation's rules say "
                f"{self.rules.elements}"
            )
        self._vector = self.federation.load_model()
        self._memory = recall_memory(self.federation, self.rule)
        fresh = self.federation.ledger.current_round() == 0
        if fresh and not bool((self._codec.quantize(arrays) == self._vector).all()):
            raise LedgerMismatch("the initial arrays are not the model the federation was created with")
        return self._codec.floats(self._vector)

    @property
    def vector(self) -> IntVector:
        """The global model, int32 (elements,)."""
        if self._vector is None:
            raise SettingsError("call begin(initial_arrays) first")
        return self._vector

    @property
    def outcome(self) -> TrainOutcome:
        """The outcome of the latest `aggregate_train`."""
        if self._outcome is None:
            raise SettingsError("no round has been aggregated yet")
        return self._outcome

    # --- training ---

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Open the round on chain, or take up one left open, and address the inner strategy's messages.

        Fewer members are addressed if the rules make some rest. Raises SettingsError when the rules have come to name
        another aggregator than this strategy's.
        """
        check_rule(self.inner, self.rule, self.rules.aggregator)
        ledger = self.federation.ledger
        epoch = (
            self._keeper.current(grid, left_open=self._is_left_open(server_round)) if self._keeper else None
        )
        members = MemberGrid(grid, self._roster)
        drafts = self._drafts(self.inner.configure_train, server_round, config, members)  # waits for nodes
        with ledger.step():
            opened = self._open_or_reopen(server_round)
            check_rule(self.inner, self.rule, self.rules.aggregator)  # nobody can change them now
            if ledger.aggregator_since() == server_round:
                self._memory = ()
        # Of a sealed round the inner strategy asks all, so that those count who were there when it was asked.
        nodes = self._roster.present(grid) if epoch is None else members.shown
        with ledger.step():
            if epoch is not None:
                sampled = _whole_groups(epoch, nodes.values(), len(drafts))
                self._sealing = _Sealing(grid, epoch)
            else:
                resting = resting_members(ledger, server_round)
                ready = [member for member in nodes.values() if member not in resting]
                sampled = choose_members(opened.seed, ready, min(len(drafts), len(ready)), purpose="train")
            asked = still_wanted(ledger, opened, sampled)
            self._open = _OpenRound(opened, sampled, asked)
            terms = RoundTerms(ledger.domain, server_round, self.rules, opened.base_root, opened.deadline)
        if epoch is not None and drafts:
            drafts[0].content[SEALED_ROUND] = round_record(epoch.draw.number)
        return self._address(drafts, asked, nodes, terms)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Settle the round on chain. Arrays are None if it failed, metrics if nobody was accepted."""
        return self.conclude_train(server_round, map(self.intake, replies))

    @property
    def intake(self) -> Intake | SealedIntake:
        """What takes in the train replies, here or in a client's worker process."""
        ledger = self.federation.ledger
        if self._keeper and self._sealing:
            width = lane_bytes(self.rules, self._keeper.ledger.rules)
            return SealedIntake(self.federation.store, self._sealing.epoch, self.rules.elements, width)
        return Intake(self.federation.store, ledger.domain)

    def seconds_to_answer(self) -> float:
        """How long to wait for the answers of the configured round: until its deadline on chain, less a tenth. In that
        tenth the answers are submitted, since an update that arrives after its deadline is refused."""
        if self._open is None:
            raise SettingsError("no round has been configured")
        left = self._open.ledger_round.deadline - self.federation.ledger.now()
        if self._keeper:
            left -= self._keeper.ledger.rules.unmask_seconds
        return max(0.0, 0.9 * left)

    def conclude_train(
        self, server_round: int, received: Iterable[Received], *, spread: Spread = map
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As `aggregate_train`, for replies that were taken in already. spread: runs the larger sums, in workers if
        there are any."""
        opened = self._open
        if opened is None or opened.ledger_round.number != server_round:
            raise SettingsError(f"round {server_round} was not configured by this strategy")
        answers = self._sort_out(opened.asked, received)
        if self._keeper and self._sealing:
            sealed = SealedRound(
                self.federation,
                self._keeper,
                self._sealing.grid,
                self._sealing.epoch,
                opened.ledger_round,
                self.vector,
            )
            masked = [one for one in answers.submissions if isinstance(one, SealedSubmission)]
            settlement = settle_sealed(sealed, masked, answers.withheld)
        else:
            settlement = settle(
                self.federation,
                opened.ledger_round,
                self.vector,
                [one for one in answers.submissions if isinstance(one, Submission)],
                withheld=answers.withheld,
                rule=self.rule,
                memory=self._memory,
                spread=spread,
            )
        metrics = self._train_metrics(settlement, answers.metrics)
        self._open, self._outcome = None, TrainOutcome(opened.sampled, settlement, answers.failures, metrics)
        if settlement.model is None:
            return None, metrics
        self._vector, self._memory = settlement.model, settlement.memory
        return self.codec.floats(settlement.model), metrics

    # --- evaluation ---

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The inner strategy's messages, to members drawn by the round's public seed."""
        members = MemberGrid(grid, self._roster)
        drafts = self._drafts(self.inner.configure_evaluate, server_round, config, members)
        seed = self.federation.ledger.round(server_round).seed
        nodes = self._roster.present(grid)
        chosen = choose_members(seed, nodes.values(), min(len(drafts), len(nodes)), purpose="evaluate")
        return self._address(drafts, chosen, nodes, None)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The inner strategy's weighted mean of the clients' metrics."""
        return self.inner.aggregate_evaluate(server_round, list(replies))

    def ask_everybody(
        self, vector: IntVector, config: ConfigRecord, grid: Grid
    ) -> tuple[list[Message], Mapping[int, str]]:
        """Evaluate messages about the model `vector`, int32 (elements,), to every member that is there.

        Also returned: node id → member.
        """
        nodes = self._roster.present(grid)
        briefing = Briefing(self.codec.spec, self.codec.order, self.rules.fraction_bits, None)
        content = RecordDict(
            {
                self.inner.arrayrecord_key: self.codec.wire(vector),
                self.inner.configrecord_key: config,
                RECORD: briefing.to_record(),
            }
        )
        messages = [Message(content, node_id, MessageType.EVALUATE) for node_id in sorted(nodes)]
        return messages, nodes

    # --- Flower's remaining interface ---

    @property
    def codec(self) -> ModelCodec:
        """Between the vector and the model's tensors."""
        if self._codec is None:
            raise SettingsError("call begin(initial_arrays) first")
        return self._codec

    def summary(self) -> None:
        """Log which strategy is wrapped and which contract records its rounds."""
        ledger = self.federation.ledger
        log(INFO, "\t├──> Accountable to %s on chain %s", ledger.address, ledger.chain_id)
        log(INFO, "\t│\t└── Aggregation: %s", self.rule.describe())
        self.inner.summary()

    # --- parts ---

    def _is_left_open(self, number: int) -> bool:
        ledger = self.federation.ledger
        return ledger.current_round() == number and not ledger.round(number).status.is_over

    def _open_or_reopen(self, number: int) -> LedgerRound:
        ledger = self.federation.ledger
        current = ledger.current_round()
        if self._is_left_open(number):
            return ledger.round(number)
        if current != number - 1:
            raise LedgerMismatch(
                f"round {number} cannot be opened: the federation's latest round is {current}. "
                f"Continue with round {current + 1}; is another coordinator at work?"
            )
        return ledger.open_round()

    def _drafts(
        self,
        configure: Callable[[int, ArrayRecord, ConfigRecord, Grid], Iterable[Message]],
        server_round: int,
        config: ConfigRecord,
        members: MemberGrid,
    ) -> list[Message]:
        drafts = list(configure(server_round, self.codec.wire(self.vector), config, members))
        if len({id(draft.content) for draft in drafts}) > 1:
            raise SettingsError(
                "the inner strategy sends nodes different content; only one for all is recorded"
            )
        return drafts

    def _address(
        self,
        drafts: list[Message],
        members: tuple[str, ...],
        nodes: Mapping[int, str],
        terms: RoundTerms | None,
    ) -> list[Message]:
        if not drafts:
            return []
        briefing = Briefing(self.codec.spec, self.codec.order, self.rules.fraction_bits, terms)
        content = drafts[0].content
        content[RECORD] = briefing.to_record()
        node_ids = {member: node_id for node_id, member in nodes.items()}
        addressed = []
        for draft, member in zip(
            drafts, members, strict=False
        ):  # fewer members when a round is taken up again
            draft.metadata.dst_node_id = node_ids[member]
            addressed.append(draft)
        return addressed

    def _sort_out(self, asked: tuple[str, ...], received: Iterable[Received]) -> _Answers:
        submissions: list[Submission | SealedSubmission] = []
        withheld: list[Refused] = []
        metrics: dict[str, RecordDict] = {}
        reasons = dict.fromkeys(asked, "no answer in time")
        for one in received:
            member = self._roster.member_of(one.node_id)
            if member not in reasons:  # not asked, or a second answer
                continue
            if one.submission is None:
                reasons[member] = str(one.failure)
                continue
            if one.submission.member != member:
                reasons[member] = f"answered in the name of {one.submission.member}"
                continue
            del reasons[member]
            metrics[member] = one.metrics
            if one.withheld is None:
                submissions.append(one.submission)
            else:
                withheld.append(Refused(member, one.withheld, "coordinator"))
        failures = tuple(Failure(member, reasons[member]) for member in sorted(reasons, key=by_address))
        return _Answers(
            tuple(sorted(submissions, key=lambda one: by_address(one.member))),
            tuple(sorted(withheld, key=lambda one: by_address(one.member))),
            metrics,
            failures,
        )

    def _train_metrics(self, settlement: Settlement, records: dict[str, RecordDict]) -> MetricRecord | None:
        """The inner strategy's mean over accepted clients, weighted as the contract did."""
        weighted = []
        for accepted in settlement.accepted:
            record = records.get(accepted.member)
            if record is None:  # accepted before this coordinator took the round up
                continue
            metrics = MetricRecord(dict(next(iter(record.metric_records.values()))))
            metrics[self.inner.weighted_by_key] = accepted.weight
            weighted.append(RecordDict({"metrics": metrics}))
        if not weighted:
            return None
        return self.inner.train_metrics_aggr_fn(weighted, self.inner.weighted_by_key)


def _whole_groups(epoch: Epoch, present: Iterable[str], asked: int) -> tuple[str, ...]:
    """The ready members of groups that can take part, ascending by address. Raises SettingsError if the inner strategy
    asks fewer nodes: a sealed round asks whole groups."""
    there = frozenset(present)
    members = [
        group.members[rank]
        for group in epoch.groups
        if group.is_fit
        for rank in group.ready
        if group.members[rank] in there
    ]
    if len(members) > asked:
        raise SettingsError(
            f"the strategy asks {asked} nodes, {len(members)} members are ready: a sealed round asks whole groups, so "
            "set fraction_train = 1.0"
        )
    return tuple(sorted(members, key=by_address))
