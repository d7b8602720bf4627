"""What a program is asked: images, or rows of numbers, turned into the bytes that it takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from fedvm.audit.description import Description, InputDescription
from fedvm.compiler.encoding import encode_rows
from fedvm.compiler.input_range import to_bytes
from fedvm.images.decode import SUFFIXES
from fedvm.images.errors import ImageError
from fedvm.images.prepare import load_image
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.table import as_rows, read_inputs, read_rows

STDIN = Path("-")


@dataclass(frozen=True)
class Question:
    """name: of the image, or of the row of numbers. data: the bytes that the program takes. notes: what was changed to
    make them. seen: uint8 `[C, H, W]`, the picture that they are, None for numbers. blank: nothing is in the picture.
    """

    name: str
    data: bytes
    notes: tuple[str, ...]
    seen: NDArray[np.uint8] | None = None
    blank: bool = False


def image_questions(images: Sequence[Path], description: Description) -> list[Question]:
    """Every image, prepared as the version says. A folder stands for the image files in it, `-` for standard input.

    Raises ImageError, naming all images that cannot be used, or UsageError if the model does not take images.
    """
    faults, found = list[str](), list[Question]()
    for path in _files(images):
        try:
            source = sys.stdin.buffer.read() if path == STDIN else path
            title = "standard input" if path == STDIN else str(path)
            found.append(image_question(source, title, description))
        except ImageError as error:
            faults.append(str(error))
    if faults:
        raise ImageError("\n".join(faults))
    return found


def image_question(source: Path | bytes, title: str, description: Description) -> Question:
    """An image file, or its bytes, prepared as the version says; title: what to call it.

    Raises ImageError if it cannot be used, UsageError if the model does not take images.
    """
    shape = description.input.image_shape
    if shape is None:
        raise UsageError(
            f"the model takes {list(description.input.shape)}, which is no image: give numbers with --values"
        )
    image = load_image(source, shape, description.input.preparation, title)
    pixels = image.pixels
    data = (pixels.transpose(1, 2, 0) if description.input.layout == "HWC" else pixels).tobytes()
    flat = image.blank or bool((pixels == pixels[:, :1, :1]).all())
    return Question(title, data, tuple(str(note) for note in image.notes), pixels, flat)


def value_questions(values: str, description: Description) -> list[Question]:
    """Rows of numbers in the model's own units: of a file (.csv, .npy, .npz), or one row, written as `1.5,2,…`.

    Each number becomes the nearest of the 256 that the version knows; bytes (uint8) of a file are taken as they are.
    Raises UsageError for anything else.
    """
    asked, path = description.input, Path(values)
    if not path.is_file():
        return [written_question(values, description)]
    if asked.row is not None:
        features = asked.row["features"]
        rows = read_rows(path, [str(feature["name"]) for feature in features])
        return _row_questions(values, rows, [f"{values}, input {n}" for n in range(1, len(rows) + 1)], asked)
    inputs = read_inputs(path, asked.shape)
    return _number_questions(inputs, [f"{values}, input {n}" for n in range(1, len(inputs) + 1)], asked)


def written_question(values: str, description: Description) -> Question:
    """The row of numbers, or of numbers and categories, that is written as `1.5,2,…`. No file is looked for.

    Raises UsageError for anything else.
    """
    asked = description.input
    if asked.row is None:
        return _number_questions(_written(values, asked.shape), [values], asked)[0]
    names = [str(feature["name"]) for feature in asked.row["features"]]
    rows = as_rows([values.split(",")])
    if rows.shape[1] != len(names):
        raise UsageError(
            f"--values {values}: {rows.shape[1]} values, the model takes {len(names)}: {_list(names)}"
        )
    return _row_questions(values, rows, [values], asked)[0]


def _number_questions(
    rows: NDArray[np.generic], names: Sequence[str], asked: InputDescription
) -> list[Question]:
    if rows.dtype == np.uint8:
        return [Question(name, row.tobytes(), ()) for name, row in zip(names, rows, strict=True)]
    real = rows.astype(np.float64)
    coded = _coded(real, asked)
    return [
        Question(name, one.tobytes(), _cut(row, asked))
        for name, one, row in zip(names, coded, real, strict=True)
    ]


def _row_questions(
    values: str, rows: NDArray[np.generic], titles: Sequence[str], asked: InputDescription
) -> list[Question]:
    """Rows of a tabular model: numbers, and text where the model has categories of text."""
    assert asked.row is not None
    features = asked.row["features"]
    if rows.dtype == np.uint8:
        return [Question(title, row.tobytes(), ()) for title, row in zip(titles, rows, strict=True)]
    try:
        coded = encode_rows(asked.row, rows)
    except ValueError as error:
        raise UsageError(f"--values {values}: {error}") from error
    return [
        Question(title, data.tobytes(), _unknown(row, features))
        for title, data, row in zip(titles, coded, rows, strict=True)
    ]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _unknown(row: NDArray[np.generic], features: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A note on each category that the model does not know."""
    return tuple(
        f"{feature['name']}: the model does not know {cell!r}"
        for cell, feature in zip(row.tolist(), features, strict=True)
        if "categories" in feature and _name(cell) not in {_name(known) for known in feature["categories"]}
    )


def _name(cell: Any) -> str:
    return f"{cell:g}" if isinstance(cell, (int, float)) else str(cell)


def _written(values: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        row = np.array([float(value) for value in values.split(",")])
    except ValueError:
        raise UsageError(
            f"--values {values}: neither a file nor numbers; write them as 1.5,2,… or name a .csv, .npy or .npz"
        ) from None
    wanted = int(np.prod(shape))
    if row.size != wanted or not np.isfinite(row).all():
        raise UsageError(f"--values {values}: {row.size} numbers, the model takes {wanted} finite ones")
    return row.reshape(1, *shape)


def _channels(asked: InputDescription) -> tuple[int, int, int]:
    """(channels, height, width) of an input: what has a range of its own is a channel."""
    count, size = len(asked.low), int(np.prod(asked.shape))
    return count, size // count, 1


def _coded(real: NDArray[np.float64], asked: InputDescription) -> NDArray[np.uint8]:
    low, high = np.array(asked.low), np.array(asked.high)
    layout = cast(Literal["CHW", "HWC"], asked.layout or "CHW")
    return to_bytes(real, layout, _channels(asked), (high - low) / 255, low)


def _cut(row: NDArray[np.float64], asked: InputDescription) -> tuple[str, ...]:
    """A note on each number beyond the range that the version knows, the first few by name."""
    channels, size, _ = _channels(asked)
    by_channel = row.reshape(size, channels).T if asked.layout == "HWC" else row.reshape(channels, size)
    notes = [
        f"number {index + 1} is beyond the {low:g} to {high:g} that the model knows, and counts as its end"
        for index, (part, low, high) in enumerate(zip(by_channel, asked.low, asked.high, strict=True))
        if part.min() < low - (high - low) / 510 or part.max() > high + (high - low) / 510
    ]
    return (*notes[:5], *([f"and {len(notes) - 5} more are"] if len(notes) > 5 else []))


def _files(images: Sequence[Path]) -> Iterator[Path]:
    for path in images:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not inside:
            raise ImageError(f"{path}: holds no image files ({', '.join(sorted(SUFFIXES))})")
        yield from inside
