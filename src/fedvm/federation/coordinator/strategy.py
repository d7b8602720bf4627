"""Single rounds of a Flower strategy whose results a contract checks and records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import INFO, WARNING
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message_type import MessageType
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy
from numpy.typing import NDArray

from fedvm.federation.arrays import ModelCodec, named_arrays, same_arrays
from fedvm.federation.byte_model import ByteCodec
from fedvm.federation.coordinator.flower_rules import check_rule, loss_key, rule_of
from fedvm.federation.coordinator.ledger import LedgerRound
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.outcome import Failure, TrainOutcome
from fedvm.federation.coordinator.reception import Intake, Received, Spread
from fedvm.federation.coordinator.roster import MemberGrid, Roster
from fedvm.federation.coordinator.sampling import (
    choose_members,
    member_in_turn,
    readdressed,
    resting_members,
    whole_groups,
)
from fedvm.federation.coordinator.sealed.epochs import EpochKeeper
from fedvm.federation.coordinator.sealed.intake import SealedIntake
from fedvm.federation.coordinator.sealed.settlement import SealedRound, settle_sealed
from fedvm.federation.coordinator.server_memory import recall_memory
from fedvm.federation.coordinator.settlement import Refused, Settlement, settle, still_wanted
from fedvm.federation.errors import LedgerMismatch, SettingsError
from fedvm.federation.sealed.messages import round_record
from fedvm.federation.terms import RECORD, SEALED_ROUND, Briefing, RoundTerms
from fedvm.protocol import EncodingError, Rules, Submission
from fedvm.protocol.address import by_address
from fedvm.protocol.aggregators import ServerState
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.protocol.sealed.rules import lane_bytes
from fedvm.protocol.vector import IntVector

Codec = ModelCodec | ByteCodec


@dataclass(frozen=True)
class _OpenRound:
    ledger_round: LedgerRound
    sampled: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass
class _Draft:
    """A round whose messages are being made: who may be chosen, and, once it is open, who is there (node id → member).

    epoch: of a sealed round.
    """

    number: int
    members: MemberGrid
    epoch: Epoch | None
    opened: LedgerRound | None = None
    nodes: Mapping[int, str] = field(default_factory=dict)


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

    def __init__(self, inner: FedAvg, *, federation: Federation, roster: Roster | None = None) -> None:
        self.inner = inner
        self.federation = federation
        self.rule = rule_of(inner)
        check_rule(inner, self.rule, self.rules.aggregator)
        self._memory: ServerState = ()
        self._codec: Codec | None = None
        self._vector: IntVector | None = None
        self._floats: ArrayRecord | None = None
        self._roster = roster or Roster(federation.ledger, federation.nodes)
        sealed = federation.ledger.sealed
        self._keeper = EpochKeeper(federation, sealed, self._roster) if sealed else None
        self._draft: _Draft | None = None
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

        initial_arrays: the model's state, named float tensors. Only its layout counts; where round 1 does not start
        from its values, since the federation was created with others, a line in the log says so.
        Raises LedgerMismatch if the contract's rules speak of another number of parameters.
        """
        arrays = named_arrays(initial_arrays)
        codec = self._codec = self._codec_for(arrays)
        if codec.elements != self.rules.elements:
            raise LedgerMismatch(
                f"the model has {codec.elements} parameters, the federation's rules say {self.rules.elements}"
            )
        self._vector = self.federation.load_model()
        self._memory = recall_memory(self.federation, self.rule)
        fresh = self.federation.ledger.current_round() == 0
        if fresh and not self._is_the_model(arrays):
            log(
                WARNING,
                "The app's initial arrays are not the model that the federation was created with: round 1 starts from "
                "the federation's",
            )
        config = ConfigRecord({"server-round": 0})
        self._roster.dressing = RecordDict(
            {self.inner.arrayrecord_key: self.floats, self.inner.configrecord_key: config}
        )
        return self.floats

    def _codec_for(self, arrays: Mapping[str, NDArray[Any]]) -> Codec:
        if self.rule.over_bytes:
            return ByteCodec(self.federation.store, self.rules.fraction_bits)
        return ModelCodec.for_arrays(arrays, self.rules.fraction_bits)

    def _is_the_model(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        try:
            return bool((self.codec.quantize(arrays) == self.vector).all())
        except EncodingError:
            return False

    @property
    def floats(self) -> ArrayRecord:
        """The global model as the app's tensors; the same object until the model changes."""
        if self._floats is None:
            self._floats = self.codec.floats(self.vector)
        return self._floats

    @property
    def vector(self) -> IntVector:
        """The global model, int32 (elements,)."""
        if self._vector is None:
            raise SettingsError("call begin(initial_arrays) first")
        return self._vector

    @contextmanager
    def looking_back(self, vector: IntVector) -> Iterator[ArrayRecord]:
        """In it the global model is an earlier round's, int32 (elements,), to be evaluated again; its arrays."""
        now = self._vector, self._floats
        self._vector, self._floats = vector, None
        try:
            yield self.floats
        finally:
            self._vector, self._floats = now

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
        members = self.prepare_train(server_round, grid)
        drafts = self.inner.configure_train(server_round, self.floats, config, members)  # waits for nodes
        return self.address_train(server_round, self.choose_to_train(server_round, drafts))

    def prepare_train(self, server_round: int, grid: Grid) -> MemberGrid:
        """What comes before the inner strategy is asked: the nodes that it may choose from."""
        check_rule(self.inner, self.rule, self.rules.aggregator)
        epoch = (
            self._keeper.current(grid, left_open=self._is_left_open(server_round)) if self._keeper else None
        )
        self._draft = _Draft(server_round, MemberGrid(grid, self._roster), epoch)
        return self._draft.members

    def choose_to_train(self, server_round: int, drafts: Iterable[Message]) -> list[Message]:
        """The messages that Flower addressed to nodes of its own choice, addressed to as many members that follow from
        the round's public seed, ascending by address."""
        messages, draft = list(drafts), self._drafted(server_round)
        if not messages:
            return []
        opened, ledger = self._open_for(draft), self.federation.ledger
        with ledger.step():
            if draft.epoch is not None:
                chosen = whole_groups(draft.epoch, draft.nodes.values(), len(messages))
            else:
                resting = resting_members(ledger, server_round)
                ready = [member for member in draft.nodes.values() if member not in resting]
                count = min(len(messages), len(ready))
                chosen = (
                    member_in_turn(server_round, ready)
                    if self.rule.takes_turns
                    else choose_members(opened.seed, ready, count, purpose="train")
                )
        return readdressed(messages, chosen, draft.nodes)

    def address_train(self, server_round: int, drafts: Iterable[Message]) -> list[Message]:
        """The messages with the round's terms in them, to those members whose updates are still wanted.

        Raises:
            SettingsError: a message goes to no member, two go to one, or one carries another model than the contract's.
        """
        messages, draft = list(drafts), self._drafted(server_round)
        if not messages and draft.opened is None:  # a strategy that lets nobody train
            return []
        opened, ledger = self._open_for(draft), self.federation.ledger
        addressed = self._by_member(messages, draft.nodes)
        with ledger.step():
            asked = still_wanted(ledger, opened, tuple(addressed))
            terms = RoundTerms(ledger.domain, server_round, self.rules, opened.base_root, opened.deadline)
        self._open = _OpenRound(opened, tuple(addressed), asked)
        key, weighted_by = self.inner.arrayrecord_key, self.inner.weighted_by_key
        remainder = self.codec.remainder(self.vector)
        record = Briefing(terms, key, weighted_by, remainder, loss_key(self.inner)).to_record()
        for content in {id(message.content): message.content for message in messages}.values():
            self._check_model(content, key)
            content[RECORD] = record
            if draft.epoch is not None:
                content[SEALED_ROUND] = round_record(draft.epoch.draw.number)
        if draft.epoch is not None:
            self._sealing = _Sealing(draft.members.inside, draft.epoch)
        return [addressed[member] for member in asked]

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
        return Intake(self.federation.store, ledger.domain, self.rule)

    def is_configured(self, server_round: int) -> bool:
        """Whether the round is open, and waits for `conclude_train`."""
        return self._open is not None and self._open.ledger_round.number == server_round

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
                spread,
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
        self._vector, self._memory, self._floats = settlement.model, settlement.memory, None
        return self.floats, metrics

    # --- evaluation ---

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The inner strategy's messages, to members drawn by the round's public seed."""
        members = self.prepare_evaluate(grid)
        drafts = self.inner.configure_evaluate(server_round, self.floats, config, members)
        return self.choose_to_evaluate(server_round, drafts, grid)

    def prepare_evaluate(self, grid: Grid) -> MemberGrid:
        """The nodes that the inner strategy may choose from."""
        return MemberGrid(grid, self._roster)

    def choose_to_evaluate(self, server_round: int, drafts: Iterable[Message], grid: Grid) -> list[Message]:
        """As `choose_to_train`, of the round's evaluation; as they are while no round has been opened."""
        messages = list(drafts)
        if not messages or self.federation.ledger.current_round() < server_round:
            return messages
        seed = self.federation.ledger.round(server_round).seed
        nodes = self._roster.present(grid)
        count = min(len(messages), len(nodes))
        chosen = choose_members(seed, nodes.values(), count, purpose="evaluate")
        return readdressed(messages, chosen, nodes)

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
        content = RecordDict(
            {self.inner.arrayrecord_key: self.codec.floats(vector), self.inner.configrecord_key: config}
        )
        messages = [Message(content, node_id, MessageType.EVALUATE) for node_id in sorted(nodes)]
        return messages, nodes

    # --- Flower's remaining interface ---

    @property
    def codec(self) -> Codec:
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

    def _drafted(self, server_round: int) -> _Draft:
        if self._draft is None or self._draft.number != server_round:
            raise SettingsError(f"round {server_round} was not configured by this strategy")
        return self._draft

    def _open_for(self, draft: _Draft) -> LedgerRound:
        """The round on chain, opened once for a draft."""
        if draft.opened is None:
            ledger = self.federation.ledger
            with ledger.step():
                draft.opened = self._open_or_reopen(draft.number)
                check_rule(self.inner, self.rule, self.rules.aggregator)  # nobody can change them now
                if ledger.aggregator_since() == draft.number:
                    self._memory = ()
            # Of a sealed round the inner strategy asks all, so that those count who were there when it was asked.
            sealed = draft.epoch is not None
            draft.nodes = draft.members.shown if sealed else self._roster.present(draft.members.inside)
        return draft.opened

    def _by_member(self, messages: list[Message], nodes: Mapping[int, str]) -> dict[str, Message]:
        """The messages by the members whom they go to, ascending by address."""
        addressed: dict[str, Message] = {}
        for message in messages:
            node_id = message.metadata.dst_node_id
            if node_id not in nodes:
                raise SettingsError(
                    f"the strategy sends a message to node {node_id}, which is no member's: choose among the nodes of "
                    "the grid that configure_train is given"
                )
            if nodes[node_id] in addressed:
                raise SettingsError(f"the strategy sends two messages of a round to node {node_id}")
            addressed[nodes[node_id]] = message
        return {member: addressed[member] for member in sorted(addressed, key=by_address)}

    def _check_model(self, content: RecordDict, key: str) -> None:
        sent = content.array_records.get(key)
        if sent is None:
            raise SettingsError(f"the strategy's message holds no ArrayRecord {key!r} with the model")
        if sent is not self.floats and not same_arrays(sent, self.floats):
            raise SettingsError(
                "the strategy sends clients other arrays than the contract's model, so that nobody could tell what "
                "they trained from"
            )

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
        weighted: list[RecordDict] = []
        for accepted in settlement.accepted:
            record = records.get(accepted.member)
            if record is None:  # accepted before this coordinator took the round up
                continue
            metrics = MetricRecord(dict(next(iter(record.metric_records.values()), {})))
            metrics[self.inner.weighted_by_key] = accepted.weight
            weighted.append(RecordDict({"metrics": metrics}))
        if not weighted:
            return None
        return self.inner.train_metrics_aggr_fn(weighted, self.inner.weighted_by_key)
