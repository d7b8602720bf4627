"""Calibration data from outside: a folder of images, or an .npz/.npy file of raw input bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedvm.pipeline.errors import ImageError, UsageError
from fedvm.pipeline.images import SUFFIXES, load_images

MAX_ROWS = 10_000


def load_calibration(
    path: Path, input_shape: tuple[int, ...], *, channels_last: bool = False, resize: bool = False
) -> NDArray[np.uint8]:
    """uint8 `[N, *input_shape]` from `path`; input_shape is the ONNX input without its batch axis.

    A folder is read in the order of its files' paths, at most 10,000 of them. An .npz file holds one array,
    or one named `images`, `x` or `calibration`. `channels_last` says that the shape of an image is (H, W, C).
    Raises UsageError when the file holds something else.
    """
    if path.is_dir():
        return _from_folder(path, input_shape, channels_last, resize)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder. Give images, or an .npz of raw input bytes.")
    array = _read_array(path)
    if array.dtype != np.uint8:
        raise UsageError(
            f"{path}: holds {array.dtype}, but the contract takes bytes: save uint8 (0..255) and say "
            "what the bytes mean with --scale and --offset"
        )
    if array.shape[1:] != input_shape or not len(array):
        wanted = ", ".join(["N", *map(str, input_shape)])
        raise UsageError(f"{path}: holds shape {array.shape}, the model takes ({wanted})")
    return np.ascontiguousarray(array[:MAX_ROWS], dtype=np.uint8)


def _from_folder(
    path: Path, input_shape: tuple[int, ...], channels_last: bool, resize: bool
) -> NDArray[np.uint8]:
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
    images = load_images(files, (channels, height, width), resize=resize)
    return images.transpose(0, 2, 3, 1).copy() if channels_last else images


def _read_array(path: Path) -> NDArray[np.generic]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = list(loaded.files)
            wanted = [name for name in ("images", "x", "calibration") if name in names]
            if not wanted and len(names) != 1:
                raise UsageError(f"{path}: holds arrays {names}: name the one with the inputs `images`")
            array: NDArray[np.generic] = loaded[(wanted or names)[0]]
            return array
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: not an .npz or .npy file of plain numbers ({error})") from None
