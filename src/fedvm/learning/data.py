"""A labelled image data set in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedvm.learning.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Normalisation:
    """The affine map that is applied to a network's pixels: `pixel * scale + offset`, pixel in 0..255.

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

    notes: conversions made to its image files, each with the number of images.

    Raises:
        DataError: a split is empty, differs in shape, or has a label without a class name.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    normalisation: Normalisation = field(default_factory=Normalisation)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise DataError(f"data set '{self.name}' needs 2 classes or more, it has {len(self.class_names)}")
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


@dataclass(frozen=True)
class ColumnNames:
    """The columns of a parquet file or hub data set that hold images and labels; None: found by type and name."""

    image: str | None = None
    label: str | None = None
