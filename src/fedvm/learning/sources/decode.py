"""Encoded image files to one uint8 array."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fedvm.learning.data import Images
from fedvm.learning.errors import DataError

_GREY_MODES = frozenset({"1", "L", "LA"})


def decode_images(
    sources: Iterable[tuple[str, bytes | Path | Image.Image]], count: int, size: tuple[int, int] | None
) -> Images:
    """Decode `count` images into uint8 [N, C, H, W].

    The first image decides: grey (C = 1) or colour (C = 3), and the height and width unless `size` is given.
    A grey image among colour ones is repeated over the channels; a colour one among grey ones is an error,
    because dropping colour silently would change the data.

    Args:
        sources: (what to call it in an error, the encoded bytes, file or decoded image).
        count: how many there are.
        size: (height, width) to resize to (bilinear), or None to require one size.

    Raises:
        DataError: an unreadable image, or one that differs in size or colour; the message names it.
    """
    out: Images | None = None
    mode = ""
    for position, (title, source) in enumerate(sources):
        try:
            image = _open(source)
            if out is None:
                mode = "L" if image.mode in _GREY_MODES else "RGB"
                width, height = (size[1], size[0]) if size else image.size
                out = np.empty((count, 1 if mode == "L" else 3, height, width), np.uint8)
            elif mode == "L" and image.mode not in _GREY_MODES:
                raise DataError(f"{title} is a colour image in a grey data set; convert it first")
            pixels = _pixels(image, mode, size)
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{title} is not a readable image: {error}") from error
        if pixels.shape[:2] != out.shape[2:]:
            raise DataError(
                f"{title} is {pixels.shape[0]}×{pixels.shape[1]} (height × width) but the first image is "
                f"{out.shape[2]}×{out.shape[3]}; resize them, or pass a size"
            )
        out[position] = pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
    if out is None:
        raise DataError("there are no images")
    return out


def resize_images(images: Images, size: tuple[int, int] | None) -> Images:
    """Resize uint8 [N, C, H, W] arrays (C 1 or 3) to (height, width), bilinear; None leaves them."""
    if size is None or images.shape[2:] == size:
        return images
    planes = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
    decoded = ((f"image {i}", Image.fromarray(plane)) for i, plane in enumerate(planes))
    return decode_images(decoded, len(images), size)


def _open(source: bytes | Path | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def _pixels(image: Image.Image, mode: str, size: tuple[int, int] | None) -> Images:
    if image.mode.startswith(("I", "F")):
        raise DataError(f"images of more than 8 bits per channel (mode {image.mode}) are not supported")
    converted = image if image.mode == mode else image.convert(mode)
    if size is not None and converted.size != (size[1], size[0]):
        converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(converted, np.uint8)
