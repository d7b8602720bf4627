"""Checks of a configuration that need the data set, made before anything is written."""

from __future__ import annotations

from fedvm.audit.description import check_class_names
from fedvm.learning.device import resolve_device
from fedvm.learning.models import build_model
from fedvm.pipeline.aggregation import aggregation_rule
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.network import model_spec

_TOTAL_WEIGHT_LIMIT = 1 << 32  # RulesLib.TOTAL_WEIGHT_LIMIT: Σ wᵢ·dᵢ must fit an int64


def check_settings(config: RunConfig, data: PreparedData) -> None:
    """Raise LearningError, SettingsError, DescriptionError or ConfigError for errors that would end the run later."""
    check_class_names(data.images.class_names)
    build_model(model_spec(config, data.images), seed=0)
    resolve_device(config.training.device)
    aggregation_rule(config)
    check_cap(config.data.clients, example_cap(config, data))


def check_cap(clients: int, cap: int) -> None:
    """Raise ConfigError if this many clients with this many examples each could overflow the aggregate."""
    if clients * cap >= _TOTAL_WEIGHT_LIMIT:
        raise ConfigError(
            f"rules.max_examples = {cap} for {clients} clients could overflow the aggregate: "
            f"their product must stay below 2^32; lower it to {(_TOTAL_WEIGHT_LIMIT - 1) // clients}"
        )


def example_cap(config: RunConfig, data: PreparedData) -> int:
    """`rules.max_examples`, or twice the mean of the clients' examples if it is not given."""
    sizes = [len(part.train_indices) for part in data.partitions]
    cap = config.rules.max_examples or -(-2 * sum(sizes) // len(sizes))
    return max(cap, config.rules.min_examples)
