"""Rounds of federated averaging in pfl-research; importing this joins the processes that the environment names."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.internal.ops import pytorch_ops
from pfl.metrics import Metrics, StringMetricName, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import nn

from federated_bench.data import arrays, place
from federated_bench.networks import NETWORKS
from federated_bench.recipe import LEARNING_RATE, MOMENTUM, SEED

TRAIN_LOSS = StringMetricName("train loss")


class Learner(nn.Module):
    """A network with what pfl asks of a model. `taken`: the sum of the losses of all images since it was reset."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.loss_of, self.taken = network, nn.CrossEntropyLoss(), 0.0

    def loss(self, pixels: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        loss = self.loss_of(self.network(pixels), truth)
        self.taken += loss.item() * len(truth)
        return loss

    def metrics(self, *_: torch.Tensor) -> dict[str, Any]:
        """Of an evaluation: there is none."""
        return {}


class Averaging(FederatedAveraging):
    """Federated averaging that tells the loss in training, and evaluates nobody: pfl would in the first round."""

    def get_next_central_contexts(self, *arguments: Any, **named: Any) -> Any:
        contexts, model, metrics = super().get_next_central_contexts(*arguments, **named)
        if contexts is not None:
            contexts = tuple(dataclasses.replace(one, do_evaluation=False) for one in contexts)
        return contexts, model, metrics

    def train_one_user(self, state: Any, model: Any, dataset: Any, context: Any) -> Any:
        model.pytorch_model.taken = 0.0
        statistics, metrics = super().train_one_user(state, model, dataset, context)
        metrics[TRAIN_LOSS] = Weighted(model.pytorch_model.taken, len(dataset))
        return statistics, metrics


class LastLoss(TrainingProcessCallback):
    """`value`: the mean loss of all images of the last round, while they were trained on."""

    value = float("nan")

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: Any, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.value = aggregate_metrics[TRAIN_LOSS].overall_value
        return False, Metrics()


def play(options: argparse.Namespace) -> dict[str, Any]:
    """Run the rounds and say what they took."""
    np.random.seed(SEED)  # every process samples the same users
    torch.manual_seed(SEED)
    learner = Learner(NETWORKS[options.network]())
    torch.manual_seed(SEED + 1 + pytorch_ops.distributed.global_rank)
    model = PyTorchModel(
        learner,
        functools.partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True),
        torch.optim.SGD(learner.parameters(), lr=1.0),
    )
    users = _users(options)
    last = LastLoss()
    started = time.perf_counter()
    Averaging().run(
        NNAlgorithmParams(
            central_num_iterations=options.rounds,
            evaluation_frequency=options.rounds,
            train_cohort_size=options.sampled,
            val_cohort_size=0,
        ),
        SimulatedBackend(training_data=users, val_data=users, postprocessors=[WeightByDatapoints()]),
        model,
        NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=LEARNING_RATE, local_batch_size=options.batch
        ),
        callbacks=[last],
        send_metrics_to_platform=False,
    )
    seconds = time.perf_counter() - started
    return {"round_seconds": round(seconds / options.rounds, 3), "train_loss": float(last.value)}


def _users(options: argparse.Namespace) -> FederatedDataset:
    images, labels = arrays(options.data)

    def make(user: int) -> Dataset:
        mine = place(user, options.images, len(labels))
        pixels = torch.from_numpy(np.array(images[mine])).float().div_(127.5).sub_(1.0)
        truth = torch.from_numpy(np.array(labels[mine]))
        order = torch.randperm(len(truth))
        return Dataset((pixels[order], truth[order]), user_id=str(user))

    return FederatedDataset(make, get_user_sampler("minimize_reuse", range(options.clients)))
