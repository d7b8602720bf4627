"""Sealed federations whose rules compare the means of groups: real parts, a lying coordinator, a member's garbage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from federation_bench import Bench, MakeBench
from test_audit_only import LyingLedger, audited
from test_sealed_rounds_run import RULES, SETTINGS

from fedvm.audit.challenge import Challenger
from fedvm.chain.federation import FederationContract
from fedvm.federation.coordinator.flower_strategies import StrategySettings
from fedvm.protocol.aggregators import CoordinateMedian

CLIENTS = 24
MEDIAN = replace(SETTINGS, clients=CLIENTS, strategy=StrategySettings("fedmedian", {}))


def median_bench(make_bench: MakeBench, name: str) -> Bench:
    return make_bench(
        CLIENTS,
        name,
        sealed=replace(RULES, min_roster=CLIENTS, min_groups=3),
        min_clients=8,
        aggregator=CoordinateMedian().identifier,
    )


@pytest.mark.slow
def test_the_audit_and_a_resumed_run_come_to_the_median_of_groups(make_bench: MakeBench) -> None:
    bench = median_bench(make_bench, "median")
    result = bench.run(replace(MEDIAN, rounds=2))
    report = audited(bench)
    assert [record.status for record in result.records] == ["final"] * 2
    assert report.clean and report.passed["model"] == report.passed["aggregate"] == 2
    plain = make_bench(
        CLIENTS, "mean", sealed=replace(RULES, min_roster=CLIENTS, min_groups=3), min_clients=8
    ).run(replace(SETTINGS, clients=CLIENTS))
    assert plain.records[0].model_root != result.records[0].model_root


@pytest.mark.slow
def test_a_false_median_is_found_by_the_audit_alone(make_bench: MakeBench) -> None:
    bench = median_bench(make_bench, "lying")
    lying: Any = LyingLedger(bench)
    caught: list[object] = []

    def conclude(number: int) -> object:
        contract = FederationContract(bench.chain.w3, bench.ledger.address)
        caught.append(Challenger(contract, bench.store, bench.chain.account("user")).challenge())
        return bench.ledger.conclude(number)

    lying.conclude = conclude
    bench.run(MEDIAN, ledger=lying)
    assert caught == [None]
    (finding,) = audited(bench).findings
    assert finding.check == "model" and finding.place.round == 1 and "audit-only" in finding.message
