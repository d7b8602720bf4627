"""What Flower's own strategies make of the same updates, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from fedvm.federation.engines.flower_task import SERVER_NODE_ID, set_message_id, task_identity


class _Nodes(Grid):
    """A grid that only says which nodes there are."""

    def __init__(self, count: int) -> None:
        self._ids = list(range(1, count + 1))

    def get_node_ids(self):
        return self._ids

    def set_run(self, run):
        raise NotImplementedError

    @property
    def run(self):
        raise NotImplementedError

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def push_messages(self, messages):
        raise NotImplementedError

    def pull_messages(self, message_ids):
        raise NotImplementedError

    def send_and_receive(self, messages, *, timeout=None):
        raise NotImplementedError


def flower_round(
    strategy: FedAvg, number: int, base: np.ndarray, updates: Sequence[np.ndarray], weights: Sequence[int]
) -> np.ndarray:
    """The model, float64 (n,), that a Flower strategy comes to; base and updates float64 (n,). A client's loss is its
    weight over 10,000."""
    arrays = ArrayRecord({"w": Array(base)})
    with task_identity(run_id=1, node_id=SERVER_NODE_ID):
        messages = list(strategy.configure_train(number, arrays, ConfigRecord(), _Nodes(len(updates))))
    messages.sort(key=lambda message: message.metadata.dst_node_id)
    replies = []
    for message, update, weight in zip(messages, updates, weights, strict=True):
        content = RecordDict(
            {
                "arrays": ArrayRecord({"w": Array(base + update)}),
                "metrics": MetricRecord({"num-examples": weight, "train_loss": weight / 10_000}),
            }
        )
        node_id = message.metadata.dst_node_id
        set_message_id(message, str(node_id))
        with task_identity(run_id=1, node_id=node_id):
            replies.append(Message(content, reply_to=message))
    result, _ = strategy.aggregate_train(number, replies)
    assert result is not None
    return result["w"].numpy().astype(np.float64)
