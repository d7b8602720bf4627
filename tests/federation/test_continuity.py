"""Whatever happens to clients, processes and the coordinator, the rounds go on and come to the same model."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from faults import faulty_nodes
from federation_bench import MakeBench

from fedvm.federation import FederationResult, FederationSettings, RoundRecord

SETTINGS = FederationSettings(clients=4, rounds=3, fraction_evaluate=0.0, min_evaluate_nodes=0)
HERE = Path(__file__).parent


def failed(record: RoundRecord, members: list[str]) -> dict[int, str]:
    """Reason by the number of the client."""
    return {members.index(failure.member): failure.reason for failure in record.failures}


@pytest.mark.slow
def test_drop_outs_differ_from_round_to_round_and_change_nothing_else(make_bench: MakeBench) -> None:
    faults = {(1, 0): "raises", (2, 1): "raises", (2, 3): "raises"}
    results: list[FederationResult] = []
    for workers in (0, 2):
        bench = make_bench(4, f"workers-{workers}")
        results.append(bench.run(SETTINGS, nodes=faulty_nodes(bench, faults), workers=workers))
        reasons = [failed(record, bench.members) for record in results[-1].records]
        assert [sorted(one) for one in reasons] == [[0], [1, 3], []]
        assert "the network is gone" in reasons[0][0]
        assert [len(record.accepted) for record in results[-1].records] == [3, 2, 4]
        assert {record.status for record in results[-1].records} == {"final"}
    assert results[0].model_root == results[1].model_root


@pytest.mark.slow
def test_processes_that_die_and_clients_that_hang_are_replaced(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    faults = {(1, 1): "dies", (1, 2): "dies", (2, 0): "hangs"}
    result = bench.run(SETTINGS, nodes=faulty_nodes(bench, faults), workers=2, client_timeout=5.0)
    first, second, third = (failed(record, bench.members) for record in result.records)
    assert sorted(first) == [1, 2] and all("exit code 9" in reason for reason in first.values())
    assert second == {0: "no answer within 5 s"}
    assert not third and len(result.records[2].accepted) == 4
    raised = dict.fromkeys(faults, "raises")
    other = make_bench(4, "raising")
    same = other.run(SETTINGS, nodes=faulty_nodes(other, raised))
    assert result.model_root == same.model_root  # how a client fails makes no difference


@pytest.mark.slow
@pytest.mark.parametrize("failing", [4, pytest.param(3, marks=pytest.mark.slow)])
def test_a_round_that_all_or_too_many_clients_fail_is_recorded_and_the_next_goes_on(
    failing: int, make_bench: MakeBench
) -> None:
    bench, whole = make_bench(4), make_bench(4, "whole")
    faults = {(2, client): "raises" for client in range(failing)}
    result = bench.run(SETTINGS, nodes=faulty_nodes(bench, faults), journal=bench.journal)
    assert [record.status for record in result.records] == ["final", "failed", "final"]
    assert len(result.records[1].accepted) == 4 - failing
    assert sorted(failed(result.records[1], bench.members)) == list(range(failing))
    assert bench.journal.read(2) == result.records[1]
    assert bench.ledger.round(3).base_root.hex() == result.records[0].model_root.removeprefix("0x")
    honest = whole.run(SETTINGS, nodes=faulty_nodes(whole, {}))
    assert result.records[0].model_root == honest.records[0].model_root


@pytest.mark.slow
def test_what_is_not_finished_in_time_has_no_answer_and_the_next_round_starts_clean(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fedvm.federation.coordinator.strategy.RoundStrategy.seconds_to_answer", lambda _: 5.0
    )
    bench = make_bench(4)
    result = bench.run(SETTINGS, nodes=faulty_nodes(bench, {(1, 3): "hangs"}), workers=2)
    assert failed(result.records[0], bench.members) == {3: "no answer in time"}
    assert [len(record.accepted) for record in result.records] == [3, 4, 4]


@pytest.mark.slow
def test_a_straggler_does_not_take_a_round_over_its_deadline_on_chain(make_bench: MakeBench) -> None:
    bench = make_bench(4, round_seconds=60)
    started = time.monotonic()
    result = bench.run(
        FederationSettings(clients=4, rounds=1, fraction_evaluate=0.0, min_evaluate_nodes=0),
        nodes=faulty_nodes(bench, {(1, 3): "hangs"}),
        workers=2,
    )
    assert 45 < time.monotonic() - started < 60
    assert len(result.records[0].accepted) == 3 and not result.records[0].refused


_PLAY = """
    import sys
    from pathlib import Path
    from federation_bench import reopen_bench
    from fedvm.federation import FederationSettings
    bench = reopen_bench(Path(sys.argv[1]), sys.argv[2], 3)
    print("ready", flush=True)
    settings = FederationSettings(clients=3, rounds=6)
    print(bench.run(settings, journal=bench.journal, workers=2).model_root, flush=True)
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_comes_to_the_same_model(make_bench: MakeBench) -> None:
    expected = make_bench(3, "whole").run(FederationSettings(clients=3, rounds=6)).model_root
    killed = make_bench(3, "killed")
    killed.chain.close()
    rng, kills = random.Random(5), 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_PLAY), str(killed.path), killed.ledger.address],
            cwd=HERE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        try:
            printed, _ = process.communicate(timeout=rng.uniform(0.2, 3.0) if kills < 8 else 200)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    assert process.returncode == 0 and printed.strip() == expected
    assert kills > 0
