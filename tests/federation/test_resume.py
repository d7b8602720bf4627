"""Whatever step a coordinator is killed at, the resumed run comes to the uninterrupted run's model."""

from __future__ import annotations

from typing import Any

import pytest
from federation_bench import Bench, MakeBench, create_bench
from federation_crashes import Crashing, HalfSubmitting, Killed

from fedvm.federation import FederationResult, FederationSettings, RoundRecord, Watch

SETTINGS = FederationSettings(clients=3, rounds=2, adversaries={1: "exploded_update"})


def essence(record: RoundRecord) -> tuple[Any, ...]:
    """What must not depend on interruptions."""
    return (
        record.round,
        record.status,
        [(a.member, a.weight, a.cid, a.loss) for a in record.accepted],
        [(r.member, r.reason) for r in record.refused],
        record.model_root,
        record.model_cid,
        record.validation_loss,
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> FederationResult:
    bench = create_bench(tmp_path_factory.mktemp("uninterrupted") / "run", 3)
    try:
        return bench.run(SETTINGS)
    finally:
        bench.chain.close()


def assert_resumes(bench: Bench, expected: FederationResult, **crash: Any) -> None:
    with pytest.raises(Killed):
        bench.run(SETTINGS, journal=bench.journal, **crash)
    resumed = bench.run(SETTINGS, journal=bench.journal)
    assert resumed.model_root == expected.model_root
    assert [essence(r) for r in resumed.records] == [essence(r) for r in expected.records]
    assert bench.ledger.current_round() == SETTINGS.rounds


# The second round's calls: each round has 1 open, 1 submit, 1 propose, 1 conclude, 3 stages, 1 sync and 2 puts.
LEDGER_STEPS = [
    (method, when)
    for method in ("open_round", "submit", "propose", "conclude")
    for when in ("before", "after")
]


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize(("method", "when"), LEDGER_STEPS)
def test_killed_at_a_transaction(
    method: str, when: str, make_bench: MakeBench, uninterrupted: FederationResult
) -> None:
    bench = make_bench(3)
    assert_resumes(bench, uninterrupted, ledger=Crashing(bench.ledger, method, when, nth=2))


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize(("method", "nth"), [("stage", 4), ("sync", 2), ("put", 3), ("put", 4)])
def test_killed_at_the_store(
    method: str, nth: int, make_bench: MakeBench, uninterrupted: FederationResult
) -> None:
    bench = make_bench(3)
    assert_resumes(bench, uninterrupted, store=Crashing(bench.store, method, "after", nth=nth))


@pytest.mark.parametrize("count", [1, 2])
def test_killed_between_two_submissions(
    count: int, make_bench: MakeBench, uninterrupted: FederationResult
) -> None:
    bench = make_bench(3)
    assert_resumes(bench, uninterrupted, ledger=HalfSubmitting(bench.ledger, count))


@pytest.mark.slow
def test_killed_while_clients_train_or_evaluate(
    make_bench: MakeBench, uninterrupted: FederationResult
) -> None:
    for nth in (2, 8, 11):  # in a round: 3 train and 3 evaluate
        bench = make_bench(3, f"client-{nth}")
        answered = 0

        def kill(_: object, nth: int = nth) -> None:
            nonlocal answered
            answered += 1
            if answered == nth:
                raise Killed

        assert_resumes(bench, uninterrupted, watch=Watch(on_client=kill))


def test_killed_in_the_last_evaluation_still_shows_every_round(
    make_bench: MakeBench, uninterrupted: FederationResult
) -> None:
    bench = make_bench(3)
    with pytest.raises(Killed):
        bench.run(SETTINGS, journal=bench.journal, ledger=Crashing(bench.ledger, "gas", "before", nth=2))
    resumed = bench.run(SETTINGS, journal=bench.journal)
    assert resumed.records[-1].validation_loss == uninterrupted.records[-1].validation_loss
    assert resumed.records[0].train_loss == uninterrupted.records[0].train_loss


def test_a_finished_run_resumes_to_itself_from_chain_and_store_alone(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    first = bench.run(SETTINGS)
    again = bench.run(SETTINGS)  # no journal: as if the coordinator's disk were lost
    assert again.model_root == first.model_root
    assert [r.model_root for r in again.records] == [r.model_root for r in first.records]
    assert (again.vector == first.vector).all()


def test_a_round_whose_deadline_passed_while_the_coordinator_was_away_is_failed(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(3)
    with pytest.raises(Killed):
        bench.run(SETTINGS, ledger=Crashing(bench.ledger, "open_round", "after"))
    bench.chain.advance_time(4000)
    resumed = bench.run(SETTINGS)
    assert [record.status for record in resumed.records] == ["failed", "final"]
