"""Whole federations: real contract, real Flower apps, real training."""

from __future__ import annotations

from conftest import MakeBench

from fedvm.federation import FederationSettings


def test_honest_clients_learn_and_the_chain_has_the_model(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    seen: list[int] = []
    result = bench.run(FederationSettings(clients=4, rounds=3), journal=bench.journal)
    assert [record.status for record in result.records] == ["final"] * 3
    for record in result.records:
        assert [a.member for a in record.accepted] == sorted(bench.members, key=lambda m: int(m, 16))
        assert {a.weight for a in record.accepted} == {80}
        assert not record.refused and not record.failures
        assert min(record.gas.open, record.gas.submit, record.gas.close) > 21_000
    losses = [record.validation_loss for record in result.records]
    assert losses[2] is not None and losses[0] is not None and losses[2] < losses[0]
    assert result.model_root == result.records[-1].model_root == "0x" + bench.ledger.model_root().hex()
    assert seen == []
