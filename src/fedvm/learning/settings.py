"""The settings of data, network and training. Names only: nothing here loads PyTorch."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from fedvm.images.preparation import Preparation
from fedvm.settings import OnResume, Setting, settings


class PartitionScheme(StrEnum):
    """How examples are dealt out among clients (`fedvm.learning.partition`)."""

    IID = "iid"
    DIRICHLET = "dirichlet"
    SHARD = "shard"
    PATHOLOGICAL = "pathological"
    LINEAR = "linear"
    SQUARE = "square"


class ScheduleName(StrEnum):
    """The course of the learning rate (`fedvm.learning.schedule`)."""

    CONSTANT = "constant"
    COSINE = "cosine"
    LINEAR = "linear"
    STEP = "step"


class OptimizerName(StrEnum):
    """PyTorch's optimizers (`fedvm.learning.optimisation`)."""

    SGD = "sgd"
    NESTEROV = "nesterov"
    RMSPROP = "rmsprop"
    ADAM = "adam"
    ADAMW = "adamw"


class CriterionName(StrEnum):
    """Losses (`fedvm.learning.optimisation`)."""

    CROSS_ENTROPY = "cross_entropy"
    LABEL_SMOOTHING = "label_smoothing"
    MULTI_MARGIN = "multi_margin"


class AugmentationName(StrEnum):
    """Random changes to the images of a batch (`fedvm.learning.augment`)."""

    NONE = "none"
    SHIFT = "shift"
    SHIFT_FLIP = "shift_flip"


class DeviceName(StrEnum):
    """Where to compute (`fedvm.learning.device`)."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


@settings
class DataSettings:
    """The images and who holds them."""

    dataset: Annotated[
        str,
        Setting(
            "Data set: mnist, cifar10, fashion-mnist, or owner/name on the Hugging Face hub",
            flag="--dataset",
        ),
        StringConstraints(min_length=1),
    ] = "mnist"
    path: Annotated[
        Path | None,
        Setting(
            "A local parquet file or image folder, read instead of downloading",
            unset="the data set is found by its name",
            flag="--data",
        ),
    ] = None
    clients: Annotated[int, Setting("Number of clients", flag="--clients", ge=1, le=10_000)] = 16
    partition: Annotated[
        PartitionScheme,
        Setting(
            "How images are divided among clients: iid (equal random shares) or a scheme that makes clients differ",
            flag="--partition",
        ),
    ] = PartitionScheme.IID
    alpha: Annotated[
        float,
        Setting(
            "Concentration of the Dirichlet draw over labels: the smaller, the more clients differ; as a flag it "
            "implies `--partition dirichlet`",
            flag="--alpha",
            implies=(("partition", PartitionScheme.DIRICHLET),),
            gt=0,
        ),
    ] = 0.5
    preparation: Annotated[
        Preparation,
        Setting(
            "What is done to images, in training and in predictions: photo (scaled, the middle kept), drawing (made to "
            "look like MNIST) or raw (nothing); the default for mnist is drawing",
            flag="--preparation",
        ),
    ] = Preparation.PHOTO
    size: Annotated[
        int | None,
        Setting(
            "Height and width in pixels to which all images are scaled",
            unset="all images must have one size",
            flag="--size",
            ge=1,
            le=4096,
        ),
    ] = None
    image_column: Annotated[
        str | None,
        Setting(
            "Column of parquet files with the images",
            unset="found by its type and name",
            flag="--image-column",
        ),
        StringConstraints(min_length=1),
    ] = None
    label_column: Annotated[
        str | None,
        Setting(
            "Column of parquet files with the labels",
            unset="found by its type and name",
            flag="--label-column",
        ),
        StringConstraints(min_length=1),
    ] = None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) that images are brought to."""
        return None if self.size is None else (self.size, self.size)


