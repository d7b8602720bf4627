"""A folder with one subfolder of images per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedvm.learning.data import ImageData, Split
from fedvm.learning.errors import DataError
from fedvm.learning.sources.decode import decode_images
from fedvm.learning.sources.split import stratified_split

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
_TEST_NAMES = ("test", "validation", "valid", "val")


def recognises(path: Path) -> bool:
    """Whether `path` has subfolders with images."""
    return path.is_dir() and bool(_class_names(_root(path)))


def load(name: str, path: Path, *, seed: int, size: tuple[int, int] | None = None) -> ImageData:
    """Read `PATH/train/<class>/*` and `PATH/test/<class>/*`, or `PATH/<class>/*` with a tenth set aside.

    Classes are numbered in alphabetical order of their folders' names.

    Raises:
        DataError: an unreadable image, images of several sizes, or a test class that training lacks.
    """
    root = _root(path)
    names = _class_names(root)
    train = _read(root, names, size)
    if root == path:
        train, test = stratified_split(train, 0.1, seed)
        return ImageData(name, train, test, names)
    held_out = next((path / split for split in _TEST_NAMES if (path / split).is_dir()), None)
    if held_out is None:
        train, test = stratified_split(train, 0.1, seed)
        return ImageData(name, train, test, names)
    extra = sorted(set(_class_names(held_out)) - set(names))
    if extra:
        raise DataError(f"{held_out} has the class '{extra[0]}', which {root} lacks")
    return ImageData(name, train, _read(held_out, names, size), names)


def _root(path: Path) -> Path:
    return path / "train" if (path / "train").is_dir() and _class_names(path / "train") else path


def _class_names(root: Path) -> tuple[str, ...]:
    return tuple(sorted(child.name for child in root.iterdir() if child.is_dir() and _images(child)))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)


def _read(root: Path, names: tuple[str, ...], size: tuple[int, int] | None) -> Split:
    files = [(label, file) for label, name in enumerate(names) for file in _images(root / name)]
    images = decode_images(((str(file), file) for _, file in files), len(files), size)
    return Split(images, np.array([label for label, _ in files], np.int64))
