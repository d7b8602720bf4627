"""The loop over rounds: train, settle, evaluate, record. It resumes at the state that the chain has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from logging import INFO

from flwr.app import ArrayRecord, ConfigRecord, ConfigRecordValues, MetricRecord
from flwr.common import log
from flwr.serverapp import Grid

from fedvm.federation.coordinator.client_scores import ClientScore, ScoreQuestion, ask_scores
from fedvm.federation.coordinator.journal import RoundJournal
from fedvm.federation.coordinator.outcome import TrainOutcome
from fedvm.federation.coordinator.reception import gather, spread_over
from fedvm.federation.coordinator.records import RoundRecord, record_of
from fedvm.federation.coordinator.settlement import recall
from fedvm.federation.coordinator.stopping import Stopping, best_round
from fedvm.federation.coordinator.strategy import RoundStrategy
from fedvm.federation.errors import FederationStalled
from fedvm.federation.metrics import MetricNames, number
from fedvm.protocol.address import by_address
from fedvm.protocol.vector import IntVector
from fedvm.store import Cid

LAST, BEST = "last", "best"
EvaluateFn = Callable[[int, ArrayRecord], MetricRecord | None]
RoundConfig = Callable[[int], Mapping[str, ConfigRecordValues]]


@dataclass(frozen=True)
class FederationResult:
    """The end of a run: a record a round, the model as named float tensors and as int32 (elements,).

    round: the round that the model comes from; stopped: why the run ended before its last round, None if it did not;
    scores: what the clients measured of the model, if they were asked.
    """

    records: tuple[RoundRecord, ...]
    arrays: ArrayRecord
    vector: IntVector
    model_root: str
    model_cid: bytes
    round: int
    stopped: str | None = None
    scores: tuple[ClientScore, ...] = ()


@dataclass(frozen=True)
class _Loop:
    strategy: RoundStrategy
    grid: Grid
    timeout: float
    train_config: Callable[[int], ConfigRecord]
    evaluate_config: ConfigRecord
    evaluate_fn: EvaluateFn | None
    names: MetricNames


def run_rounds(
    strategy: RoundStrategy,
    grid: Grid,
    initial_arrays: ArrayRecord,
    *,
    rounds: int,
    timeout: float = 3600,
    train_config: ConfigRecord | None = None,
    evaluate_config: ConfigRecord | None = None,
    evaluate_fn: EvaluateFn | None = None,
    names: MetricNames | None = None,
    journal: RoundJournal | None = None,
    round_config: RoundConfig | None = None,
    stopping: Stopping | None = None,
    keep: str = LAST,
    question: ScoreQuestion | None = None,
    max_failed_rounds: int = 3,
    on_open: Callable[[int], None] | None = None,
    on_round: Callable[[RoundRecord], None] | None = None,
) -> FederationResult:
    """Run until the chain has `rounds` closed rounds, counting those it has already.

    A round left open by an earlier coordinator is finished first, from its verdicts and the store where they exist.
    initial_arrays: the model's state, named tensors. timeout: seconds for one round's replies, if its deadline on chain
    is not earlier. evaluate_fn: server-side test `(round, float arrays) → MetricRecord` with `loss` and `accuracy`,
    which also go into the metrics of Flower's result. journal: keeps records for resumed runs. round_config: what the
    train messages of a round say in addition to train_config, such as the learning rate. stopping: ends the run early,
    judged by the records; a resumed run needs its journal for this. keep: which model is returned, that of the `LAST`
    final round, or of the `BEST` by validation (`stopping`'s metric). question: what to ask all clients about that
    model. on_open: called with a round's number before it trains. on_round: called with a round's record after it, in
    order, including the earlier rounds of a resumed run.
    If clients depend only on (seed, round, model), a resumed run has the same result as an uninterrupted one.

    Raises:
        FederationStalled: `max_failed_rounds` rounds in a row failed, or none became final; the run can be resumed.
        LedgerMismatch: chain, store and initial_arrays disagree.
    """
    loop = _Loop(
        strategy,
        grid,
        timeout,
        lambda number: ConfigRecord(
            {**(train_config or {}), **(round_config(number) if round_config else {})}
        ),
        evaluate_config or ConfigRecord(),
        evaluate_fn,
        names or MetricNames(),
    )
    arrays = strategy.begin(initial_arrays)
    records: list[RoundRecord] = []

    def finish(record: RoundRecord) -> None:
        records.append(record)
        if on_round:
            on_round(record)

    for record in _closed_rounds(loop, journal):
        finish(record)
    failed_in_a_row = 0
    stopped = None
    for current in range(len(records) + 1, rounds + 1):
        if stopping and (stopped := stopping.reason(records)):
            log(INFO, "Stopped: %s", stopped)
            break
        if on_open:
            on_open(current)
        record, arrays = _play(loop, current, arrays)
        if journal:
            journal.write(record)
        finish(record)
        failed_in_a_row = failed_in_a_row + 1 if record.status == "failed" else 0
        if failed_in_a_row >= max_failed_rounds:
            raise FederationStalled(_stalled(record, failed_in_a_row, strategy.rules.min_clients))
    if all(record.status == "failed" for record in records):
        raise FederationStalled(_stalled(records[-1], len(records), strategy.rules.min_clients))
    result = _result(strategy, records, arrays, keep, stopping or Stopping())
    scores = ask_scores(strategy, grid, result.vector, question, names=loop.names) if question else ()
    return replace(result, stopped=stopped, scores=scores)


def _result(
    strategy: RoundStrategy, records: list[RoundRecord], arrays: ArrayRecord, keep: str, stopping: Stopping
) -> FederationResult:
    ledger = strategy.federation.ledger
    last = max(record.round for record in records if record.status == "final")
    best = best_round(records, stopping.metric) if keep == BEST else None
    if best is None or best.round == last:
        root, cid = ledger.model_root(), ledger.model_cid()
        return FederationResult(tuple(records), arrays, strategy.vector, "0x" + root.hex(), cid, last)
    root = ledger.round(best.round).model_root
    vector = strategy.federation.model_of(str(best.model_cid), root)
    cid = Cid.parse(str(best.model_cid)).binary
    return FederationResult(
        tuple(records), strategy.codec.floats(vector), vector, "0x" + root.hex(), cid, best.round
    )


def _play(loop: _Loop, current: int, arrays: ArrayRecord) -> tuple[RoundRecord, ArrayRecord]:
    strategy, started = loop.strategy, time.monotonic()
    messages = strategy.configure_train(current, arrays, loop.train_config(current), loop.grid)
    timeout = min(loop.timeout, strategy.seconds_to_answer())
    received = gather(loop.grid, messages, strategy.intake, timeout=timeout)
    trained, _ = strategy.conclude_train(current, received, spread=spread_over(loop.grid))
    arrays = arrays if trained is None else trained
    record = record_of(strategy.outcome, gas=strategy.federation.ledger.gas(current), seconds=0.0)
    record = _with_training(record, strategy.outcome, loop.names)
    if trained is not None:
        record = _evaluated(loop, record, arrays)
    return replace(record, seconds=time.monotonic() - started), arrays


def _with_training(record: RoundRecord, outcome: TrainOutcome, names: MetricNames) -> RoundRecord:
    return replace(
        record,
        train_loss=number(outcome.metrics, names.train_loss),
    )


def _evaluated(loop: _Loop, record: RoundRecord, arrays: ArrayRecord) -> RoundRecord:
    """Evaluate the model a round came to: by clients, and on the server's test set if there is one."""
    messages = list(loop.strategy.configure_evaluate(record.round, arrays, loop.evaluate_config, loop.grid))
    replies = list(loop.grid.send_and_receive(messages, timeout=loop.timeout)) if messages else []
    metrics = loop.strategy.aggregate_evaluate(record.round, replies)
    test = loop.evaluate_fn(record.round, arrays) if loop.evaluate_fn else None
    return replace(
        record,
        evaluated=sum(not reply.has_error() for reply in replies),
        validation_loss=number(metrics, loop.names.loss),
        validation_accuracy=number(metrics, loop.names.accuracy),
        test_loss=number(test, loop.names.loss),
        test_accuracy=number(test, loop.names.accuracy),
    )


def _closed_rounds(loop: _Loop, journal: RoundJournal | None) -> list[RoundRecord]:
    """Records of the rounds the chain has closed already: from the journal, else rebuilt from chain and store."""
    ledger = loop.strategy.federation.ledger
    records = []
    for closed in range(1, ledger.current_round() + 1):
        if not ledger.round(closed).status.is_over:
            continue
        record = journal.read(closed) if journal else None
        if record is None:
            record = _recalled(loop, closed)
            if journal:
                journal.write(record)
        records.append(record)
    return records


def _recalled(loop: _Loop, closed: int) -> RoundRecord:
    """The record of a closed round, whose model is evaluated again: the process that played the round was killed before
    it did, or its journal is lost."""
    federation = loop.strategy.federation
    settlement = recall(federation, closed)
    judged = {one.member for one in settlement.accepted} | {one.member for one in settlement.refused}
    sampled = tuple(sorted(judged, key=by_address))
    outcome = TrainOutcome(sampled, settlement, (), None)
    record = record_of(outcome, gas=federation.ledger.gas(closed), seconds=0.0)
    if settlement.model_cid is None or record.status != "final":
        return record
    vector = federation.model_of(settlement.model_cid, settlement.round.model_root)
    with loop.strategy.looking_back(vector) as arrays:
        return _evaluated(loop, record, arrays)


def _stalled(record: RoundRecord, failed: int, quorum: int) -> str:
    if len(record.accepted) >= quorum:
        return (
            f"{failed} rounds in a row came to nothing: round {record.round} had its quorum, and no proposal became "
            "final. Mend what the log says of it, and resume the run."
        )
    why = "; ".join(
        [f"{refused.member} refused: {refused.reason}" for refused in record.refused[:2]]
        + [f"{failure.member} failed: {failure.reason}" for failure in record.failures[:2]]
    )
    return (
        f"{failed} rounds in a row came to nothing: round {record.round} had {len(record.accepted)} accepted "
        f"updates of the {quorum} that the rules demand ({why or 'no client answered'}). "
        "Mend the clients and resume the run."
    )
