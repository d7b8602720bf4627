"""The names of the clients' metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PER_CLASS, PERSONAL_EPOCHS, PERSONAL_LR = "per-class", "personal-epochs", "personal-lr"
"""Keys of an evaluate message's config that ask for more than loss and accuracy."""
CLASS_CORRECT, CLASS_EXAMPLES = "class-correct", "class-examples"
PERSONAL_LOSS, PERSONAL_ACCURACY = "personal-loss", "personal-accuracy"
"""Metrics of the reply; the first two are lists, a number a class."""


@dataclass(frozen=True)
class MetricNames:
    """Keys in the MetricRecords of an app. The defaults are those of `fedvm.federation.client.app`.

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
