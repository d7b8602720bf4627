"""Optimizers and criteria by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, nn, optim

from fedvm.learning.errors import TrainingError, unknown_name

Criterion = Callable[[Tensor, Tensor], Tensor]
_Make = Callable[[list[nn.Parameter], float, float, float], optim.Optimizer]

# Each takes (parameters, lr, momentum, weight_decay). Adam and AdamW use `momentum` as β₁ if it is above 0.
OPTIMIZERS: Mapping[str, _Make] = MappingProxyType(
    {
        "sgd": lambda p, lr, m, wd: optim.SGD(p, lr, momentum=m, weight_decay=wd),
        "nesterov": lambda p, lr, m, wd: optim.SGD(p, lr, momentum=m or 0.9, weight_decay=wd, nesterov=True),
        "rmsprop": lambda p, lr, m, wd: optim.RMSprop(p, lr, momentum=m, weight_decay=wd),
        "adam": lambda p, lr, m, wd: optim.Adam(p, lr, betas=(m or 0.9, 0.999), weight_decay=wd),
        "adamw": lambda p, lr, m, wd: optim.AdamW(p, lr, betas=(m or 0.9, 0.999), weight_decay=wd),
    }
)

# Each computes a mean over a batch of logits float [N, classes] and labels int64 [N].
CRITERIA: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "cross_entropy": nn.CrossEntropyLoss,
        "label_smoothing": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
        "multi_margin": nn.MultiMarginLoss,
    }
)


def make_optimizer(
    name: str, model: nn.Module, *, lr: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> optim.Optimizer:
    """The optimizer `name` over the trainable parameters of `model`.

    Raises:
        TrainingError: unknown name, or a rate out of range.
    """
    if name not in OPTIMIZERS:
        raise TrainingError(unknown_name("optimizer", name, OPTIMIZERS))
    if not 0 < lr < float("inf"):
        raise TrainingError(f"the learning rate must be positive, got {lr}")
    if not 0 <= momentum < 1:
        raise TrainingError(f"momentum must be in [0, 1), got {momentum}")
    if not 0 <= weight_decay < float("inf"):
        raise TrainingError(f"weight decay must not be negative, got {weight_decay}")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise TrainingError("the model has no trainable parameters")
    return OPTIMIZERS[name](trainable, lr, momentum, weight_decay)


def make_criterion(name: str) -> Criterion:
    """The criterion `name`, a mean over the batch.

    Raises:
        TrainingError: unknown name.
    """
    if name not in CRITERIA:
        raise TrainingError(unknown_name("criterion", name, CRITERIA))
    return CRITERIA[name]()
