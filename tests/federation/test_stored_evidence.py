"""A federation that asks for stored evidence: real contracts and apps, a provider on the loopback, and a stand-in
verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from federation_bench import Bench, create_bench
from pdp_server import Pdp, provider
from test_foc import BRIEF, HASTY, KEY, state
from test_sealed_rounds_run import CLIENTS, SETTINGS
from test_sealed_rounds_run import RULES as SEALED_RULES

from fedvm.audit.findings import EVIDENCE_CHECKS, AuditReport, Nature
from fedvm.audit.replay import audit
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation import FederationContract
from fedvm.chain.stored_evidence import EvidenceNamed, EvidenceRule, StoredEvidenceContract
from fedvm.devnet.pdp import LocalProvider
from fedvm.federation import ChainLedger, FederationSettings
from fedvm.federation.coordinator import evidence
from fedvm.federation.errors import FederationStalled, SettingsError
from fedvm.store.bundle import Bundles
from fedvm.store.foc import OnchainCloud
from fedvm.store.mirrored import MirroredStore
from fedvm.store.warm_storage import cid_bytes

SET = 11
"""The number that the provider of the tests gives its first data set."""


@dataclass
class Stored:
    """A federation whose evidence must lie with a provider. proves: whether it proves what it is given, which it does
    while the coordinator waits."""

    bench: Bench
    pdp: Pdp
    provider: LocalProvider
    book: StoredEvidenceContract
    proves: bool = True
    told: list[str] = field(default_factory=list)
    _added: int = 0

    def pass_time(self, seconds: int) -> None:
        pieces = self.pdp.data_sets.get(SET, [])
        if self.proves and len(pieces) > self._added:
            self.provider.add(SET, [cid_bytes(one) for one in pieces[self._added :]])
            self._added = len(pieces)
            self.provider.prove(SET)
        self.bench.chain.advance_time(seconds)

    def require(self, rule: EvidenceRule | None) -> None:
        self.book.require(rule).send(self.bench.chain.account("owner"))

    def named(self) -> list[EvidenceNamed]:
        return [event for event in self.book.events() if isinstance(event, EvidenceNamed)]

    def audited(self) -> AuditReport:
        chain = self.bench.chain
        return audit(chain.w3, self.bench.store, federation=self.bench.ledger.address, service=None)


Make = Callable[..., Stored]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    state(tmp_path, monkeypatch)
    made: list[Bench] = []

    with provider(Account.from_key(KEY).address) as pdp:

        def begin(max_age: int = 1_000, challenged: bool = True, clients: int = 4, **how: Any) -> Stored:
            bench = create_bench(tmp_path / "run", clients, **how)
            made.append(bench)
            return over(bench, pdp, max_age, challenged)

        yield begin
    for bench in made:
        bench.chain.close()


def over(bench: Bench, pdp: Pdp, max_age: int, challenged: bool) -> Stored:
    chain = bench.chain
    held = LocalProvider.begin(chain.w3, chain.account("owner"))
    assert [held.create() for _ in range(SET)][-1] == SET
    contract = FederationContract(chain.w3, bench.ledger.address)
    stored = Stored(bench, pdp, held, StoredEvidenceContract.of(contract))
    bench.store = MirroredStore(  # type: ignore[assignment]
        [("store", bench.store), ("foc", OnchainCloud(f"foc+http://{pdp.url}", HASTY, BRIEF))]
    )
    bench.ledger = ChainLedger(
        contract,
        chain.account("coordinator"),
        pass_time=stored.pass_time,
        store=bench.store,
        tell=stored.told.append,
    )
    stored.require(EvidenceRule(held.verifier, max_age, challenged, (SET,)))
    return stored


@contextmanager
def lacking_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A coordinator that leaves an artefact out of what it has stored."""
    with monkeypatch.context() as patch:
        patch.setattr(evidence, "Bundles", lambda store, cids, **kw: Bundles(store, sorted(cids)[1:], **kw))
        yield


