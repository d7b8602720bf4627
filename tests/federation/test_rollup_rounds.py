"""Rounds that are rolled up: the same models as ever, refusals that can be read, and an audit that misses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from asked import listed_and_asked
from federation_bench import Bench, MakeBench

from fedvm.audit.contributions import contributions
from fedvm.audit.errors import AuditError
from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RollupSubmitted, RoundProposed
from fedvm.chain.rollups import judged_rollup, rollup_judge, submit_rollup
from fedvm.federation import ChainLedger, FederationSettings
from fedvm.federation.errors import LedgerMismatch, SettingsError
from fedvm.protocol import Judged, Refusal, roll_up
from fedvm.store import Cid

LIARS = {0: "inflated_examples", 2: "exploded_update", 3: "bad_signature"}


def settings(submission: Any, rounds: int = 2) -> FederationSettings:
    return FederationSettings(clients=5, rounds=rounds, adversaries=LIARS, submission=submission)


def audited(bench: Bench) -> AuditReport:
    return audit(bench.chain.w3, bench.store, federation=bench.ledger.address, service=None)


def rollups_of(bench: Bench) -> list[RollupSubmitted]:
    contract = FederationContract(bench.chain.w3, bench.ledger.address)
    return [event for event in contract.events() if isinstance(event, RollupSubmitted)]


def contributors(bench: Bench, number: int) -> list[str]:
    found = contributions(FederationContract(bench.chain.w3, bench.ledger.address), bench.store, number)
    return [one.commitment.member for one in found]


def test_a_rolled_up_round_comes_to_the_same_model(make_bench: MakeBench) -> None:
    one, other = make_bench(5, "rollup"), make_bench(5, "commitments")
    result = one.run(settings("rollup"))
    assert result.model_root == other.run(settings("commitments")).model_root
    for record in result.records:
        assert {(refused.member, refused.reason) for refused in record.refused} == {
            (one.members[2], "NormTooLarge"),
            (one.members[3], "BadSignature"),
        }
        capped = [accepted.member for accepted in record.accepted if accepted.capped]
        assert capped == [one.members[0]] and len(record.accepted) == 3
        assert record.gas.submit > 21_000
    assert [event.round for event in rollups_of(one)] == [1, 2] and not rollups_of(other)
    assert set(contributors(one, 2)) == {one.members[at] for at in (0, 1, 4)}
    assert contributors(one, 2) == contributors(other, 2)
    report = audited(one)
    assert not report.findings and report.passed["roll-up"] == 2 and report.passed["relay"] == 10
    listed, asked = listed_and_asked(one.chain.w3, one.store, one.ledger.address, None)
    assert {one.cid for one in listed} == asked and len(listed) == 1 + 2 * (1 + 3 + 1)


def test_auto_relays_few_updates_one_by_one(make_bench: MakeBench) -> None:
    bench = make_bench(5)
    bench.run(settings("auto", rounds=1))
    assert not rollups_of(bench)


def test_rest_allows_no_rollup(make_bench: MakeBench) -> None:
    bench = make_bench(5, rest_rounds=1)
    with pytest.raises(SettingsError, match="rest_rounds allow no roll-ups"):
        bench.run(settings("rollup"))


def test_a_member_reads_why_it_was_refused_from_chain_and_store(make_bench: MakeBench) -> None:
    bench = make_bench(5)
    bench.run(settings("rollup", rounds=1))
    contract = FederationContract(bench.chain.w3, bench.ledger.address)
    reader = ChainLedger(contract, bench.chain.account("user"), store=bench.store)
    reasons = {one.member: one.reason.label for one in reader.history(1).refused}
    assert reasons == {bench.members[2]: "NormTooLarge", bench.members[3]: "BadSignature"}
    without = ChainLedger(contract, bench.chain.account("user"))
    with pytest.raises(SettingsError, match="give it to ChainLedger"):
        without.history(1)


def test_lost_records_are_named(make_bench: MakeBench) -> None:
    bench = make_bench(5)
    bench.run(settings("rollup", rounds=1))
    block = Cid.from_binary(bytes(rollups_of(bench)[0].cid))
    (bench.path / "store" / str(block)).unlink()
    findings = audited(bench).findings
    assert "roll-up" in {finding.check for finding in findings}
    contract = FederationContract(bench.chain.w3, bench.ledger.address)
    with pytest.raises(LedgerMismatch, match="records of round 1 cannot be read"):
        ChainLedger(contract, bench.chain.account("user"), store=bench.store).history(1)
    with pytest.raises(AuditError, match="records of round 1's roll-up cannot be read"):
        contributions(contract, bench.store, 1)


class ForgivingLedger:
    """A coordinator's ledger whose roll-ups count every update, whatever the rules say."""

    def __init__(self, bench: Bench) -> None:
        self._ledger, self._bench = bench.ledger, bench

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def submit_rollup(self, number: int, submissions: Sequence[Any], journal: bytes) -> None:
        contract = FederationContract(self._bench.chain.w3, self._ledger.address)
        judge = rollup_judge(contract, number, [], self._ledger.now())
        honest = judged_rollup(judge, submissions)
        rollup = roll_up(
            [Judged(one.member, one.update, one.signature, Refusal.NONE, 7) for one in honest.judged]
        )
        cid = Cid.parse(self._bench.store.put(rollup.to_bytes())).binary
        with self._ledger._sender() as coordinator:
            submit_rollup(
                contract, coordinator, number, rollup, judged_at=judge.around.time, cid=cid, journal=journal
            )


def test_the_audit_finds_a_rollup_that_breaks_the_rules(make_bench: MakeBench) -> None:
    bench = make_bench(5)
    bench.ledger = ForgivingLedger(bench)  # type: ignore[assignment]
    bench.run(settings("rollup", rounds=1))
    findings = audited(bench).findings
    named = {(finding.check, finding.place.member) for finding in findings}
    assert {("relay", bench.members[2]), ("relay", bench.members[3])} <= named
    assert any(check == "weight" for check, _ in named)
    assert any(
        isinstance(e, RoundProposed)
        for e in FederationContract(bench.chain.w3, bench.ledger.address).events()
    )
