"""Runs under the rules that a federation may leave unset, recorded by the contract and audited from the chain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_run import settings, write_digits

from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.chain.federation_types import UpdateRefused
from fedvm.federation.errors import FederationStalled
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.run import run_all
from fedvm.protocol import Refusal, Rules
from fedvm.rundir.run import open_run


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("pictures") / "images")


@pytest.mark.slow
def test_shares_labels_rest_and_stakes_in_a_run(digits: Path, tmp_path: Path) -> None:
    config = _honest(
        digits, tmp_path / "run", rules__min_clients=2, rules__max_share=0.6, rules__min_examples=20,
        rules__min_labels=9, rules__rest_rounds=1, federation__fraction_train=0.5, federation__rounds=3,
        security__stake=10**15, security__bond=10**17, security__challenge_seconds=60,
    )  # fmt: skip
    report = run_all(config)
    assert [row.final for row in report.rounds] == [True] * 3
    first, second, third = ({member.client for member in row.accepted} for row in report.rounds)
    assert not first & second and not second & third  # who counted rests, and is not even asked
    # The other one weighs at least 20: 0.6 of the whole is at most 30, fewer than the clients have.
    assert {member.weight for row in report.rounds for member in row.members} == {30}
    assert report.rules["maxSharePpm"] == 600_000 and report.rules["maxWeight"] == 30
    with open_run(config.out) as run:
        contract = run.federation_contract
        assert contract.security().bond == 10**17 and contract.security().challenge_seconds == 60
        assert {contract.stake_of(member) for member in contract.members()} == {10**15}
    assert _audited(config.out).findings == ()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"rules__min_labels": 11}, Refusal.TOO_FEW_LABELS),  # there are ten digits
        ({"rules__max_epsilon": 8.0}, Refusal.BUDGET_SPENT),  # these clients add no noise and claim none
    ],
)
def test_updates_that_attest_too_little_are_refused_by_name(
    digits: Path, tmp_path: Path, rule: dict[str, float], reason: Refusal
) -> None:
    config = _honest(digits, tmp_path / "run", **rule)
    with pytest.raises(FederationStalled, match=reason.label):
        run_all(config)
    assert _refusals(config.out) == [reason] * 4 * config.federation.rounds
    assert _audited(config.out).findings == ()


@pytest.mark.slow
def test_a_member_that_comes_too_soon_is_refused(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fedvm.federation.coordinator.strategy.resting_members", lambda ledger, number: frozenset()
    )
    config = _honest(
        digits, tmp_path / "run", rules__min_clients=2, rules__rest_rounds=1,
        federation__fraction_train=0.5, federation__min_train_nodes=2, federation__rounds=4, run__seed=8,
    )  # fmt: skip
    report = run_all(config)
    asked_again = 0
    resting: set[int] = set()
    for row in report.rounds:
        counted = {member.client for member in row.accepted}
        asked_again += len({member.client for member in row.refused})
        assert not counted & resting
        assert {member.refused for member in row.refused} <= {"TooSoon"}
        resting = counted if row.final else set()  # a failed round asks for no rest
    assert asked_again and _refusals(config.out) == [Refusal.TOO_SOON] * asked_again
    assert _audited(config.out).findings == ()


def _honest(digits: Path, out: Path, **overrides: object) -> RunConfig:
    """The small run without its two adversaries; overrides as `table__key=value`."""
    values = {key: value for key, value in settings(digits, out).items() if "adversaries" not in key}
    return load_config(
        None, {**values, **{key.replace("__", "."): value for key, value in overrides.items()}}
    )


def _audited(path: Path) -> AuditReport:
    with open_run(path) as run:
        places = run.deployment
        return audit(
            run.w3, run.store, federation=places.federation, service=places.service, first_block=places.block
        )


def _refusals(path: Path) -> list[Refusal]:
    with open_run(path) as run:
        events = run.federation_contract.events([UpdateRefused])
        return [event.reason for event in events if isinstance(event, UpdateRefused)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_share_ppm": 250_000}, "No member has more than 25.0% of the say"),
        ({"min_accuracy_ppm": 800_000}, "right in 80.0%"),
        ({"max_loss_micros": 2_500_000}, "must not be above 2.5"),
        ({"min_labels": 3}, "3 different classes or more"),
        ({"rest_rounds": 1}, "sits the next round out"),
        ({"rest_rounds": 2}, "sits the next 2 rounds out"),
        ({"max_epsilon_micros": 8_000_000}, "ε = 8"),
    ],
)
def test_each_rule_has_a_sentence_for_people(change: dict[str, int], sentence: str) -> None:
    plain = Rules(10, 50, 300, (10 << 20) ** 2, 1000, 20, 3600, 0, 0, 1_000_000, 0, 0, 0, bytes(32))
    assert sentence in " ".join(replace(plain, **change).sentences())  # type: ignore[arg-type]
    assert sentence not in " ".join(plain.sentences())
