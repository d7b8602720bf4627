"""The server's learning-rate schedule, as clients see it."""

from __future__ import annotations

import pytest
from federation_bench import MODEL, SEED, MakeBench, client_data
from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from fedvm.federation import FederationSettings, Node, Watch, fedvm_mod
from fedvm.federation.client.app import CONFIG, LEARNING_RATE, image_client_app
from fedvm.learning.settings import ScheduleName, TrainingSettings

SETTINGS = FederationSettings(
    clients=2, rounds=3, fraction_evaluate=0, min_evaluate_nodes=0,
    training=TrainingSettings(lr=0.08, schedule=ScheduleName.LINEAR),
)  # fmt: skip


def test_clients_are_told_the_rate_of_their_round(make_bench: MakeBench) -> None:
    def tell(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        rate = message.content.config_records[CONFIG][LEARNING_RATE]
        reply = call_next(message, context)
        next(iter(reply.content.metric_records.values()))["train-loss"] = rate  # type: ignore[assignment]
        return reply

    bench = make_bench(2)
    app = image_client_app(
        model=MODEL, data=client_data, training=SETTINGS.training, seed=SEED, mods=[fedvm_mod, tell]
    )
    nodes = [Node(node.node_id, node.config, app) for node in bench.nodes(SETTINGS)]
    records = bench.run(SETTINGS, nodes=nodes).records
    assert [record.train_loss for record in records] == pytest.approx([0.08, 0.16 / 3, 0.08 / 3])


@pytest.mark.slow
def test_the_schedule_acts_and_a_resumed_run_keeps_it(make_bench: MakeBench) -> None:
    whole = make_bench(2, "whole").run(SETTINGS)
    constant = make_bench(2, "constant").run(
        FederationSettings(
            clients=2, rounds=3, fraction_evaluate=0, min_evaluate_nodes=0,
            training=TrainingSettings(lr=0.08),
        )
    )  # fmt: skip
    assert whole.records[0].model_root == constant.records[0].model_root
    assert whole.model_root != constant.model_root

    def stop(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    bench = make_bench(2, "resumed")
    with pytest.raises(KeyboardInterrupt):
        bench.run(SETTINGS, watch=Watch(on_open=stop))
    assert bench.run(SETTINGS).model_root == whole.model_root
