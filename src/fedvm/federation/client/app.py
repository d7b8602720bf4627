"""The image-classification ClientApp: trains and evaluates on one client's own images, returns no image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, MetricRecordValues, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import nn

from fedvm.federation.metrics import (
    CLASS_CORRECT,
    CLASS_EXAMPLES,
    PER_CLASS,
    PERSONAL_ACCURACY,
    PERSONAL_EPOCHS,
    PERSONAL_LOSS,
    PERSONAL_LR,
    MetricNames,
)
from fedvm.federation.reproducible import derive_seed, reproducible
from fedvm.learning.data import Normalisation, Split
from fedvm.learning.device import deterministic
from fedvm.learning.models import ModelSpec, load_model
from fedvm.learning.settings import TrainingSettings
from fedvm.learning.training import Evaluation, TrainResult, evaluate, train

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"
LEARNING_RATE = "lr"
"""Key of the round's learning rate in a train message's config; the app's own setting where it is missing."""
PROXIMAL_MU = "proximal-mu"
"""Key of FedProx's μ in a train message's config; Flower's strategy puts it there."""
_NAMES = MetricNames()


@dataclass(frozen=True)
class ClientData:
    """One client's own images: what it trains on, and what it keeps back to validate."""

    train: Split
    validation: Split


DataLoader = Callable[[int], ClientData]
"""From a partition id (0 …) to that client's data; called inside the client's own function."""


def image_client_app(
    *,
    model: ModelSpec,
    data: DataLoader,
    training: TrainingSettings,
    seed: int,
    normalisation: Normalisation | None = None,
    mods: Sequence[Mod] = (),
) -> ClientApp:
    """A Flower ClientApp for `model` on the images of `context.node_config["partition-id"]`.

    Train replies: the trained state, and the metrics `num-examples`, `num-labels`, `train-loss`, `train-accuracy`,
    `validation-loss`, `validation-accuracy`. Evaluate replies: `num-examples`, `loss`, `accuracy` of the
    given model on the client's validation images, and what else the message asks for (`client_scores`).
    Training depends only on (seed, round, partition), the given model and the round's learning rate (`lr` in the train
    config, else the settings' own), and runs in one thread. So every engine comes to the same update. The functions
    raise what `fedvm.learning` raises; Flower turns that into an error reply.
    """
    client = _ImageClient(model, data, training, seed, normalisation)
    # PyTorch imports much when it is first made deterministic. Done before the fork, the workers share the memory.
    with deterministic():
        app = ClientApp(mods=list(mods))

    @app.train()
    def train_images(message: Message, context: Context) -> Message:
        return client.train(message, _partition(context))

    @app.evaluate()
    def evaluate_images(message: Message, context: Context) -> Message:
        return client.evaluate(message, _partition(context))

    return app


@dataclass(frozen=True)
class _ImageClient:
    """The client that a process simulates at the moment; the arguments are those of `image_client_app`."""

    model: ModelSpec
    data: DataLoader
    training: TrainingSettings
    seed: int
    normalisation: Normalisation | None

    def train(self, message: Message, partition: int) -> Message:
        config = message.content.config_records[CONFIG]
        own_seed = derive_seed(self.seed, "train", config["server-round"], partition)
        lr = float(str(config.get(LEARNING_RATE, self.training.lr)))
        with reproducible(own_seed):
            own = self.data(partition)
            network = _load(self.model, message)
            result = self._fit(network, own.train, self.training.epochs, lr, own_seed, _proximal_mu(message))
            validation = self._validate(network, own.validation)
        metrics: dict[str, MetricRecordValues] = {
            _NAMES.examples: result.examples,
            _NAMES.labels: len(np.unique(own.train.labels)),
            _NAMES.train_loss: result.loss,
            "train-accuracy": result.accuracy,
            _NAMES.attested_loss: validation.loss,
            _NAMES.attested_accuracy: validation.accuracy,
        }
        state = ArrayRecord(network.cpu().state_dict())
        return Message(RecordDict({ARRAYS: state, METRICS: MetricRecord(metrics)}), reply_to=message)

    def evaluate(self, message: Message, partition: int) -> Message:
        own = self.data(partition)
        network = _load(self.model, message)
        result = self._validate(network, own.validation)
        metrics: dict[str, MetricRecordValues] = {
            _NAMES.examples: result.examples,
            _NAMES.loss: result.loss,
            _NAMES.accuracy: result.accuracy,
        }
        config = message.content.config_records.get(CONFIG, ConfigRecord())
        if config.get(PER_CLASS):
            metrics[CLASS_CORRECT] = list(result.class_correct)
            metrics[CLASS_EXAMPLES] = list(result.class_examples)
        if epochs := int(str(config.get(PERSONAL_EPOCHS, 0))):
            own_seed = derive_seed(self.seed, "personal", partition)
            with reproducible(own_seed):
                self._fit(network, own.train, epochs, float(str(config[PERSONAL_LR])), own_seed)
                personal = self._validate(network, own.validation)
            metrics[PERSONAL_LOSS], metrics[PERSONAL_ACCURACY] = personal.loss, personal.accuracy
        return Message(RecordDict({METRICS: MetricRecord(metrics)}), reply_to=message)

    def _fit(
        self,
        network: nn.Module,
        images: Split,
        epochs: int,
        lr: float,
        own_seed: int,
        proximal_mu: float = 0.0,
    ) -> TrainResult:
        training = self.training
        return train(
            network,
            images.images,
            images.labels,
            epochs=epochs,
            batch_size=training.batch_size,
            optimizer=training.optimizer,
            lr=lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            proximal_mu=proximal_mu,
            criterion=training.criterion,
            augmentation=training.augmentation,
            normalisation=self.normalisation,
            device=training.device,
            seed=own_seed,
        )

    def _validate(self, network: nn.Module, images: Split) -> Evaluation:
        return evaluate(
            network,
            images.images,
            images.labels,
            criterion=self.training.criterion,
            normalisation=self.normalisation,
            device=self.training.device,
        )


def _partition(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _proximal_mu(message: Message) -> float:
    return float(str(message.content.config_records[CONFIG].get(PROXIMAL_MU, 0.0)))


def _load(spec: ModelSpec, message: Message) -> nn.Module:
    return load_model(spec, message.content.array_records[ARRAYS].to_torch_state_dict())
