"""Reads inputs and labels from .npy, .npz and CSV files."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.pipeline.errors import UsageError

INPUT_NAMES = ("images", "x", "X", "inputs", "data", "calibration")
"""Names under which an .npz file with several arrays may hold the inputs."""
LABEL_NAMES = ("labels", "y", "label", "target")
MAX_BYTES = 1 << 30
_TEXT = {".csv", ".tsv", ".txt"}


@dataclass(frozen=True)
class Table:
    """A CSV file. names: of the columns, () without a header; cells: rows of text, all of one length; first: the
    number of the first row's line."""

    path: Path
    names: tuple[str, ...]
    cells: list[list[str]]
    first: int

    def column(self, name: str) -> list[str]:
        """The cells of a column. UsageError if there is none of the name."""
        if name not in self.names:
            held = ", ".join(self.names) or "no header"
            raise UsageError(f"{self.path}: holds no column {name} ({held})")
        at = self.names.index(name)
        return [row[at] for row in self.cells]

    def without(self, name: str) -> Table:
        """The table without a column."""
        if name not in self.names:
            return self
        at = self.names.index(name)
        rows = [row[:at] + row[at + 1 :] for row in self.cells]
        return Table(self.path, self.names[:at] + self.names[at + 1 :], rows, self.first)

    def numbers(self) -> NDArray[np.float32]:
        """float32 `[N, columns]`. Raises UsageError, naming line and column, if a cell is not a finite number."""
        values = np.empty((len(self.cells), len(self.cells[0])), np.float64)
        for r, row in enumerate(self.cells):
            for c, cell in enumerate(row):
                value = _number(cell)
                if value is None or not math.isfinite(value):
                    what = f"{cell.strip()!r} is no finite number" if cell.strip() else "a value is missing"
                    name = self.names[c] if self.names else str(c + 1)
                    raise UsageError(
                        f"{self.path}, line {self.first + r}, column {name}: {what}; fill it in, leave the row out, "
                        "or give the column of the classes with --labels"
                    )
                values[r, c] = value
        return values.astype(np.float32)


def read_inputs(
    path: Path, input_shape: tuple[int, ...], *, labels: str | None = None
) -> NDArray[np.generic]:
    """Inputs `[N, *input_shape]` from a .npy, .npz or CSV file: uint8 as it is, other numbers as float32.

    A row of a CSV file is one input, flattened in C order; labels: a column that is not an input. Raises UsageError if
    the file holds something else. """  # fmt: skip
    if path.suffix.lower() in _TEXT:
        table = read_table(path)
        array: NDArray[np.generic] = (table.without(labels) if labels else table).numbers()
        size = math.prod(input_shape)
        if array.shape[1] != size:
            raise UsageError(
                f"{path}: holds {array.shape[1]} columns, the model takes {size} numbers; leave out what is no "
                "input, or name the column of the classes with --labels"
            )
        array = array.reshape(-1, *input_shape)
    else:
        array = read_array(path, INPUT_NAMES)
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{path}: holds {array.dtype}; give numbers")
    if array.shape[1:] != input_shape or not len(array):
        wanted = ", ".join(["N", *map(str, input_shape)])
        raise UsageError(f"{path}: holds shape {array.shape}, the model takes ({wanted})")
    if array.dtype == np.uint8:
        return array
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise UsageError(f"{path}: input {row} holds NaN or infinity; fill it in or leave the row out")
    return array.astype(np.float32)


def shape_of_inputs(path: Path, *, labels: str | None = None) -> tuple[int, ...] | None:
    """The shape of one input in a .npy, .npz or CSV file; None for other files. labels: a column that is no input.
    UsageError if it holds no inputs."""
    if path.suffix.lower() in _TEXT:
        table = read_table(path)
        return (len((table.without(labels) if labels else table).cells[0]),)
    if path.suffix.lower() not in (".npy", ".npz"):
        return None
    return tuple(read_array(path, INPUT_NAMES).shape[1:]) or None


def read_rows(path: Path, names: Sequence[str], *, labels: str | None = None) -> NDArray[Any]:
    """Rows `[N, features]` of a tabular model from a CSV, .npy or .npz file: float32 if all cells are numbers (NaN
    where one is empty), an array of objects if some are text, uint8 for bytes.

    names: of the features, by which the columns of a CSV file are chosen if its header has them all; labels: a column
    that is none. Raises UsageError if the file holds something else.
    """
    if path.suffix.lower() not in _TEXT:
        array = read_array(path, INPUT_NAMES)
        if array.ndim != 2 or (array.shape[1] != len(names) and array.dtype != np.uint8) or not len(array):
            raise UsageError(f"{path}: holds shape {array.shape}, the model takes (N, {len(names)})")
        return array
    table = read_table(path)
    if labels is not None:
        table = table.without(labels)
    if set(names) <= set(table.names):
        chosen = [table.names.index(name) for name in names]
        return as_rows([[row[at] for at in chosen] for row in table.cells])
    if len(table.cells[0]) != len(names):
        raise UsageError(
            f"{path}: holds {len(table.cells[0])} columns, the model takes {len(names)}; leave out what is no input, "
            "or name the column of the classes with --labels"
        )
    return as_rows(table.cells)


