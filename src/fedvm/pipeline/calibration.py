"""Calibration data from outside: a folder of images, or a file of inputs (.npy, .npz, CSV)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedvm.images.data_set import Form, load_images
from fedvm.images.decode import SUFFIXES
from fedvm.images.errors import ImageError
from fedvm.images.prepare import Preparation
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.table import read_inputs

MAX_ROWS = 10_000


def load_calibration(
    path: Path,
    input_shape: tuple[int, ...],
    preparation: Preparation,
    *,
    channels_last: bool = False,
    labels: str | None = None,
) -> tuple[NDArray[np.generic], tuple[str, ...]]:
    """(Inputs `[N, *input_shape]` from `path`, at most 10,000 of them; the conversions made to images): uint8 for the
    bytes that the contract takes, float32 for the real numbers that the model takes. input_shape: the ONNX input
    without its batch axis.

    A folder is read in the order of its files' paths, each prepared as `preparation` says.
    An .npz file holds one array, or one named `images`, `x` or
    `calibration`. A CSV file holds an input a row, with a header or without, beside the column `labels`.
    `channels_last` says that the shape of an image is (H, W, C). Raises UsageError when the file holds something else,
    ImageError for images that cannot be used.
    """
    if path.is_dir():
        return _from_folder(path, input_shape, preparation, channels_last)
    if not path.exists():
        raise UsageError(
            f"{path}: no such file or folder. Give images, or a .npy, .npz or .csv file of inputs."
        )
    return np.ascontiguousarray(read_inputs(path, input_shape, labels=labels)[:MAX_ROWS]), ()


def _from_folder(
    path: Path, input_shape: tuple[int, ...], preparation: Preparation, channels_last: bool
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)[:MAX_ROWS]
    if not files:
        raise ImageError(f"{path}: holds no image files ({', '.join(sorted(SUFFIXES))})")
    if len(input_shape) != 3:
        raise UsageError(
            f"{path}: a folder of images does not fit the model's input {input_shape}: give an .npz of bytes"
        )
    if channels_last:
        height, width, channels = input_shape
    else:
        channels, height, width = input_shape
    if channels not in (1, 3):
        raise UsageError(
            f"{path}: image files have 1 or 3 channels, the model takes {channels}: give an .npz of bytes"
        )
    found = load_images(
        ((str(file), file) for file in files), len(files), Form(preparation, (height, width)), channels
    )
    images = found.images.transpose(0, 2, 3, 1).copy() if channels_last else found.images
    return images, found.notes
