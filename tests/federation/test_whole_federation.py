"""Whole federations: real contract, real Flower apps, real training."""

from __future__ import annotations

import numpy as np
import pytest
from federation_bench import MODEL, SEED, MakeBench, client_data, rules
from flwr.app import Array, ArrayRecord, MetricRecord

from fedvm.federation import (
    ClientData,
    FederationResult,
    FederationSettings,
    RoundRecord,
    Watch,
    image_nodes,
)
from fedvm.federation.arrays import named_arrays
from fedvm.federation.coordinator.flower_strategies import StrategySettings
from fedvm.federation.coordinator.sampling import choose_members
from fedvm.federation.errors import FederationStalled, LedgerMismatch, SettingsError
from fedvm.learning.settings import TrainingSettings
from fedvm.protocol import model_root, sum_squares


def ascending(members: list[str]) -> list[str]:
    return sorted(members, key=lambda member: int(member, 16))


def test_honest_clients_learn_and_the_chain_has_the_model(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    result = bench.run(FederationSettings(clients=4, rounds=3), journal=bench.journal)
    assert [record.status for record in result.records] == ["final"] * 3
    for record in result.records:
        assert [a.member for a in record.accepted] == ascending(bench.members) == list(record.sampled)
        assert {(a.weight, a.examples, a.capped) for a in record.accepted} == {(80, 80, False)}
        assert not record.refused and not record.failures
        assert min(record.gas.open, record.gas.submit, record.gas.close) > 21_000
        assert record == bench.journal.read(record.round)
    losses = [record.validation_loss for record in result.records]
    assert losses[2] is not None and losses[0] is not None and losses[2] < losses[0]
    assert result.model_root == result.records[-1].model_root == "0x" + bench.ledger.model_root().hex()
    assert result.model_root == "0x" + model_root(result.vector).hex()
    floats = np.concatenate([array.ravel() for array in named_arrays(result.arrays).values()])
    assert np.array_equal(floats, (result.vector / 2**16).astype(np.float32))


def test_workers_and_repetition_give_the_same_digest(make_bench: MakeBench) -> None:
    settings = FederationSettings(clients=4, rounds=2, fraction_train=0.75, fraction_evaluate=0.5)
    results = [
        make_bench(4, f"run-{index}").run(settings, workers=workers)
        for index, workers in enumerate((0, 0, 1, 2))
    ]
    assert len({result.model_root for result in results}) == 1
    assert len({str([r.validation_loss for r in result.records]) for result in results}) == 1


def test_the_contract_caps_one_liar_and_refuses_another(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    settings = FederationSettings(
        clients=4, rounds=2, adversaries={0: "inflated_examples", 2: "exploded_update"}
    )
    result = bench.run(settings)
    inflated, exploded = bench.members[0], bench.members[2]
    for record in result.records:
        weights = {a.member: (a.weight, a.examples, a.capped) for a in record.accepted}
        assert weights.pop(inflated) == (200, 4000, True)
        assert set(weights.values()) == {(80, 80, False)}
        assert [(r.member, r.reason, r.by) for r in record.refused] == [
            (exploded, "NormTooLarge", "contract")
        ]
        assert record.total_weight == 200 + 2 * 80
        assert 0 < max(a.loss for a in record.accepted) < 5


def test_bad_signatures_replays_and_poor_training_are_refused_by_name(make_bench: MakeBench) -> None:
    bench = make_bench(5, min_accuracy_ppm=120_000)
    settings = FederationSettings(
        clients=5,
        rounds=2,
        training=TrainingSettings(epochs=8, lr=0.05),
        adversaries={0: "bad_signature", 1: "replay", 4: "low_quality"},
    )
    last = bench.run(settings).records[-1]
    reasons = {r.member: r.reason for r in last.refused}
    assert reasons == {
        bench.members[0]: "BadSignature",
        bench.members[1]: "WrongRound",
        bench.members[4]: "AccuracyTooLow",
    }


def test_honest_updates_keep_the_norm_rule_however_tight(make_bench: MakeBench) -> None:
    bench = make_bench(2, max_sum_squares=12_345)
    record = bench.run(FederationSettings(clients=2, rounds=1)).records[0]
    assert len(record.accepted) == 2
    verdicts = bench.ledger.history(1).verdicts
    assert all(12_345 * 0.5 < verdict.sum_squares <= 12_345 for verdict in verdicts)  # type: ignore[union-attr]


def test_the_aggregate_is_the_exact_weighted_mean_of_the_stored_updates(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    before = bench.run(FederationSettings(clients=3, rounds=1, adversaries={0: "inflated_examples"}))
    after = bench.run(FederationSettings(clients=3, rounds=2, adversaries={0: "inflated_examples"}))
    total, weight = np.zeros(len(before.vector), dtype=object), 0
    for update in after.records[-1].accepted:
        vector = np.frombuffer(bench.store.get(update.cid), dtype=">i4")
        assert sum_squares(vector.astype(np.int32)) <= rules().max_sum_squares
        total += vector.astype(object) * update.weight
        weight += update.weight
    expected = [int(base) + int(s) // weight for base, s in zip(before.vector, total, strict=True)]
    assert after.vector.tolist() == expected


def test_fedproxs_term_reaches_the_clients(make_bench: MakeBench) -> None:
    norms = []
    for at, mu in enumerate((None, 5.0)):
        strategy = StrategySettings("fedprox", {"proximal_mu": mu}) if mu else StrategySettings()
        bench = make_bench(2, f"run-{at}")
        bench.run(FederationSettings(clients=2, rounds=1, strategy=strategy))
        norms.append(max(verdict.sum_squares for verdict in bench.ledger.history(1).verdicts))  # type: ignore[union-attr]
    assert norms[1] < 0.7 * norms[0]


def test_sampling_follows_from_the_rounds_public_seed(make_bench: MakeBench) -> None:
    bench = make_bench(6)
    settings = FederationSettings(clients=6, rounds=3, fraction_train=0.5, fraction_evaluate=0.34)
    records = bench.run(settings).records
    for record in records:
        seed = bench.ledger.round(record.round).seed
        assert record.sampled == choose_members(seed, bench.members, 3, purpose="train")
        assert record.evaluated == 2
    assert len({record.sampled for record in records}) > 1


def test_failed_clients_are_named_and_the_round_goes_on(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    settings = FederationSettings(clients=3, rounds=1)

    def data(partition: int) -> ClientData:
        if partition == 1:
            raise OSError("the disk is gone")
        return client_data(partition)

    nodes = image_nodes(settings, model=MODEL, data=data, keys=bench.keys, seed=SEED)
    record = bench.run(settings, nodes=nodes).records[0]
    assert record.status == "final" and len(record.accepted) == 2
    assert [failure.member for failure in record.failures] == [bench.members[1]]
    assert "the disk is gone" in record.failures[0].reason
    assert record.evaluated == 2


def test_rounds_without_quorum_are_recorded_and_stop_the_run_when_they_repeat(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    settings = FederationSettings(
        clients=2, rounds=5, adversaries={0: "exploded_update", 1: "bad_signature"}, max_failed_rounds=2
    )
    seen: list[RoundRecord] = []
    with pytest.raises(FederationStalled, match=r"2 rounds in a row.*0 accepted.*of the 2.*NormTooLarge"):
        bench.run(settings, watch=Watch(on_round=seen.append))
    assert [record.status for record in seen] == ["failed", "failed"]
    assert bench.ledger.current_round() == 2
    honest = bench.run(FederationSettings(clients=2, rounds=3))
    assert [record.status for record in honest.records] == ["failed", "failed", "final"]


def test_server_side_test_is_recorded(make_bench: MakeBench) -> None:
    def test(round_: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord({"loss": float(round_), "accuracy": 0.5, "parameters": len(arrays)})

    result: FederationResult = make_bench(2).run(FederationSettings(clients=2, rounds=2), evaluate_fn=test)
    assert [(r.test_loss, r.test_accuracy) for r in result.records] == [(1.0, 0.5), (2.0, 0.5)]


def test_another_model_or_store_is_refused(make_bench: MakeBench) -> None:
    bench, other = make_bench(2), make_bench(2, "other", round_seconds=99)
    settings = FederationSettings(clients=2, rounds=1)
    with pytest.raises(LedgerMismatch, match="parameters"):
        bench.run(settings, initial=ArrayRecord({"w": Array(np.zeros(3, dtype=np.float32))}))
    with pytest.raises(SettingsError, match="no member"):
        bench.run(settings, keys=["0x" + "11" * 32, other.keys[1]])


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(SettingsError, match="min_train_nodes is 5 but there are 4"):
        FederationSettings(clients=4, rounds=1, min_train_nodes=5)
    with pytest.raises(SettingsError, match="unknown adversary 'liar'; known: bad_signature"):
        FederationSettings(clients=4, rounds=1, adversaries={0: "liar"})
    with pytest.raises(SettingsError, match="adversary 4 is no client"):
        FederationSettings(clients=4, rounds=1, adversaries={4: "replay"})
    with pytest.raises(SettingsError, match="fraction_train is 0"):
        FederationSettings(clients=4, rounds=1, fraction_train=0)
