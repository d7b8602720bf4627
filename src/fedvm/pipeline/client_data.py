"""A file with one client's own images: the only data that a SuperNode of a deployment needs.

An `.npz` file of four arrays: `train_images` uint8 `[N, C, H, W]`, `train_labels` int64 `[N]`, and
`validation_images`, `validation_labels` likewise.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from fedvm.federation.client.app import ClientData
from fedvm.files import write_atomically
from fedvm.learning.data import Split
from fedvm.learning.errors import DataError

_ARRAYS = ("train_images", "train_labels", "validation_images", "validation_labels")


def save_client_data(path: Path, own: ClientData) -> None:
    """Write the file, whole or not at all."""
    buffer = io.BytesIO()
    arrays = (own.train.images, own.train.labels, own.validation.images, own.validation.labels)
    np.savez_compressed(buffer, **dict(zip(_ARRAYS, arrays, strict=True)))  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def load_client_data(path: Path) -> ClientData:
    """Read it. Raises DataError, naming the file, for a file that is missing or has not this form."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels, held_images, held_labels = (arrays[name] for name in _ARRAYS)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is no file of a client's images ({error}): it holds the arrays {', '.join(_ARRAYS)}"
        ) from error
    return ClientData(Split(images, labels), Split(held_images, held_labels))
