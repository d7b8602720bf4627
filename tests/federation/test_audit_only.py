"""Federations under audit-only rules: exact, resumable, and a lying coordinator is found by the audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from federation_bench import Bench, MakeBench

from fedvm.audit.challenge import Challenger
from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal, UpdateAccepted
from fedvm.federation import FederationSettings
from fedvm.federation.coordinator.flower_rules import rule_of
from fedvm.federation.coordinator.flower_strategies import StrategySettings, make_strategy
from fedvm.federation.errors import LedgerMismatch
from fedvm.protocol import Commitment, CountedUpdate, int32_from_bytes, model_root, to_bytes
from fedvm.protocol.aggregators import RoundFacts, aggregate
from fedvm.store import Cid
from quick import these_quick

AUDIT_ONLY = {
    "fedavgm": {"server_momentum": 0.9, "server_learning_rate": 0.5},
    "fedadam": {"eta": 0.01},
    "fedyogi": {"eta": 0.01},
    "fedadagrad": {"eta": 0.01},
    "fedmedian": {},
    "fedtrimmedavg": {"beta": 0.25},
    "krum": {"num_malicious_nodes": 1},
    "multikrum": {"num_malicious_nodes": 1, "num_nodes_to_select": 2},
    "bulyan": {"num_malicious_nodes": 1},
    "qfedavg": {"client_learning_rate": 0.05, "q": 0.5},
}

QUICK = ("fedavgm", "fedmedian", "krum", "qfedavg")
"""One of each kind: with a memory, by coordinate, by distance, by loss."""


def strategy_settings(name: str) -> StrategySettings:
    return StrategySettings(name, AUDIT_ONLY.get(name, {}))


def federation_of(make_bench: MakeBench, strategy: str, **options: Any) -> Bench:
    rule = rule_of(make_strategy(strategy_settings(strategy)))
    return make_bench(4, aggregator=rule.identifier, **options)


def settings(name: str, rounds: int) -> FederationSettings:
    return FederationSettings(clients=4, rounds=rounds, strategy=strategy_settings(name))


def audited(bench: Bench) -> AuditReport:
    return audit(bench.chain.w3, bench.store, federation=bench.ledger.address, service=None)


class LyingLedger:
    """A coordinator's ledger that proposes a model one unit off at one element, and stores it."""

    def __init__(self, bench: Bench) -> None:
        self._ledger, self._store = bench.ledger, bench.store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def propose(self, number: int, proposal: Proposal) -> None:
        model = int32_from_bytes(self._store.get(proposal.cid), self._ledger.rules().elements)
        model[17] += 1
        cid = Cid.parse(self._store.put(to_bytes(model))).binary
        self._ledger.propose(number, replace(proposal, model_root=model_root(model), cid=cid))


def stored_contributions(bench: Bench, verdicts: Sequence[object], elements: int) -> list[CountedUpdate]:
    return [
        CountedUpdate(
            Commitment(update.member, update.weight, bytes(32), 0),
            int32_from_bytes(bench.store.get(update.cid), elements),
            update.loss_micros,
        )
        for update in verdicts
        if isinstance(update, UpdateAccepted)
    ]


@pytest.mark.parametrize("name", these_quick(AUDIT_ONLY, QUICK))
def test_the_model_is_the_rules_and_the_audit_comes_to_the_same(make_bench: MakeBench, name: str) -> None:
    bench = federation_of(make_bench, name)
    base = int32_from_bytes(bench.store.get(bench.ledger.model_cid()), bench.ledger.rules().elements)
    rule, state = rule_of(make_strategy(strategy_settings(name))), ()
    rounds = 2 if rule.is_stateful else 1
    result = bench.run(settings(name, rounds))
    for number in range(1, rounds + 1):
        given = stored_contributions(bench, bench.ledger.history(number).verdicts, base.size)
        played = aggregate(rule, base, given, state, RoundFacts(number, bench.ledger.rules().fraction_bits))
        base, state = played.model, played.state
    assert np.array_equal(base, result.vector)
    report = audited(bench)
    assert report.clean and report.passed["model"] == report.passed["aggregate"] == rounds
    assert report.aggregation == rule.describe() and report.aggregation.endswith("audit-only)")


@pytest.mark.parametrize("name", these_quick(AUDIT_ONLY, QUICK))
def test_a_lying_coordinator_is_found_by_the_audit_alone(make_bench: MakeBench, name: str) -> None:
    bench = federation_of(make_bench, name)
    lying = LyingLedger(bench)
    caught: list[object] = []

    def conclude(number: int) -> object:
        contract = FederationContract(bench.chain.w3, bench.ledger.address)
        caught.append(Challenger(contract, bench.store, bench.chain.account("user")).challenge())
        return bench.ledger.conclude(number)

    lying.conclude = conclude  # type: ignore[attr-defined]
    bench.run(settings(name, rounds=1), ledger=lying)
    assert caught == [None]  # nobody could have proved it on chain
    (finding,) = audited(bench).findings
    assert finding.check == "model" and finding.place.round == 1 and "audit-only" in finding.message


class Killed(Exception):
    """Stands for the end of a coordinator's process."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fedavgm", pytest.param("fedadam", marks=pytest.mark.slow)])
def test_a_resumed_coordinator_remembers_from_public_data_alone(make_bench: MakeBench, name: str) -> None:
    whole = federation_of(make_bench, name, name="whole").run(settings(name, rounds=2))
    bench = federation_of(make_bench, name, name="parts")
    first = bench.run(settings(name, rounds=1))
    dying = LyingLedger(bench)

    def die(number: int) -> None:
        raise Killed

    dying.propose, dying.conclude = bench.ledger.propose, die  # type: ignore[attr-defined, method-assign]
    with pytest.raises(Killed):  # after round 2 was proposed, before it was final
        bench.run(settings(name, rounds=2), ledger=dying)
    assert bench.run(settings(name, rounds=2)).model_root == whole.model_root != first.model_root


def test_what_a_liar_proposed_is_not_taken_up(make_bench: MakeBench) -> None:
    bench = federation_of(make_bench, "fedmedian")
    lying = LyingLedger(bench)

    def die(number: int) -> None:
        raise Killed

    lying.conclude = die  # type: ignore[attr-defined]
    with pytest.raises(Killed):
        bench.run(settings("fedmedian", rounds=1), ledger=lying)
    with pytest.raises(
        LedgerMismatch, match="not what FedMedian makes of its updates; the rule is audit-only"
    ):
        bench.run(settings("fedmedian", rounds=1))


@pytest.mark.slow
def test_after_an_unverifiable_round_the_audit_says_that_memory_is_unknown(make_bench: MakeBench) -> None:
    bench = federation_of(make_bench, "fedavgm")
    bench.run(settings("fedavgm", rounds=2))
    update = next(v for v in bench.ledger.history(1).verdicts if isinstance(v, UpdateAccepted))
    bench.store.file_of(Cid.from_binary(update.cid)).unlink()
    findings = {(finding.check, finding.place.round): finding.message for finding in audited(bench).findings}
    assert set(findings) == {("update data", 1), ("aggregate", 1), ("model", 2)}
    assert "a round before could not be verified" in findings["model", 2]


def test_an_aggregator_that_nobody_knows_is_a_finding(make_bench: MakeBench) -> None:
    bench = make_bench(2, aggregator=b"\xee" + bytes(31))
    report = audited(bench)
    assert [finding.check for finding in report.findings] == ["rules"]
    assert "not known" in report.findings[0].message and report.aggregation.startswith("unknown")
