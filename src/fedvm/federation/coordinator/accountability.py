"""What an accountable strategy does beside being the strategy that it wraps: a round on chain for each of Flower's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from logging import INFO, WARNING
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from fedvm.chain.federation_types import RoundState
from fedvm.federation.arrays import VECTOR, same_arrays
from fedvm.federation.commitment import norm_bound
from fedvm.federation.coordinator.in_place import Founded, InPlace, longest_sum_squares
from fedvm.federation.coordinator.membership import Federation
from fedvm.federation.coordinator.outcome import TrainOutcome
from fedvm.federation.coordinator.reception import Received, TakeIn, Taken, spread_over
from fedvm.federation.coordinator.roster import MemberGrid
from fedvm.federation.coordinator.strategy import RoundStrategy
from fedvm.federation.coordinator.verdict_lines import log_verdicts
from fedvm.federation.engines.grid import InProcessGrid
from fedvm.federation.engines.grids import GridAround
from fedvm.federation.errors import FederationStalled, SettingsError
from fedvm.federation.terms import RECORD
from fedvm.protocol.vector import IntVector

_MOST_FAILED = 3
_PROPOSED_ROOM = 3


class Accountability:
    """The rounds of one strategy on one federation.

    inner: the strategy. federation: the contract and the store; None to make one when the first round begins, as
    `in_place` says. keeps_arrays: whether the strategy's own code looks at the clients' arrays before they are
    aggregated.
    """

    def __init__(
        self, inner: FedAvg, federation: Federation | None, in_place: InPlace, *, keeps_arrays: bool
    ) -> None:
        self._inner = inner
        self._in_place = in_place
        self._founded: Founded | None = None
        self._keeps_arrays = keeps_arrays
        self._rounds: RoundStrategy | None = None
        if federation is not None:
            self._rounds = RoundStrategy(inner, federation=federation)
        self._grid: Grid | None = None
        self._begun = False
        self._closed = 0
        self._taken: dict[int, Received] = {}
        self._settled: tuple[int, ArrayRecord | None] | None = None
        self._failed_in_a_row = 0
        self._any_final = False
        self._norms_told = False

    # --- what a program may ask ---

    @property
    def rounds(self) -> RoundStrategy:
        """The rounds on chain. Raises SettingsError before there is a federation."""
        if self._rounds is None:
            raise SettingsError("the federation is made when the first round begins: call start(...) first")
        return self._rounds

    @property
    def federation(self) -> Federation:
        """The contract and the store. Raises as `rounds`."""
        return self.rounds.federation

    @property
    def vector(self) -> IntVector:
        """The global model, int32 (elements,). Raises as `rounds`, and SettingsError before the first round."""
        return self.rounds.vector

    @property
    def outcome(self) -> TrainOutcome:
        """How the latest round went. Raises as `rounds`, and SettingsError before a round was settled."""
        return self.rounds.outcome

    @property
    def directory(self) -> Path:
        """Of a federation that was made in place. Raises SettingsError for another, and before it is made."""
        made = self._founded.run.path if self._founded else None
        if made is None:
            raise SettingsError("no federation has been made in place")
        return made

    def close(self) -> None:
        """Let go of a federation that was made in place, so that other processes can write to its chain. It is open as
        long as this process runs otherwise."""
        if self._founded is not None and self._founded.run.chain is not None:
            self._founded.run.chain.close()

    # --- the parts of a round ---

    def begin(self, grid: Grid, initial: ArrayRecord, config: ConfigRecord | None = None) -> ArrayRecord:
        """Make the federation, if there is none, look at where it stands, and return the model's arrays. config: what
        train messages say.

        Raises as `InPlace.found` and `RoundStrategy.begin`.
        """
        self._grid = grid.inside if isinstance(grid, ReceivingGrid) else grid
        if self._rounds is None:
            founded = self._founded = self._in_place.found(
                self._grid, self._inner, initial, config or ConfigRecord()
            )
            initial = founded.initial
            self._rounds = RoundStrategy(self._inner, federation=founded.federation, roster=founded.roster)
        arrays = self._rounds.begin(initial)
        ledger = self.federation.ledger
        current = ledger.current_round()
        left_open = current > 0 and not ledger.round(current).status.is_over
        self._closed = current - 1 if left_open else current
        self._any_final = any(not _is_failed(self.federation, one) for one in range(1, self._closed + 1))
        self._begun = True
        return arrays

    def describe(self, wanted: int | None) -> None:
        """Log which contract records the rounds, and what is left to do of `wanted` rounds, if that is known."""
        ledger = self.federation.ledger
        log(INFO, "\t├──> Accountable to %s on chain %s", ledger.address, ledger.chain_id)
        log(INFO, "\t│\t└── Aggregation: %s", self.rounds.rule.describe())
        if self._closed == 0:
            return
        if wanted is not None and wanted <= self._closed:
            log(
                WARNING,
                "The federation has played %d rounds already and %d are asked for: nothing is trained. Ask for more "
                "rounds to go on from its model, or name another federation to begin anew",
                self._closed,
                wanted,
            )
        else:
            log(
                INFO, "The federation has played %d rounds already; training goes on after them", self._closed
            )

    def is_closed(self, number: int) -> bool:
        """Whether a run before this one played the round."""
        return number <= self._closed

    def prepare_train(self, number: int, grid: Grid) -> MemberGrid:
        """The nodes that the strategy may choose from."""
        self._taken.clear()
        return self.rounds.prepare_train(number, grid)

    def choose_to_train(self, number: int, drafts: Iterable[Message]) -> list[Message]:
        """As `RoundStrategy.choose_to_train`."""
        return self.rounds.choose_to_train(number, drafts)

    def choose_to_evaluate(self, number: int, drafts: Iterable[Message]) -> list[Message]:
        """As `RoundStrategy.choose_to_evaluate`."""
        return self.rounds.choose_to_evaluate(number, drafts, self.grid)

    @property
    def grid(self) -> Grid:
        """The app's grid, as it was given last."""
        if self._grid is None:
            raise SettingsError("no round has begun")
        return self._grid

    def begin_with(
        self, number: int, grid: Grid, arrays: ArrayRecord, config: ConfigRecord | None = None
    ) -> ArrayRecord:
        """The model's arrays, for an app that comes to a round with `arrays`.

        Raises:
            SettingsError: these are another model than the round before came to.
        """
        if not self._begun:  # an app that goes through the rounds by itself
            return self.begin(grid, arrays, config)
        self._grid = grid.inside if isinstance(grid, ReceivingGrid) else grid
        floats = self.rounds.floats
        replayed = self._settled is None or self.is_closed(number)
        if replayed or arrays is floats or same_arrays(arrays, floats):
            return floats
        raise SettingsError(
            "the app changed the model between two rounds; nobody could recompute that. Train from the arrays that "
            "aggregate_train returns"
        )

    @property
    def take_in(self) -> TakeIn:
        """Takes in the replies of the round that is under way, wherever they arrive."""
        return TakeIn(self.rounds.intake, self._keeps_arrays)

    def remember(self, taken: Taken) -> Message:
        """Keep what was taken in of a reply, and return what the strategy's own code sees of it."""
        self._taken[taken.received.node_id] = taken.received
        return taken.reply

    def receive(self, replies: Iterable[Message]) -> list[Message]:
        """The replies as the strategy's own code sees them: with the arrays that clients trained, or with none."""
        listed = []
        for reply in replies:
            if reply.metadata.src_node_id in self._taken:
                listed.append(reply)
            else:
                listed.append(self.remember(self.take_in(reply)))
        if self._keeps_arrays:
            for reply in listed:
                if not reply.has_error():
                    self._show_arrays(reply)
        return listed

    def settle(
        self, number: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Settle the round on chain, with the updates of those replies that the strategy passes on."""
        if self.is_closed(number):
            arrays = self._arrays_of(number)
            self._settled = number, arrays
            return arrays, None
        passed = {reply.metadata.src_node_id for reply in replies}
        received = [self._as_passed(one, passed) for one in self._taken.values()]
        if not received and not self.rounds.is_configured(number):  # nobody was to train
            self._settled = number, None
            return None, None
        trained, metrics = self.rounds.conclude_train(number, received, spread=spread_over(self.grid))
        self._settled = number, trained
        self._tell(received)
        self._count(trained is None)
        return trained, metrics

    def check_settled(self, number: int, arrays: ArrayRecord | None) -> None:
        """Raise SettingsError unless the strategy's `aggregate_train` returns what the round came to."""
        name = type(self._inner).__name__
        if self._settled is None or self._settled[0] != number:
            raise SettingsError(
                f"{name}.aggregate_train did not call super().aggregate_train(server_round, replies), which settles "
                "the round on chain"
            )
        settled = self._settled[1]
        if arrays is settled or (arrays is not None and settled is not None and same_arrays(arrays, settled)):
            return
        raise SettingsError(
            f"{name}.aggregate_train changes the model after its aggregation; nobody could recompute that: return what "
            "super().aggregate_train(server_round, replies) returned"
        )

    def end(self) -> None:
        """Raise FederationStalled if rounds were played and none became final."""
        if self._begun and self._failed_in_a_row and not self._any_final:
            raise FederationStalled(self._stalled())

    # --- parts ---

    def _as_passed(self, received: Received, passed: set[int]) -> Received:
        if received.submission is None or received.node_id in passed:
            return received
        return replace(received, submission=None, failure="the strategy's aggregate_train left its reply out")

    def _arrays_of(self, number: int) -> ArrayRecord | None:
        federation = self.federation
        if _is_failed(federation, number):
            return None
        round_ = federation.ledger.round(number)
        return self.rounds.codec.floats(federation.model_of(round_.model_cid, round_.model_root))

    def _show_arrays(self, reply: Message) -> None:
        for key, record in reply.content.array_records.items():
            if VECTOR not in record:
                continue
            reply.content[key] = self.rounds.codec.trained(self.vector, record)

    def _tell(self, received: list[Received]) -> None:
        by_member: dict[str, Received] = {
            one.submission.member: one
            for one in sorted(received, key=lambda one: one.node_id)
            if one.submission is not None
        }
        rules = self.rounds.rules
        weighted_by = self._inner.weighted_by_key
        log_verdicts(self.outcome, by_member, weighted_by=weighted_by, bound=norm_bound(rules))
        accepted = self.outcome.settlement.accepted
        unbounded = (
            rules.max_sum_squares >= longest_sum_squares(rules.elements) and not self.rounds.rule.over_bytes
        )
        if unbounded and accepted and not self._norms_told:
            self._norms_told = True
            norms = sorted(math.ldexp(math.sqrt(one.sum_squares), -rules.fraction_bits) for one in accepted)
            log(
                INFO,
                "\t└──> Updates had norms of %.3g to %.3g, and no rule bounds them. To have longer ones refused: fedvm "
                "rules announce --set max_norm=%.3g",
                norms[0],
                norms[-1],
                _PROPOSED_ROOM * norms[-1] or 1.0,
            )

    def _count(self, failed: bool) -> None:
        if not failed:
            self._any_final, self._failed_in_a_row = True, 0
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _MOST_FAILED:
            raise FederationStalled(self._stalled())

    def _stalled(self) -> str:
        outcome, quorum = self.outcome, self.rounds.rules.min_clients
        why = [f"{one.member} refused: {one.reason}" for one in outcome.settlement.refused[:2]]
        why += [f"{one.member} failed: {one.reason}" for one in outcome.failures[:2]]
        return (
            f"{self._failed_in_a_row} rounds in a row came to nothing: round {outcome.settlement.round.number} had "
            f"{len(outcome.settlement.accepted)} accepted updates of the {quorum} that the rules demand "
            f"({'; '.join(why) or 'no client answered'}). Mend the clients and run the app again."
        )


class ReceivingGrid(GridAround):
    """The app's grid; replies of a round on chain are taken in where they arrive, in worker processes if there are any,
    so that this process never holds a round's updates."""

    def __init__(self, grid: Grid, accountability: Accountability) -> None:
        self._grid = grid
        self._accountability = accountability

    @property
    def inside(self) -> Grid:
        """The app's grid."""
        return self._grid

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """As the grid inside; the replies to messages of a round end before its deadline on chain."""
        listed = list(messages)
        if not any(RECORD in message.content.config_records for message in listed):
            return self._grid.send_and_receive(listed, timeout=timeout)
        left = self._accountability.rounds.seconds_to_answer()
        limit = left if timeout is None else min(timeout, left)
        return list(self._taken(listed, limit))

    def _taken(self, messages: list[Message], timeout: float) -> Iterator[Message]:
        accountability = self._accountability
        take_in = accountability.take_in
        if isinstance(self._grid, InProcessGrid):
            taken: Iterable[Taken] = self._grid.stream(messages, take_in, timeout=timeout)
        else:
            taken = map(take_in, self._grid.send_and_receive(messages, timeout=timeout))
        yield from map(accountability.remember, taken)


def _is_failed(federation: Federation, number: int) -> bool:
    return federation.ledger.round(number).status is RoundState.FAILED