def as_rows(cells: Sequence[Sequence[str]]) -> NDArray[Any]:
    """Cells of text as rows: numbers where they are numbers, NaN where they are empty."""
    rows = [[_cell(cell) for cell in row] for row in cells]
    if all(isinstance(cell, float) for row in rows for cell in row):
        return np.array(rows, np.float32)
    return np.array(rows, object)


def _cell(cell: str) -> float | str:
    if not cell.strip():
        return math.nan
    number = _number(cell)
    return cell.strip() if number is None else number


def read_labels(labels: str, inputs: Path | None) -> NDArray[np.int64]:
    """Classes `[N]`, counted from 0, one for each input of the file `inputs`.

    labels: a .npy, .npz or CSV file, or the name of a column or array of `inputs`. UsageError for anything else.
    """
    path = Path(labels)
    if path.is_file():
        table = read_table(path) if path.suffix.lower() in _TEXT else None
        if table is not None and len(table.cells[0]) != 1:
            raise UsageError(f"{path}: holds {len(table.cells[0])} columns; give one, of classes")
        values = np.array([row[0] for row in table.cells]) if table else read_array(path, LABEL_NAMES)
    elif inputs is not None and inputs.suffix.lower() in _TEXT:
        values = np.array(read_table(inputs).column(labels))
    elif inputs is not None and inputs.suffix.lower() == ".npz":
        values = read_array(inputs, (labels,), exactly=True)
    else:
        raise UsageError(
            f"--labels {labels}: no such file, and the calibration has no columns or arrays by name"
        )
    try:
        numbers = np.asarray(values, np.float64).ravel()
    except ValueError:
        raise UsageError(
            f"--labels {labels}: holds {str(values.ravel()[0])!r}; give classes by number, counted from 0, in the "
            "order of the model's scores"
        ) from None
    if not np.isfinite(numbers).all() or (numbers != np.rint(numbers)).any() or (numbers < 0).any():
        raise UsageError(f"--labels {labels}: must be whole numbers from 0 on, one for each input")
    return numbers.astype(np.int64)


def read_table(path: Path) -> Table:
    """A CSV file: separated by commas, semicolons or tabs, with or without a header. Raises UsageError if the file is
    not one."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(
                f"{path}: larger than {MAX_BYTES >> 20} MiB; some hundred typical rows are enough"
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file in UTF-8; save it as CSV") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    head = text[:10_000]
    delimiter = max(",;\t", key=head.split("\n", 1)[0].count)
    try:
        rows = [(n, row) for n, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1)]
    except csv.Error as error:
        raise UsageError(f"{path}: not a CSV file ({error})") from None
    rows = [(n, row) for n, row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise UsageError(f"{path}: holds no rows")
    width = len(rows[0][1])
    for n, row in rows:
        if len(row) != width:
            raise UsageError(f"{path}, line {n}: holds {len(row)} values, the lines before {width}")
    names: tuple[str, ...] = ()
    if 2 * sum(_is_text(cell) for cell in rows[0][1]) > width - 1:
        names = tuple(cell.strip() for cell in rows[0][1])
        rows = rows[1:]
    if not rows:
        raise UsageError(f"{path}: holds a header and no rows")
    return Table(path, names, [row for _, row in rows], rows[0][0])


def read_array(path: Path, wanted: tuple[str, ...], *, exactly: bool = False) -> NDArray[np.generic]:
    """The array of a .npy file, or of an .npz file the only one or the one of a `wanted` name (`exactly`: only by
    name). UsageError if there is none."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = list(loaded.files)
            found = [name for name in wanted if name in names]
            if not found and (exactly or len(names) != 1):
                raise UsageError(f"{path}: holds arrays {names}: name the one that is meant `{wanted[0]}`")
            array: NDArray[np.generic] = loaded[(found or names)[0]]
            return array
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: not an .npz or .npy file of plain numbers ({error})") from None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_text(cell: str) -> bool:
    return bool(cell.strip()) and _number(cell) is None
