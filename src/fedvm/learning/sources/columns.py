"""A `datasets.Dataset` (hub or parquet) to arrays: find the columns, decode, number the labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedvm.images.data_set import Form, PreparedImages, load_images
from fedvm.learning.data import ColumnNames, Labels, Split
from fedvm.learning.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

# Names in use on the hub, preferred ones first (of CIFAR-100's labels the fine ones).
_IMAGE_COLUMNS = ("img", "image", "images", "pixel_values")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


@dataclass(frozen=True)
class Columns:
    """Which columns hold the images and the labels, and the classes in label order."""

    image: str
    label: str
    class_names: tuple[str, ...]


def find_columns(dataset: Dataset, where: str, names: ColumnNames) -> Columns:
    """The columns that `names` gives; others are found by feature type, then by name.

    Class names come from the `ClassLabel` feature; without one, from the distinct strings (sorted), or they are the
    numbers themselves.

    Raises:
        DataError: no such columns, or labels that are neither integers nor strings.
    """
    from datasets import ClassLabel, Image

    features = dict(dataset.features)
    for name in (names.image, names.label):
        if name is not None and name not in features:
            raise DataError(f"{where} has no column '{name}'; its columns are {', '.join(features)}")
    image = names.image or _pick(features, _IMAGE_COLUMNS, Image)
    label = names.label or _pick(features, _LABEL_COLUMNS, ClassLabel)
    if image is None or label is None:
        kind, usual = ("image", "img or image") if image is None else ("label", "label")
        raise DataError(
            f"{where} has no {kind} column ({usual}); its columns are {', '.join(features)}: name it with "
            f"--{kind}-column (data.{kind}_column)"
        )
    if isinstance(features[label], ClassLabel) and features[label].names:
        return Columns(image, label, tuple(features[label].names))
    values = np.unique(_column(dataset, label, where))
    if values.dtype.kind in "US":
        return Columns(image, label, tuple(str(value) for value in values))
    if values.dtype.kind not in "iu":
        raise DataError(f"the labels in column '{label}' of {where} must be integers or strings")
    return Columns(image, label, tuple(str(value) for value in range(int(values.max()) + 1)))


def to_split(dataset: Dataset, columns: Columns, where: str, form: Form) -> tuple[Split, tuple[str, ...]]:
    """Decode a whole data set; also returns the conversions made. About 66 µs per 32×32 image on one core.

    Raises:
        DataError: an image or label is missing.
        ImageError: an image is unreadable or of another form.
    """
    if not len(dataset):
        raise DataError(f"{where} has no rows")
    labels = _labels(dataset, columns, where)
    found = _images(dataset, columns.image, where, form)
    return Split(found.images, labels), found.notes


def _pick(features: dict[str, Any], names: tuple[str, ...], kind: type) -> str | None:
    typed = [column for column, feature in features.items() if isinstance(feature, kind)]
    named = [column for column in names if column in features]
    return next((column for column in named if column in typed), (named + typed + [None])[0])


def _column(dataset: Dataset, column: str, where: str) -> np.ndarray[Any, Any]:
    values = dataset.with_format("arrow")[:][column]
    if values.null_count:
        raise DataError(f"column '{column}' of {where} has {values.null_count} empty cells")
    # Text has three types in Arrow, of which pandas 3 writes the second and Polars the third.
    if str(values.type) in ("string", "large_string", "string_view"):
        return np.array(values.to_pylist(), dtype=str)
    return np.asarray(values.to_numpy())


def _labels(dataset: Dataset, columns: Columns, where: str) -> Labels:
    values = _column(dataset, columns.label, where)
    if values.dtype.kind != "U":
        return values.astype(np.int64)
    numbers = {name: number for number, name in enumerate(columns.class_names)}
    unknown = sorted(set(values.tolist()) - numbers.keys())
    if unknown:
        raise DataError(f"{where} has the class '{unknown[0]}', which the training data lacks")
    return np.array([numbers[value] for value in values.tolist()], np.int64)


def _images(dataset: Dataset, column: str, where: str, form: Form) -> PreparedImages:
    # Straight from Arrow: `Dataset.__getitem__` per row would take several times as long as decoding.
    cells = dataset.with_format("arrow").select_columns([column])
    return load_images(_encoded(cells, column, where), len(dataset), form)


def _encoded(cells: Dataset, column: str, where: str) -> Iterator[tuple[str, bytes]]:
    position = 0
    for batch in cells.iter(batch_size=1000):
        for cell in batch[column].to_pylist():
            content = cell.get("bytes") if isinstance(cell, dict) else cell
            title = f"image {position} of {where}"
            if not isinstance(content, bytes):
                raise DataError(f"{title} holds no image bytes in column '{column}'")
            yield title, content
            position += 1
