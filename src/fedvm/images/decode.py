"""An encoded image → its pixels, upright, of eight bits a channel, grey or colour, with or without transparency.

Every conversion is noted, because a recorded decision should not hide one:

- of an animation or a file of several pages the first is taken;
- the EXIF orientation is applied;
- of 16 bits a channel the upper eight are kept;
- CMYK and HSV become RGB by Pillow's formulas, without colour profiles.

One-bit images become grey and palettes the colours they stand for. Nothing is lost, so nothing is noted.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageOps

from fedvm.images.errors import ImageError
from fedvm.images.notes import Note

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
"""Endings by which image files are found in a folder, in lower case."""

MAX_PIXELS: Final = 50_000_000

# Exif 2.32, tag 0x0112: for each value, the transposition that turns the picture upright.
_ORIENTATIONS: Final = {
    2: "mirrored left to right",
    3: "turned by 180°",
    4: "mirrored top to bottom",
    5: "mirrored along the falling diagonal",
    6: "turned by 90° clockwise",
    7: "mirrored along the rising diagonal",
    8: "turned by 90° counter-clockwise",
}


@dataclass(frozen=True)
class Picture:
    """A decoded image. image: of mode L or RGB, or LA or RGBA if a part of it is transparent; notes: in order."""

    image: Image.Image
    notes: tuple[Note, ...] = ()

    @property
    def is_grey(self) -> bool:
        """Whether the file holds no colour channels."""
        return self.image.mode in ("L", "LA")


def decode(source: Path | bytes | Image.Image, title: str) -> Picture:
    """Decode a file, its bytes, or an image that Pillow holds already. title: what to call it in an error.

    Raises:
        ImageError: the file is missing, not a readable image, larger than 50 million pixels, or holds 32-bit values.
    """
    if isinstance(source, Path) and not source.is_file():
        raise ImageError(f"{title}: no such file. Give an image such as a PNG or JPEG.")
    try:
        if isinstance(source, Image.Image):
            return _decoded(source, title)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a lower limit holds here
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                return _decoded(opened, title)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged files
        reason = str(error).replace(f"{source!r}", title) if isinstance(source, Path) else str(error)
        if isinstance(source, bytes):
            reason = "unknown format" if "cannot identify" in reason else reason
        raise ImageError(f"{title}: not a readable image ({reason}). Give a PNG or JPEG file.") from None


def _decoded(opened: Image.Image, title: str) -> Picture:
    if opened.width * opened.height > MAX_PIXELS:
        raise ImageError(f"{title}: {opened.width}×{opened.height} pixels are too many: scale it down")
    notes: list[Note] = []
    frames = int(getattr(opened, "n_frames", 1))
    if frames > 1:
        notes.append(Note("only the first frame is seen", f"of {frames}"))
    # Orientation and depth must be read first: loading the pixels turns TIFF files, and cuts PNG's 16 bits to 8.
    orientation, wide = opened.getexif().get(ExifTags.Base.Orientation), _has_sixteen_bits(opened)
    opened.load()
    image = ImageOps.exif_transpose(opened)
    if orientation in _ORIENTATIONS:
        notes.append(Note("brought upright as the EXIF orientation says", _ORIENTATIONS[orientation]))
    if wide:
        notes.append(Note("upper 8 of 16 bits kept"))
    if image.mode in ("CMYK", "HSV", "YCbCr", "LAB"):
        notes.append(Note(f"{image.mode} turned to RGB"))
    return Picture(_plain(image, title, wide=wide), tuple(notes))


def _has_sixteen_bits(image: Image.Image) -> bool:
    if image.mode.startswith("I;16"):
        return True
    if image.mode == "I":
        # Pillow widens the 16-bit values of these formats; elsewhere the mode means 32 bits.
        return image.format in ("PNG", "PPM")
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", [])]
    return any(";16" in mode and "BGR;" not in mode for mode in raw_modes)  # BGR;16 is 5, 6 and 5 bits


def _plain(image: Image.Image, title: str, *, wide: bool) -> Image.Image:
    """The image in mode L, LA, RGB or RGBA."""
    if image.mode.startswith(("I", "F")):
        if not wide:
            raise ImageError(
                f"{title}: holds 32-bit or floating-point values: save it with 8 or 16 bits a channel"
            )
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    transparent = "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa")
    if image.mode == "1":
        image = image.convert("L")
    grey = image.mode in ("L", "LA", "La") or (image.mode in ("P", "PA") and _is_grey_palette(image))
    if not transparent:
        return image.convert("L" if grey else "RGB")
    if image.mode == "La":
        image = image.convert("LA")
    full = image.convert("RGBA")
    if full.getchannel("A").getextrema() == (255, 255):
        return full.convert("RGB").getchannel("R") if grey else full.convert("RGB")
    return Image.merge("LA", (full.getchannel("R"), full.getchannel("A"))) if grey else full


def _is_grey_palette(image: Image.Image) -> bool:
    indices = image if image.mode == "P" else image.getchannel("P")
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    used = np.unique(np.asarray(indices))
    colours = palette[used[used < len(palette)]]
    return bool((colours == colours[:, :1]).all())