@settings
class ModelSettings:
    """The network. It is sized from the shape of the data set's images and from its classes."""

    name: Annotated[str, Setting("Network: lenet, linear, mlp or resnet8", flag="--model")] = "lenet"
    title: Annotated[
        str | None,
        Setting(
            "What the trained model is, in a few words for people: on its pages, in its model card and ONNX file",
            unset="network, data set and number of clients",
            flag="--title",
        ),
        StringConstraints(min_length=1, max_length=120),
    ] = None

    def __post_init__(self) -> None:
        if self.title is not None and not self.title.isprintable():
            raise ValueError("title must be one line of printable characters")


@settings
class Recipe:
    """Hyperparameters of one client's round; each field is the argument of the same name of `training.train`."""

    epochs: Annotated[
        int, Setting("Passes over a client's own images in one round", flag="--epochs", ge=1)
    ] = 1
    batch_size: Annotated[int, Setting("Images in one step", unit="images", flag="--batch-size", ge=1)] = 16
    optimizer: Annotated[
        OptimizerName, Setting("Optimizer; its state is reset each round", flag="--optimizer")
    ] = OptimizerName.NESTEROV
    lr: Annotated[float, Setting("Learning rate", flag="--lr", gt=0)] = 0.01
    momentum: Annotated[
        float, Setting("Momentum of SGD and RMSprop; β₁ of Adam", flag="--momentum", ge=0, lt=1)
    ] = 0.9
    weight_decay: Annotated[float, Setting("Weight decay", flag="--weight-decay", ge=0)] = 0.0
    criterion: Annotated[CriterionName, Setting("Loss", flag="--criterion")] = CriterionName.CROSS_ENTROPY
    augmentation: Annotated[
        AugmentationName,
        Setting(
            "Random changes to training images: `shift` by up to 2 pixels; `shift_flip` by up to 4, and mirrored",
            flag="--augmentation",
        ),
    ] = AugmentationName.NONE


@settings
class TrainingSettings(Recipe):
    """What a client does in one round.

    Keys from `epochs` to `augmentation` that are not given come from the data set's recipe (`fedvm.learning.recipes`),
    whose values were measured on it. The defaults below are for data sets without a recipe.
    """

    schedule: Annotated[ScheduleName, Setting("How `lr` changes from round to round", flag="--schedule")] = (
        ScheduleName.CONSTANT
    )
    warmup_rounds: Annotated[
        int,
        Setting("Number of first rounds in which the rate rises in equal steps to `lr`", unit="rounds", ge=0),
    ] = 0
    final_lr: Annotated[
        float, Setting("The rate that `cosine` and `linear` fall towards, as a share of `lr`", ge=0, le=1)
    ] = 0.0
    step_rounds: Annotated[
        int, Setting("With `step`: number of rounds between two changes of the rate", unit="rounds", ge=1)
    ] = 10
    step_factor: Annotated[
        float, Setting("With `step`: factor by which each change multiplies the rate", gt=0, le=1)
    ] = 0.1
    quantization_aware: Annotated[
        bool,
        Setting(
            "Clients train the integers that will be deployed, with the bits that `compiler` says",
            flag="--quantization-aware",
        ),
    ] = False
    device: Annotated[
        DeviceName,
        Setting(
            "Where to compute; auto takes the first of cuda, mps, cpu",
            flag="--device",
            on_resume=OnResume.FREE,
        ),
    ] = DeviceName.AUTO
    workers: Annotated[
        int,
        Setting(
            "Processes that train clients at once; never changes results",
            flag="--workers",
            on_resume=OnResume.FREE,
            ge=1,
            le=64,
        ),
    ] = 2

    @property
    def recipe(self) -> Recipe:
        """What stays the same from round to round."""
        return Recipe(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)})


@settings
class BaselineSettings:
    """Comparison with training that is not federated: on each client's data alone, and on all data in one place.

    Both train for as many rounds as the federation, by the same schedule, and so pass over the images as often.
    """

    enabled: Annotated[
        bool, Setting("Also train without federating, to compare", flag="--baseline/--no-baseline")
    ] = False
    clients: Annotated[
        int,
        Setting(
            "Maximum number of clients that train alone; if there are more, they are drawn by the run's seed",
            ge=1,
        ),
    ] = 16
