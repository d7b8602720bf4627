"""A decoded image → the bytes that a model takes, by a named preparation that belongs to the version.

- `raw`: unchanged; an image of another size than the model's is refused.
- `photo`: scaled to cover the model's size (Pillow's bilinear filter, whose support grows with the reduction), the
  middle kept.
- `drawing`: for strokes on a plain background, as in MNIST; see `fedvm.images.drawing`.

Transparent parts are laid over black; in a drawing, over white or black so that its ink stands out. Colour becomes grey
by the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B (Pillow's "L"); grey becomes colour in three equal channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fedvm.images.decode import Picture, decode
from fedvm.images.drawing import normalise
from fedvm.images.errors import ImageError
from fedvm.images.notes import Note
from fedvm.images.preparation import Preparation as Preparation

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class ImageInput:
    """What the model sees. pixels: uint8 `[C, H, W]`; notes: the conversions that were made, in order; blank: a
    drawing without ink."""

    pixels: NDArray[np.uint8]
    notes: tuple[Note, ...] = ()
    blank: bool = False


def load_image(
    source: Path | bytes | Image.Image, shape: Shape, preparation: Preparation, title: str = ""
) -> ImageInput:
    """Decode an image and prepare it for a model of input `shape` (C, H, W), C being 1 or 3.

    Raises:
        ImageError: as `decode` and `prepare`.
    """
    name = title or (str(source) if isinstance(source, Path) else "the image")
    return prepare(decode(source, name), shape, preparation, name)


def prepare(picture: Picture, shape: Shape, preparation: Preparation, title: str) -> ImageInput:
    """The bytes of a decoded image for a model of input `shape` (C, H, W), C being 1 or 3.

    Raises:
        ImageError: the model takes another number of channels, or the preparation is `raw` and the size differs.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise ImageError(f"the model takes {channels} channels; image files hold 1 (grey) or 3 (colour)")
    if preparation is Preparation.DRAWING:
        ink, notes, blank = normalise(picture, (height, width))
        return ImageInput(np.repeat(ink[None], channels, axis=0), picture.notes + notes, blank)
    image, notes = _opaque(picture.image)
    image, converted = _to_channels(image, channels)
    notes += converted
    if image.size != (width, height):
        found, wanted = f"{image.width}×{image.height}", f"{width}×{height}"
        if preparation is Preparation.RAW:
            raise ImageError(
                f"{title}: the model takes {wanted} pixels, the image has {found}. Scale or crop it beforehand: "
                "the preparation `raw` changes nothing."
            )
        cropped = image.width * height != image.height * width
        notes += (Note(f"scaled to {wanted}" + (", the middle kept" if cropped else ""), f"from {found}"),)
        image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return ImageInput(np.ascontiguousarray(pixels), picture.notes + notes)


def _opaque(image: Image.Image) -> tuple[Image.Image, tuple[Note, ...]]:
    if image.mode not in ("LA", "RGBA"):
        return image, ()
    backdrop = Image.new("RGBA", image.size, (0, 0, 0, 255))
    flat = Image.alpha_composite(backdrop, image.convert("RGBA")).convert("RGB")
    return (flat.getchannel("R") if image.mode == "LA" else flat), (
        Note("transparent parts laid over black"),
    )


def _to_channels(image: Image.Image, channels: int) -> tuple[Image.Image, tuple[Note, ...]]:
    wanted = "L" if channels == 1 else "RGB"
    if image.mode == wanted:
        return image, ()
    if channels == 3:
        return image.convert(wanted), (Note("grey repeated in three channels"),)
    return image.convert(wanted), (Note("colour turned to grey by BT.601 luma"),) if is_coloured(
        image
    ) else ()


def is_coloured(image: Image.Image) -> bool:
    """Whether some pixel of an RGB image has a colour. An image without one loses nothing as a grey image."""
    pixels = np.asarray(image)
    return pixels.ndim == 3 and bool((pixels != pixels[..., :1]).any())
