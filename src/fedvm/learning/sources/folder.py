"""A folder with one subfolder of images per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedvm.images.data_set import Form, load_images
from fedvm.images.decode import SUFFIXES
from fedvm.learning.data import ImageData, Split
from fedvm.learning.errors import DataError
from fedvm.learning.sources.split import stratified_split

_TEST_NAMES = ("test", "validation", "valid", "val")


def recognises(path: Path) -> bool:
    """Whether `path` has subfolders with images."""
    return path.is_dir() and bool(_class_names(_root(path)))


def load(name: str, path: Path, *, seed: int, form: Form) -> ImageData:
    """Read `PATH/train/<class>/*` and `PATH/test/<class>/*`, or `PATH/<class>/*` with a tenth set aside.

    Classes are numbered in alphabetical order of their folders' names.

    Raises:
        DataError: the test images have a class that the training images lack.
        ImageError: unreadable images, or images of several sizes.
    """
    root = _root(path)
    names = _class_names(root)
    held_out = next((path / split for split in _TEST_NAMES if (path / split).is_dir()), None)
    train_files = _files(root, names)
    if root == path or held_out is None:
        whole, notes = _read(train_files, form)
        train, test = stratified_split(whole, 0.1, seed)
        return ImageData(name, train, test, names, notes=notes)
    extra = sorted(set(_class_names(held_out)) - set(names))
    if extra:
        raise DataError(f"{held_out} has the class '{extra[0]}', which {root} lacks")
    # Both splits at once, so that they have the same form, and errors name the faults of both.
    whole, notes = _read(train_files + _files(held_out, names), form)
    order = np.arange(len(whole))
    train, test = (whole.take(part) for part in np.split(order, [len(train_files)]))
    return ImageData(name, train, test, names, notes=notes)


def _root(path: Path) -> Path:
    return path / "train" if (path / "train").is_dir() and _class_names(path / "train") else path


def _class_names(root: Path) -> tuple[str, ...]:
    return tuple(sorted(child.name for child in root.iterdir() if child.is_dir() and _images(child)))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def _files(root: Path, names: tuple[str, ...]) -> list[tuple[int, Path]]:
    return [(label, file) for label, name in enumerate(names) for file in _images(root / name)]


def _read(files: list[tuple[int, Path]], form: Form) -> tuple[Split, tuple[str, ...]]:
    found = load_images(((str(file), file) for _, file in files), len(files), form)
    return Split(found.images, np.array([label for label, _ in files], np.int64)), found.notes
