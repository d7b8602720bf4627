"""Train and evaluate a classifier on images in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fedvm.learning.augment import AUGMENTATIONS, augment
from fedvm.learning.data import Images, Labels, Normalisation, Split
from fedvm.learning.device import deterministic, resolve_device
from fedvm.learning.errors import TrainingError, unknown_name
from fedvm.learning.optimisation import Criterion, make_criterion, make_optimizer
from fedvm.learning.settings import Recipe

Progress = Callable[[int, int], None]
_EVALUATION_BATCH = 256


@dataclass(frozen=True)
class TrainResult:
    """What a client reports: mean `loss` and `accuracy` (0..1) over the last epoch, as seen while training.

    `steps` counts optimizer steps over all epochs; `examples` is the number of distinct examples.
    """

    loss: float
    accuracy: float
    steps: int
    examples: int


@dataclass(frozen=True)
class Evaluation:
    """Mean `loss` and `accuracy` (0..1) over `examples`, and right answers out of examples per class."""

    loss: float
    accuracy: float
    examples: int
    class_correct: tuple[int, ...]
    class_examples: tuple[int, ...]

    @property
    def class_accuracy(self) -> tuple[float | None, ...]:
        """Accuracy per class (recall), None for a class without examples."""
        pairs = zip(self.class_correct, self.class_examples, strict=True)
        return tuple(correct / count if count else None for correct, count in pairs)


def train(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    epochs: int = Recipe.epochs,
    batch_size: int = Recipe.batch_size,
    optimizer: str = Recipe.optimizer,
    lr: float = Recipe.lr,
    momentum: float = Recipe.momentum,
    weight_decay: float = Recipe.weight_decay,
    proximal_mu: float = 0.0,
    criterion: str = Recipe.criterion,
    augmentation: str = Recipe.augmentation,
    normalisation: Normalisation | None = None,
    device: str = "cpu",
    seed: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> TrainResult:
    """Train `model` in place.

    The result depends only on the arguments and the weights: order and augmentation come from a separate generator
    seeded with `seed`, kernels are deterministic and run in `threads` threads, so that on CPUs with the same vector
    units it is the same to the bit whatever the number of cores (see `device.deterministic`). Layers that draw random
    numbers themselves (dropout) use the process's generator, which is seeded for the call and then put back.

    Args:
        model: float32 [N, C, H, W] (normalised) to logits [N, classes].
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        epochs: passes over the data; each in a new random order. The last batch may be smaller.
        optimizer: a name in `optimisation.OPTIMIZERS`; `lr`, `momentum`, `weight_decay` are its settings.
        proximal_mu: μ of FedProx: μ/2 · ‖w − w₀‖² over the trainable parameters is added to the loss, w₀ being the
            given ones (Li et al. 2020, arXiv:1812.06127, equation 2). The reported loss is without it.
        criterion: a name in `optimisation.CRITERIA`.
        augmentation: a name in `augment.AUGMENTATIONS`.
        normalisation: of the pixels; the default maps 0..255 to −1..1.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: of PyTorch, during the call.
        progress: called after each epoch with (epochs done, epochs).

    Raises:
        TrainingError: a setting is out of range, there are no examples, or the loss stops being finite.
        DataError: the arrays are not labelled images.
    """
    examples = Split(images, labels)
    _check(examples, epochs, batch_size, augmentation, proximal_mu)
    target = resolve_device(device)
    loss_of = make_criterion(criterion)
    pixels, truth = _to_device(examples, target)
    generator = torch.Generator().manual_seed(seed)
    cuda = [target] if target.type == "cuda" else []
    with deterministic(threads), torch.random.fork_rng(devices=cuda):
        if cuda:
            torch.manual_seed(seed)
        else:  # the same, without queueing seeds for devices that are never used
            torch.default_generator.manual_seed(seed)
        model.to(target).train()
        stepper = make_optimizer(optimizer, model, lr=lr, momentum=momentum, weight_decay=weight_decay)
        trainer = _Trainer(
            model,
            loss_of,
            stepper,
            lambda chosen: augment(_normalise(chosen, normalisation), augmentation, generator),
            proximal_mu,
            _anchors(model) if proximal_mu else [],
        )
        for epoch in range(1, epochs + 1):
            batches = _batches(len(examples), batch_size, generator)
            loss, accuracy = trainer.epoch(pixels, truth, batches)
            _require_finite(loss, epoch, lr)
            if progress is not None:
                progress(epoch, epochs)
    steps = epochs * math.ceil(len(examples) / batch_size)
    return TrainResult(loss, accuracy, steps, len(examples))


def evaluate(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    criterion: str = "cross_entropy",
    normalisation: Normalisation | None = None,
    device: str = "cpu",
    threads: int = 1,
) -> Evaluation:
    """Loss and accuracy, overall and per class; `model` keeps its mode. Arguments as for `train`.

    Raises:
        TrainingError: there are no examples, or a name is unknown.
        DataError: the arrays are not labelled images.
    """
    examples = Split(images, labels)
    loss_of = make_criterion(criterion)
    logits = predict(model, images, normalisation=normalisation, device=device, threads=threads)
    scores, truth = torch.from_numpy(logits), torch.from_numpy(labels)
    with deterministic(threads):
        loss = _mean_loss(loss_of, scores, truth)
    right = labels[logits.argmax(1) == labels]
    classes = max(logits.shape[1], int(labels.max()) + 1)
    correct = np.bincount(right, minlength=classes)
    total = np.bincount(labels, minlength=classes)
    return Evaluation(
        loss, len(right) / len(examples), len(examples), tuple(correct.tolist()), tuple(total.tolist())
    )


def predict(
    model: nn.Module,
    images: Images,
    *,
    normalisation: Normalisation | None = None,
    device: str = "cpu",
    threads: int = 1,
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Logits float32 [N, classes] for images uint8 [N, C, H, W]; `model` keeps its mode.

    Raises:
        TrainingError: there are no images, or the machine does not have the device.
    """
    if not len(images):
        raise TrainingError("there are no examples to evaluate")
    target = resolve_device(device)
    was_training = model.training
    model.to(target).eval()
    try:
        with deterministic(threads), torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(images))
            parts = [
                model(_normalise(pixels[start : start + _EVALUATION_BATCH].to(target), normalisation))
                for start in range(0, len(images), _EVALUATION_BATCH)
            ]
            logits: np.ndarray[tuple[int, int], np.dtype[np.float32]] = torch.cat(parts).cpu().numpy()
            return logits
    finally:
        model.train(was_training)


