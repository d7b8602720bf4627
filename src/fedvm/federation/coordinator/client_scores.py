"""How good the finished model is for each client: measured by all clients, before and after personalising it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from logging import WARNING

from flwr.app import ConfigRecord, Message, MetricRecord
from flwr.common import log
from flwr.serverapp import Grid

from fedvm.federation.coordinator.strategy import RoundStrategy
from fedvm.federation.errors import EngineError
from fedvm.federation.metrics import (
    CLASS_CORRECT,
    CLASS_EXAMPLES,
    PER_CLASS,
    PERSONAL_ACCURACY,
    PERSONAL_EPOCHS,
    PERSONAL_LOSS,
    PERSONAL_LR,
    MetricNames,
    number,
)
from fedvm.protocol.address import by_address
from fedvm.protocol.vector import IntVector


@dataclass(frozen=True)
class ScoreQuestion:
    """What is asked: whether to personalise, that is to train the model on one's own data for `personal_epochs`
    epochs at the rate `personal_lr`. The personal model stays with its client."""

    personal_epochs: int = 0
    personal_lr: float = 0.001

    def to_config(self) -> ConfigRecord:
        """As the config of an evaluate message."""
        return ConfigRecord(
            {PER_CLASS: True, PERSONAL_EPOCHS: self.personal_epochs, PERSONAL_LR: self.personal_lr}
        )


@dataclass(frozen=True)
class ClientScore:
    """What a client says it measured on its validation data; nobody else can check it.

    Losses are means, accuracies shares (0 … 1); `class_correct` of `class_examples` by class, empty where the app
    reports none; personal_*: after personalisation, None without.
    """

    member: str
    examples: int
    loss: float | None
    accuracy: float | None
    class_correct: tuple[int, ...] = ()
    class_examples: tuple[int, ...] = ()
    personal_loss: float | None = None
    personal_accuracy: float | None = None


def ask_scores(
    strategy: RoundStrategy,
    grid: Grid,
    vector: IntVector,
    question: ScoreQuestion,
    *,
    timeout: float = 3600,
    names: MetricNames | None = None,
) -> tuple[ClientScore, ...]:
    """Ask every connected member to evaluate the model `vector`, int32 (elements,); ascending addresses.

    Members that fail or do not answer within `timeout` seconds are missing; all of them, with a line in the log,
    where the clients cannot be reached any more: the rounds are over, and their model does not depend on this.
    """
    try:
        messages, members = strategy.ask_everybody(vector, question.to_config(), grid)
        replies = list(grid.send_and_receive(messages, timeout=timeout))
    except EngineError as error:
        log(WARNING, "Clients were not asked about the finished model: %s", error)
        return ()
    scores = _scores(replies, members, names or MetricNames())
    return tuple(sorted(scores, key=lambda score: by_address(score.member)))


def _scores(
    replies: Iterable[Message], members: Mapping[int, str], names: MetricNames
) -> Iterator[ClientScore]:
    for reply in replies:
        if reply.has_error() or not reply.content.metric_records:
            continue
        metrics = next(iter(reply.content.metric_records.values()))
        yield ClientScore(
            member=members[reply.metadata.src_node_id],
            examples=int(number(metrics, names.examples) or 0),
            loss=number(metrics, names.loss),
            accuracy=number(metrics, names.accuracy),
            class_correct=_counts(metrics, CLASS_CORRECT),
            class_examples=_counts(metrics, CLASS_EXAMPLES),
            personal_loss=number(metrics, PERSONAL_LOSS),
            personal_accuracy=number(metrics, PERSONAL_ACCURACY),
        )


def _counts(metrics: MetricRecord, name: str) -> tuple[int, ...]:
    value = metrics.get(name)
    return tuple(int(count) for count in value) if isinstance(value, list) else ()
