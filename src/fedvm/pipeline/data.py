"""Step 1: read the data set, set the public calibration images aside, divide the rest among the clients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedvm.images.prepare import Preparation
from fedvm.learning.data import ColumnNames, ImageData, Split
from fedvm.learning.datasets import load_dataset
from fedvm.learning.partition import Partition, Scheme, partition
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.results import DataFacts


@dataclass(frozen=True)
class PreparedData:
    """The images of a run.

    images: the data set, its training split without the calibration images; partitions: indices into that split for
    each client, empty if the clients have images of their own; calibration: uint8 `[N, C, H, W]`, public, held by no
    client; validation: the gate's, which its custodian alone holds, empty without a gate.
    """

    images: ImageData
    partitions: tuple[Partition, ...]
    calibration: NDArray[np.uint8]
    validation: Split

    def facts(self, config: RunConfig) -> DataFacts:
        """What the report says of the data."""
        how = config.data.partition + (f", α = {config.data.alpha:g}" if _uses_alpha(config) else "")
        return DataFacts(
            name=self.images.name,
            shape=self.images.shape,
            class_names=self.images.class_names,
            train=len(self.images.train),
            calibration=len(self.calibration),
            test=len(self.images.test),
            validation=len(self.validation),
            partition=how,
            client_examples=tuple(len(part.train_indices) for part in self.partitions),
        )


def prepare_data(config: RunConfig, *, deal_out: bool | None = None) -> PreparedData:
    """Read the images and divide them; the same configuration gives the same division. deal_out: whether to divide the
    training images; by default only if the clients are simulated, since those of a deployment have their own.
    Raises what `fedvm.learning` raises for data that cannot be used, and ConfigError when calibration and gate
    would take more than half of the training images.
    """
    seed = config.run.seed
    data = load_dataset(
        config.data.dataset,
        config.data.path,
        seed=seed,
        size=config.data.image_size,
        preparation=Preparation(config.data.preparation),
        columns=ColumnNames(config.data.image_column, config.data.label_column),
    )
    wanted = config.compiler.calibration_images
    guarded = config.gate.samples if config.gate.enabled else 0
    if 2 * (wanted + guarded) > len(data.train):
        gate = f" and gate.samples = {guarded} are" if guarded else " is"
        raise ConfigError(
            f"compiler.calibration_images = {wanted}{gate} more than half of the {len(data.train)} training "
            "images: lower it"
        )
    order = np.random.default_rng((seed, 1)).permutation(len(data.train))
    calibration = data.train.take(np.sort(order[:wanted])).images
    validation = data.train.take(np.sort(order[wanted : wanted + guarded]))
    kept = replace(data, train=data.train.take(np.sort(order[wanted + guarded :])))
    scheme = Scheme(config.data.partition, alpha=config.data.alpha)
    if deal_out is None:
        deal_out = config.federation.engine != "deployment"
    dealt = partition(kept.train.labels, config.data.clients, scheme, seed=seed) if deal_out else ()
    return PreparedData(kept, dealt, calibration, validation)


def _uses_alpha(config: RunConfig) -> bool:
    return config.data.partition == "dirichlet"