def _check(examples: Split, epochs: int, batch_size: int, augmentation: str, proximal_mu: float) -> None:
    if not len(examples):
        raise TrainingError("there are no examples to train on")
    if epochs < 1 or batch_size < 1:
        raise TrainingError(f"epochs and batch size must be at least 1, got {epochs} and {batch_size}")
    if augmentation not in AUGMENTATIONS:
        raise TrainingError(unknown_name("augmentation", augmentation, AUGMENTATIONS))
    if not 0 <= proximal_mu < math.inf:
        raise TrainingError(f"the proximal term's weight must not be negative, got {proximal_mu}")


def _require_finite(loss: float, epoch: int, lr: float) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"training diverged: the loss is {loss} after epoch {epoch}; lower the learning rate ({lr})"
        )


@dataclass(frozen=True)
class _Trainer:
    """A model in training. prepare: from pixels to the model's input; anchors: the parameters with the values to which
    the proximal term pulls them, empty without one."""

    model: nn.Module
    loss_of: Criterion
    stepper: torch.optim.Optimizer
    prepare: Callable[[Tensor], Tensor]
    proximal_mu: float
    anchors: list[tuple[nn.Parameter, Tensor]]

    def epoch(self, pixels: Tensor, truth: Tensor, batches: Iterable[Tensor]) -> tuple[float, float]:
        """One step for each batch of indices; mean loss and accuracy over all examples, as seen before each step."""
        # Summed on the device and read once per epoch: reading each batch's loss would stall a GPU.
        sum_type = (
            torch.float32 if pixels.device.type == "mps" else torch.float64
        )  # Apple's GPUs have no float64
        loss_sum = torch.zeros((), dtype=sum_type, device=pixels.device)
        correct = torch.zeros((), dtype=torch.int64, device=pixels.device)
        for batch in batches:
            chosen = batch.to(pixels.device)
            inputs, wanted = self.prepare(pixels[chosen]), truth[chosen]
            logits = self.model(inputs)
            loss = self.loss_of(logits, wanted)
            self.stepper.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            _pull(self.anchors, self.proximal_mu)
            self.stepper.step()
            loss_sum += loss.detach() * len(batch)
            correct += (logits.detach().argmax(1) == wanted).sum()
        return float(loss_sum) / len(truth), int(correct) / len(truth)


def _to_device(examples: Split, target: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.ascontiguousarray(examples.images))
    return images.to(target), torch.from_numpy(np.ascontiguousarray(examples.labels)).to(target)


def _normalise(pixels: Tensor, normalisation: Normalisation | None) -> Tensor:
    how = normalisation or Normalisation()
    return pixels.to(torch.float32).mul_(how.scale).add_(how.offset)


def _anchors(model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    trainable = (parameter for parameter in model.parameters() if parameter.requires_grad)
    return [(parameter, parameter.detach().clone()) for parameter in trainable]


def _pull(anchors: list[tuple[nn.Parameter, Tensor]], mu: float) -> None:
    """Add the gradient of μ/2 · ‖w − w₀‖², which is μ · (w − w₀)."""
    for parameter, anchor in anchors:
        if parameter.grad is not None:
            parameter.grad.add_(parameter.detach() - anchor, alpha=mu)


def _batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    return iter(torch.split(torch.randperm(count, generator=generator), batch_size))


def _mean_loss(loss_of: Criterion, scores: Tensor, truth: Tensor) -> float:
    return float(loss_of(scores.double(), truth))
