"""Many images → one array, each read and prepared as a single one is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedvm.images.decode import Picture, decode
from fedvm.images.errors import ImageError
from fedvm.images.notes import Note, counted
from fedvm.images.prepare import Preparation, Shape, is_coloured, prepare

_NAMED: Final = 10


@dataclass(frozen=True)
class Form:
    """The form that every image of a data set is converted to. size: (height, width), None for the size of the first
    image."""

    preparation: Preparation = Preparation.PHOTO
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class PreparedImages:
    """images: uint8 `[N, C, H, W]`; notes: the conversions made, each with the number of images."""

    images: NDArray[np.uint8]
    notes: tuple[str, ...]


def load_images(
    sources: Iterable[tuple[str, bytes | Path | Image.Image]],
    count: int,
    form: Form,
    channels: int | None = None,
) -> PreparedImages:
    """Read `count` images, given as (what to call it in an error, the file, its bytes or the decoded image).

    Without `channels` the first image decides whether they are grey (1) or colour (3). A grey image among colour
    ones is repeated over the channels; a colour image among grey ones is an error, since dropping its colour would
    change the data. With `channels`, colour is converted to grey if the model takes grey images.

    Raises:
        ImageError: there are none, or some are unreadable or differ in size or colour; all of the same fault are
            named.
    """
    faults, notes = _Faults(), list[Note]()
    out: NDArray[np.uint8] | None = None
    size, strict = form.size, channels is None
    for position, (title, source) in enumerate(sources):
        try:
            picture = decode(source, title)
        except ImageError as error:
            faults.unreadable.append(str(error))
            continue
        channels = channels or (1 if picture.is_grey else 3)
        size = size or _size(picture)
        if out is None:
            out = np.empty((count, channels, *size), np.uint8)
        if strict and channels == 1 and _has_colour(picture):
            faults.coloured.append(title)
        elif (form.size is None or form.preparation is Preparation.RAW) and _size(picture) != size:
            faults.sizes.append(f"{title} ({picture.image.width}×{picture.image.height})")
        else:
            found = prepare(picture, (channels, *size), form.preparation, title)
            out[position] = found.pixels
            notes += found.notes
    faults.raise_any(count, size)
    if out is None:
        raise ImageError("there are no images")
    return PreparedImages(out, counted(notes))


def resize_images(images: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """uint8 `[N, C, H, W]` (C 1 or 3) scaled to (height, width) like a photo; None leaves them unchanged."""
    if size is None or images.shape[2:] == size:
        return images
    shape: Shape = (images.shape[1], *size)
    planes = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
    pictures = (Picture(Image.fromarray(np.ascontiguousarray(plane))) for plane in planes)
    return np.stack([prepare(one, shape, Preparation.PHOTO, "an image").pixels for one in pictures])


def _size(picture: Picture) -> tuple[int, int]:
    return picture.image.height, picture.image.width


def _has_colour(picture: Picture) -> bool:
    return not picture.is_grey and is_coloured(picture.image.convert("RGB"))


class _Faults:
    """What is wrong with the images of a data set, by kind."""

    def __init__(self) -> None:
        self.unreadable: list[str] = []
        self.coloured: list[str] = []
        self.sizes: list[str] = []

    def raise_any(self, count: int, size: tuple[int, int] | None) -> None:
        """Raise ImageError for the first kind of fault that was found, listing all images that have it."""
        height, width = size or (0, 0)
        for names, fault, advice in (
            (self.unreadable, "unreadable images", "mend them or take them out"),
            (
                self.coloured,
                "colour images in a grey data set",
                "turn them to grey, or let a colour image be the first",
            ),
            (
                self.sizes,
                f"images that are not of {width}×{height} pixels as the first is",
                "give one size for all, such as --size 32 (data.size)",
            ),
        ):
            if names:
                more = len(names) - _NAMED
                shown = [*names[:_NAMED], *([f"… and {more:,} more"] if more > 0 else [])]
                listed = "\n  ".join(shown)
                raise ImageError(f"{fault} ({len(names):,} of {count:,}): {advice}\n  {listed}")
