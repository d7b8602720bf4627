"""Rules that change between the rounds of a run: announced by the owner, adopted after the notice, audited."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from federation_bench import Bench, MakeBench

from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.chain.call import read
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.rule_book import Announced, RuleBookContract, RulesAnnounced, RulesCancelled
from fedvm.federation import FederationSettings, RoundRecord, Watch
from fedvm.federation.client.consent import Consent
from fedvm.federation.coordinator.flower_rules import rule_of
from fedvm.federation.coordinator.flower_strategies import StrategySettings, make_strategy
from fedvm.federation.errors import SettingsError
from fedvm.protocol import Rules

NOTICE = 86_400


def contract_of(bench: Bench) -> FederationContract:
    return FederationContract(bench.chain.w3, bench.ledger.address)


def book_of(bench: Bench) -> RuleBookContract:
    return RuleBookContract(bench.chain.w3, contract_of(bench).rule_book())


def change(bench: Bench, **changes: Any) -> Rules:
    """Announce and adopt; anyone can do the latter."""
    rules = replace(contract_of(bench).rules(), **changes)
    book_of(bench).announce(rules).send(bench.chain.account("owner"))
    bench.chain.advance_time(NOTICE)
    book_of(bench).adopt().send(bench.chain.account("user"))
    return rules


def audited(bench: Bench) -> AuditReport:
    return audit(bench.chain.w3, bench.store, federation=bench.ledger.address, service=None)


def test_each_round_goes_by_the_rules_it_was_opened_with(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    in_force = [contract_of(bench).rules()]

    def after(record: RoundRecord) -> None:
        if record.round == 1:  # the coordinator goes on and learns of it by itself
            in_force.append(change(bench, max_examples=50))
        if record.round == 2:
            in_force.append(change(bench, max_share_ppm=500_000, min_examples=20))

    result = bench.run(FederationSettings(clients=4, rounds=3), watch=Watch(on_round=after))
    assert [record.status for record in result.records] == ["final"] * 3
    weights = [{accepted.weight for accepted in record.accepted} for record in result.records]
    assert weights == [{80}, {50}, {20}]  # half of the whole, when one other weighs at least 20
    hashes = [read(book_of(bench).contract, "roundRulesHash", number) for number in (1, 2, 3)]
    assert hashes == [rules.digest() for rules in in_force]
    report = audited(bench)
    assert report.findings == () and report.passed["rules"] == 3
    assert report.passed["weight"] == report.passed["signature"] == 12


def test_who_agreed_to_other_rules_signs_no_more(make_bench: MakeBench) -> None:
    """Members 0 and 1 pin the rules' hash, member 2 a limit that the new rules break; member 3 pins nothing."""
    bench = make_bench(4, min_clients=1, min_examples=20)
    settings = FederationSettings(clients=4, rounds=2)
    agreed = Consent(rules="0x" + contract_of(bench).rules().digest().hex())
    consents = [agreed, agreed, Consent(min_examples=20), Consent()]
    nodes = [
        replace(node, config={**node.config, **consent.node_config()})
        for node, consent in zip(bench.nodes(settings), consents, strict=True)
    ]

    def after(record: RoundRecord) -> None:
        if record.round == 1:
            change(bench, min_examples=10)

    result = bench.run(settings, nodes=nodes, watch=Watch(on_round=after))
    first, second = result.records
    assert len(first.accepted) == 4 and not first.failures
    assert [accepted.member for accepted in second.accepted] == [bench.members[3]]
    reasons = {failure.member: failure.reason for failure in second.failures}
    assert set(reasons) == set(bench.members[:3])
    assert all("agreed to the rules" in reasons[member] for member in bench.members[:2])
    assert (
        "at least 20 examples of every update only; those that the server names ask for 10"
        in (reasons[bench.members[2]])
    )


def test_an_announcement_can_be_read_and_taken_back(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    book, owner = book_of(bench), bench.chain.account("owner")
    assert book.announced() is None
    rules = replace(contract_of(bench).rules(), min_examples=7)
    with pytest.raises(TransactionFailed, match="NotOwner"):
        book.announce(rules).send(bench.chain.account("user"))
    book.announce(rules).send(owner)
    (announced,) = book.events()
    assert isinstance(announced, RulesAnnounced) and announced.rules == rules
    assert book.announced() == Announced(rules, announced.adoptable_at, announced.adoptable_at + 14 * 86_400)
    with pytest.raises(TransactionFailed, match=rf"NoticeNotOver\({announced.adoptable_at}\)"):
        book.adopt().send(owner)
    book.cancel().send(owner)
    assert book.announced() is None and isinstance(list(book.events())[-1], RulesCancelled)
    with pytest.raises(TransactionFailed, match="NothingAnnounced"):
        book.adopt().send(owner)
    with pytest.raises(TransactionFailed, match="RuleFixed"):
        book.announce(replace(rules, elements=rules.elements + 1)).send(owner)


@pytest.mark.slow
def test_another_aggregator_stops_the_strategy_and_begins_without_memory(make_bench: MakeBench) -> None:
    momentum, mean = StrategySettings("fedavgm", {"server_momentum": 0.5}), StrategySettings("fedavg")
    names = {kind.name: rule_of(make_strategy(kind)).identifier for kind in (momentum, mean)}
    bench = make_bench(3, aggregator=names["fedavgm"])

    def run(strategy: StrategySettings, rounds: int) -> None:
        bench.run(FederationSettings(clients=3, rounds=rounds, strategy=strategy))

    run(momentum, 2)
    change(bench, aggregator=names["fedavg"])
    with pytest.raises(SettingsError, match="the contract's rules say"):
        run(momentum, 3)
    run(mean, 3)
    assert bench.ledger.aggregator_since() == 3
    change(bench, aggregator=names["fedavgm"])
    run(momentum, 4)
    run(momentum, 5)  # a coordinator that takes it up again recalls round 4 and none before
    assert bench.ledger.aggregator_since() == 4
    assert audited(bench).findings == ()


def test_the_audit_finds_rules_that_nobody_announced(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    change(bench, min_examples=3)
    assert audited(bench).findings == ()
    topic = bytes.fromhex(contract_of(bench).contract.events.RulesAdopted().topic.removeprefix("0x"))
    with sqlite3.connect(bench.path / "chain.sqlite") as connection:
        (data,) = connection.execute("SELECT data FROM logs WHERE topic0 = ?", [topic]).fetchone()
        forged = data[:63] + bytes([4]) + data[64:]  # minExamples
        connection.execute("UPDATE logs SET data = ? WHERE topic0 = ?", [forged, topic])
    found = {finding.check: finding.message for finding in audited(bench).findings}
    assert "hash" in found["rules"] and "receipts" in found
