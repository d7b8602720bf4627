"""Ending a run early, keeping its best round, and asking the clients about the finished model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from federation_bench import MODEL, MakeBench, client_data

from fedvm.federation import FederationSettings, RoundRecord
from fedvm.federation.coordinator.client_scores import ScoreQuestion
from fedvm.federation.coordinator.ledger import RoundGas
from fedvm.federation.coordinator.stopping import Stopping, best_round
from fedvm.federation.errors import SettingsError
from fedvm.learning.models import build_model
from fedvm.learning.settings import TrainingSettings
from fedvm.learning.training import evaluate
from fedvm.protocol import int32_from_bytes


def _records(losses: list[float | None], accuracies: list[float | None] | None = None) -> list[RoundRecord]:
    empty = RoundRecord(
        1, "final", (), (), (), (), 0, "", "", None, "", None, RoundGas(0, 0, 0), 0.0
    )  # fmt: skip
    accuracies = accuracies or [None] * len(losses)
    pairs = enumerate(zip(losses, accuracies, strict=True), start=1)
    return [
        replace(empty, round=number, validation_loss=loss, validation_accuracy=accuracy)
        for number, (loss, accuracy) in pairs
    ]


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([], False),
        ([1.0, 0.9, 0.8], False),
        ([1.0, 1.1], False),
        ([1.0, 1.1, 1.0], True),  # as good is not better
        ([1.0, 1.1, 0.98, 1.2], False),
        ([1.0, 1.1, None, 0.9], False),  # a round that nobody evaluated does not count
        ([1.0, None, None], False),
        ([1.0, 1.1, None, 1.2], True),
        ([0.5, 0.495, 0.491], True),  # better by less than min_change
    ],
)
def test_patience(losses: list[float | None], stops: bool) -> None:
    reason = Stopping(patience=2, min_change=0.01).reason(_records(losses))
    assert (reason is not None) == stops
    assert Stopping().reason(_records(losses)) is None
    if reason:
        assert reason == "2 rounds brought no better validation loss"


def test_what_is_reached_ends_the_run() -> None:
    records = _records([0.9, 0.4], [0.6, 0.8])
    assert Stopping(accuracy=0.8).reason(records) == "round 2 reached a validation accuracy of 0.8000"
    assert Stopping(accuracy=0.81).reason(records) is None
    assert Stopping(loss=0.4).reason(records) == "round 2 reached a validation loss of 0.4000"
    assert Stopping(loss=0.39).reason(records) is None


def test_the_best_round() -> None:
    records = _records([0.9, 0.4, 0.4, None], [0.6, 0.7, 0.8, None])
    assert (best := best_round(records)) and best.round == 2, "the first of equals"
    assert (best := best_round(records, "accuracy")) and best.round == 3
    assert best_round(_records([None])) is None
    failed = [replace(record, status="failed") for record in records[1:3]]
    assert (best := best_round([records[0], *failed])) and best.round == 1


def test_errors() -> None:
    for change, words in (
        ({"metric": "gas"}, "unknown metric 'gas'"),
        ({"patience": -1}, "must not be negative"),
        ({"accuracy": 1.5}, r"in \(0, 1\]"),
    ):
        with pytest.raises(SettingsError, match=words):
            Stopping(**change)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="choose last or best"):
        FederationSettings(clients=2, rounds=1, keep="first")


def test_a_run_that_stopped_stays_stopped(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    settings = FederationSettings(clients=2, rounds=4, stopping=Stopping(accuracy=0.01))
    first = bench.run(settings, journal=bench.journal)
    again = bench.run(settings, journal=bench.journal)
    for result in (first, again):
        assert len(result.records) == 1 and result.round == 1
        assert str(result.stopped).startswith("round 1 reached a validation accuracy of 0.")
    assert bench.ledger.current_round() == 1


def test_the_best_round_s_model_is_kept_and_every_client_judges_it(make_bench: MakeBench) -> None:
    wild = TrainingSettings(lr=1.5, warmup_rounds=2)  # worse and worse
    settings = FederationSettings(
        clients=3, rounds=3, training=wild, keep="best", question=ScoreQuestion(2, 0.01)
    )
    bench = make_bench(3)
    result = bench.run(settings)
    best = best_round(result.records)
    assert best is not None and best.round < 3, "the test needs a last round that is not the best"
    assert (result.round, result.model_root) == (best.round, best.model_root)
    stored = int32_from_bytes(bench.store.get(str(best.model_cid)), bench.ledger.rules().elements)
    assert np.array_equal(result.vector, stored)
    network = build_model(MODEL, seed=0)
    network.load_state_dict(result.arrays.to_torch_state_dict())
    assert [score.member for score in result.scores] == sorted(bench.members, key=lambda one: int(one, 16))
    for score in result.scores:
        own = client_data(bench.members.index(score.member)).validation
        expected = evaluate(network, own.images, own.labels)
        assert (score.accuracy, score.loss) == (expected.accuracy, expected.loss)
        assert (score.class_correct, score.class_examples) == (
            expected.class_correct,
            expected.class_examples,
        )
        assert sum(score.class_examples) == score.examples == 40
        assert score.personal_accuracy is not None and score.personal_loss != score.loss
