"""Local parquet files with an image and a label column, laid out as on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedvm.images.data_set import Form
from fedvm.learning.data import ColumnNames, ImageData
from fedvm.learning.errors import DataError
from fedvm.learning.sources.columns import find_columns, to_split
from fedvm.learning.sources.split import stratified_split

if TYPE_CHECKING:
    from datasets import Dataset

_TEST_NAMES = ("test", "validation", "valid", "val")


def recognises(path: Path) -> bool:
    """Whether `path` is a parquet file, or a folder with parquet files in it or in `data/`."""
    return bool(_files(path))


def load(name: str, path: Path, *, seed: int, form: Form, names: ColumnNames) -> ImageData:
    """Read the train and the test (or validation) files; without the latter a tenth is set aside.

    A split's files are `<split>.parquet` or `<split>-*.parquet`; files named for no split are training data,
    and so is a single file given by its path.

    Raises:
        DataError: damaged files, or columns that are not labelled images.
        ImageError: unreadable images, or images of several sizes.
    """
    train_files, held_out = _splits(_files(path)) if path.is_dir() else ([path], [])
    if not train_files:
        raise DataError(f"{path} has no training data; name it train.parquet or train-*.parquet")
    rows = _read(train_files)
    columns = find_columns(rows, str(path), names)
    train, notes = to_split(rows, columns, _title(train_files), form)
    if held_out:
        test, more = to_split(_read(held_out), columns, _title(held_out), form)
        notes += more
    else:
        train, test = stratified_split(train, 0.1, seed)
    return ImageData(name, train, test, columns.class_names, notes=notes)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    return sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))


def _splits(files: list[Path]) -> tuple[list[Path], list[Path]]:
    held_out = next((found for split in _TEST_NAMES if (found := _named(files, split))), [])
    unnamed = [file for file in files if not any(_named([file], split) for split in _TEST_NAMES)]
    return _named(files, "train") or unnamed, held_out


def _named(files: list[Path], split: str) -> list[Path]:
    return [file for file in files if file.stem == split or file.stem.startswith(f"{split}-")]


def _title(files: list[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def _read(files: list[Path]) -> Dataset:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
    from datasets import Dataset

    tables = []
    for file in files:
        try:
            tables.append(pq.read_table(file))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file} is not a readable parquet file: {error}") from error
    try:
        return Dataset(pa.concat_tables(tables))
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{_title(files)}: the files do not fit together: {error}") from error
