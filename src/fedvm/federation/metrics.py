"""What the metrics of clients are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricNames:
    """Keys in the MetricRecords of an app. The defaults are those of `fedvm.federation.client`.

    examples: in every reply. train_loss, attested_accuracy, attested_loss, labels, epsilon: in train replies;
    accuracy and loss measured by the client on its own validation data with the model it trained, labels the number
    of distinct labels among its training examples, epsilon the ε of differential privacy it has spent so far (the
    last two only where the app reports them). accuracy, loss: in evaluate replies, measured with the global model.
    """

    examples: str = "num-examples"
    train_loss: str = "train-loss"
    attested_accuracy: str = "validation-accuracy"
    attested_loss: str = "validation-loss"
    labels: str = "num-labels"
    epsilon: str = "epsilon"
    accuracy: str = "accuracy"
    loss: str = "loss"


def number(metrics: Mapping[str, object] | None, name: str) -> float | None:
    """The metric as a float, None if it is missing or a list."""
    value = None if metrics is None else metrics.get(name)
    return float(value) if isinstance(value, int | float) else None