def checks(report: AuditReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in report.findings:
        found.setdefault(finding.check, []).append(finding.message)
    return found


def test_results_are_taken_while_their_evidence_is_proved_and_a_round_fails_without_loss(make: Make) -> None:
    stored = make()
    bench, contract = stored.bench, FederationContract(stored.bench.chain.w3, stored.bench.ledger.address)
    coordinator = bench.chain.account("coordinator").address
    result = bench.run(FederationSettings(clients=4, rounds=2))
    assert [record.status for record in result.records] == ["final"] * 2
    assert [(one.round, one.attempt, one.data_set) for one in stored.named()] == [(1, 0, SET), (2, 0, SET)]
    assert len({one.cids for one in stored.named()}) == 2
    # It waited until the provider had proved them.
    assert any("round 1 yet: PieceNotLive(11," in line for line in stored.told)
    report = stored.audited()
    assert report.clean and {report.passed[name] for name in ("evidence data", "evidence kept")} == {2}
    assert report.passed["evidence"] == 4 and report.passed["evidence rule"] == 1
    assert set(EVIDENCE_CHECKS) <= report.passed.keys()

    owed = contract.owed(coordinator)
    stored.proves = False
    result = bench.run(FederationSettings(clients=4, rounds=3))
    assert [record.status for record in result.records] == ["final", "final", "failed"]
    assert len(result.records[2].accepted) == 4 and result.model_root == result.records[1].model_root
    assert any("Round 3 has no result" in line and "PieceNotLive" in line for line in stored.told)
    assert contract.owed(coordinator) == owed  # no bond was taken, and none is held
    assert stored.audited().clean

    stored.proves = True
    result = bench.run(FederationSettings(clients=4, rounds=4))
    assert [record.status for record in result.records] == ["final", "final", "failed", "final"]
    assert stored.audited().clean


@pytest.mark.slow
def test_what_a_provider_gives_up_is_found_by_an_audit(make: Make) -> None:
    stored = make(max_age=40)
    stored.bench.run(FederationSettings(clients=4, rounds=1))
    for _ in range(60):
        stored.bench.chain.advance_time(1)
    report = stored.audited()
    assert "last proved in epoch" in checks(report)["evidence kept"][0]
    assert {one.nature for one in report.findings} == {Nature.MISSING} and len(report.findings) == 1
    stored.provider.remove(SET, stored.named()[0].piece_ids)
    stored.provider.prove(SET)
    assert "is not there any more" in checks(stored.audited())["evidence kept"][0]
    stored.provider.delete(SET)
    assert checks(stored.audited()) == {"evidence kept": [f"data set {SET} is not there any more"]}


@pytest.mark.slow
def test_pieces_that_lack_an_artefact_are_found_by_an_audit(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = make()
    with lacking_one(monkeypatch):
        stored.bench.run(FederationSettings(clients=4, rounds=1))
    report = stored.audited()
    assert checks(report) == {
        "evidence data": ["the pieces that were named are not made of the round's artefacts"]
    }
    assert {one.nature for one in report.findings} == {Nature.FALSE}


@pytest.mark.slow
def test_rolled_up_rounds_have_their_evidence_stored_too(make: Make) -> None:
    stored = make(challenged=False)
    stored.bench.run(FederationSettings(clients=4, rounds=1, submission="rollup"))
    assert stored.audited().clean
    # A round that is rolled up holds the bond until it fails.
    stored.proves = False
    contract = FederationContract(stored.bench.chain.w3, stored.bench.ledger.address)
    owed = contract.owed(stored.bench.chain.account("coordinator").address)
    result = stored.bench.run(FederationSettings(clients=4, rounds=2, submission="rollup"))
    assert result.records[1].status == "failed" and stored.audited().clean
    assert contract.owed(stored.bench.chain.account("coordinator").address) == owed


@pytest.mark.slow
def test_sealed_rounds_have_their_evidence_stored_too(make: Make) -> None:
    stored = make(clients=CLIENTS, sealed=SEALED_RULES, min_clients=8)
    assert [record.status for record in stored.bench.run(SETTINGS).records] == ["final"]
    report = stored.audited()
    assert report.clean and report.passed["evidence data"] == report.passed["evidence kept"] == 1
    stored.proves = False
    result = stored.bench.run(replace(SETTINGS, rounds=2))
    assert [record.status for record in result.records] == ["final", "failed"] and stored.audited().clean


@pytest.mark.slow
def test_a_run_in_which_nothing_is_ever_proved_says_why(make: Make) -> None:
    stored = make()
    stored.proves = False
    with pytest.raises(FederationStalled, match="had its quorum, and no proposal became final"):
        stored.bench.run(FederationSettings(clients=4, rounds=1))


def test_a_coordinator_without_such_a_store_is_told_before_anybody_trains(make: Make) -> None:
    stored = make()
    bench = stored.bench
    folder = bench.store.stores[0]  # type: ignore[attr-defined]
    bench.ledger = ChainLedger(
        FederationContract(bench.chain.w3, bench.ledger.address),
        bench.chain.account("coordinator"),
        pass_time=stored.pass_time,
        store=folder,
    )
    bench.store = folder
    with pytest.raises(SettingsError, match="foc://HOST"):
        bench.run(FederationSettings(clients=4, rounds=1))
    assert bench.ledger.current_round() == 0


def test_who_asks_for_nothing_needs_no_store(make: Make) -> None:
    stored = make()
    stored.require(None)
    bench = stored.bench
    bench.ledger = ChainLedger(
        FederationContract(bench.chain.w3, bench.ledger.address),
        bench.chain.account("coordinator"),
        pass_time=stored.pass_time,
    )
    bench.run(FederationSettings(clients=4, rounds=1, submission="commitments"))
    report = stored.audited()
    assert not stored.named() and report.clean and "evidence" not in report.passed


def test_a_data_set_that_is_not_listed_is_said(make: Make) -> None:
    stored = make()
    stored.require(EvidenceRule(stored.provider.verifier, 10, False, (3,)))
    with pytest.raises(SettingsError, match="lies in data set 11, the federation asks for 3"):
        stored.bench.run(FederationSettings(clients=4, rounds=1))


def test_the_rule_stands_still_in_a_round(make: Make) -> None:
    stored = make()
    stored.bench.ledger.open_round()
    with pytest.raises(TransactionFailed, match="RoundStillOpen"):
        stored.require(None)
