"""An image file → the bytes a model takes.

Conversions are few and each one made is noted, because a decision on record should not hide one:

- orientation: the EXIF orientation is applied;
- transparency: laid over black;
- colour → grey: luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B (Pillow's "L"); grey → colour: three equal
  channels; palettes become colour; 16-bit grey keeps its upper eight bits;
- size: only on request: scaled by Lanczos to cover the wanted size, then cropped in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fedvm.pipeline.errors import ImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class ImageInput:
    """pixels: uint8 `[C, H, W]`; notes: the conversions that were made, in order."""

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


def load_image(path: Path, shape: tuple[int, int, int], *, resize: bool = False) -> ImageInput:
    """Read the image at `path` for a model of input `shape` (C, H, W), C being 1 or 3.

    Raises ImageError when the file is no readable image, is larger than 50 million pixels, or has another
    size and `resize` is not set.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise ImageError(f"the model takes {channels} channels; image files hold 1 (grey) or 3 (colour)")
    image, notes = _decode(path)
    image, converted = _to_channels(image, channels)
    notes += converted
    if image.size != (width, height):
        if not resize:
            raise ImageError(
                f"{path}: the model takes {width}×{height} pixels, the image has "
                f"{image.width}×{image.height}. Crop it, or pass --resize to scale it and keep its middle."
            )
        notes += (f"scaled from {image.width}×{image.height} to {width}×{height}, middle kept",)
        image = ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.uint8)
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return ImageInput(np.ascontiguousarray(pixels), notes)


def load_images(paths: Sequence[Path], shape: tuple[int, int, int], *, resize: bool) -> NDArray[np.uint8]:
    """uint8 `[N, C, H, W]` of the images at `paths`. Raises ImageError as `load_image` does."""
    return np.stack([load_image(path, shape, resize=resize).pixels for path in paths])


def _decode(path: Path) -> tuple[Image.Image, tuple[str, ...]]:
    if not path.is_file():
        raise ImageError(f"{path}: no such file. Give an image such as a PNG or JPEG.")
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise ImageError(f"{path}: {opened.width}×{opened.height} pixels are too many: scale it down")
            opened.load()
            turned = ImageOps.exif_transpose(opened)
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: not a readable image ({error}). Give a PNG or JPEG file.") from None
    notes = ("turned as its EXIF orientation says",) if turned.size != opened.size else ()
    return turned, notes


def _to_channels(image: Image.Image, channels: int) -> tuple[Image.Image, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    if image.mode.startswith(("I", "F")):
        image, notes = _to_eight_bits(image)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        coloured = image.convert("RGBA")
        if coloured.getchannel("A").getextrema() != (255, 255):
            notes += ("transparent parts laid over black",)
        backdrop = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
        grey = image.mode.startswith("L")
        image = Image.alpha_composite(backdrop, coloured).convert("L" if grey else "RGB")
    wanted = "L" if channels == 1 else "RGB"
    if image.mode == wanted:
        return image, notes
    if channels == 1 and image.mode != "1":
        notes += ("colour turned to grey by BT.601 luma",)
    elif channels == 3 and image.mode in ("L", "1"):
        notes += ("grey repeated in three channels",)
    return image.convert(wanted), notes


def _to_eight_bits(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    values = np.asarray(image, dtype=np.float64)
    if image.mode.startswith("F") or values.min() < 0 or values.max() > 65535:
        raise ImageError("the image holds floating-point or 32-bit values: save it with 8 bits a channel")
    if values.max() < 256 and image.mode == "I":
        return Image.fromarray(values.astype(np.uint8)), ()
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8)), ("upper 8 of 16 bits kept",)
