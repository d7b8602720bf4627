"""Digits drawn with fonts, as people draw or photograph them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Floats = NDArray[np.float64]

FACES = tuple(
    sorted(
        face
        for face in (Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVu*.ttf")
        if "Display" not in face.name  # these hold few characters
    )
)


def drawn(face: Path, digit: int, *, seed: int) -> Iterator[tuple[str, Image.Image]]:
    """(the way it is drawn, the picture) of one digit in one face, every way."""
    rng = np.random.default_rng(seed)
    full, middle = _ink(face, digit, 280, 240), _ink(face, digit, 280, 180)
    corner = _ink(face, digit, 280, 70, (20, 25))
    y, x = np.mgrid[0:280, 0:280] / 280
    light = 0.35 + 0.65 * (0.6 * x + 0.4 * y)
    for name, ink in (
        ("28 pixels", _ink(face, digit, 28, 24)),
        ("full size", full),
        ("small in a corner", corner),
    ):
        yield f"white ink, {name}", _picture(255 * ink)
        yield f"black ink, {name}", _picture(255 * (1 - ink))
    yield "white ink, uneven light", _picture(255 * light * (0.15 + 0.85 * middle))
    yield "black ink, uneven light", _picture(255 * light * (1 - 0.85 * middle))
    for name, value in (("black", 0), ("white", 255)):
        yield f"{name} ink, transparent", _picture(np.dstack([np.full((280, 280, 3), value), 255 * middle]))
    yield "photographed paper", _paper(face, digit, rng, shadow=False)
    yield "photographed paper, shadow", _paper(face, digit, rng, shadow=True)
    for name, rgb in (("red", (220, 30, 30)), ("yellow", (250, 230, 40)), ("blue", (120, 180, 250))):
        yield f"{name} ink", _picture(255 * (1 - middle[..., None]) + np.array(rgb) * middle[..., None])
    wide = np.concatenate([middle, np.zeros_like(middle)], axis=1)
    yield "black ink, left of a wide picture", _picture(255 * (1 - wide))


def _ink(face: Path, digit: int, side: int, height: int, corner: tuple[int, int] | None = None) -> Floats:
    """Ink as 0 … 1, `[side, side]`; corner: where the digit begins, None for the middle."""
    font = ImageFont.truetype(str(face), height)
    left, top, right, bottom = font.getbbox(str(digit))
    x, y = corner or ((side - right + left) // 2, (side - bottom + top) // 2)
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).text((x - left, y - top), str(digit), fill=255, font=font)
    return np.asarray(image, np.float64) / 255


def _paper(face: Path, digit: int, rng: np.random.Generator, *, shadow: bool) -> Image.Image:
    """A JPEG as a phone takes it: warm paper, light from one side, a dark rim, blur, noise, a slant."""
    side = 640
    place = (int(rng.integers(60, 320)), int(rng.integers(60, 320)))
    turned = _picture(255 * _ink(face, digit, side, 240, place)).rotate(
        rng.uniform(-8, 8), Image.Resampling.BICUBIC
    )
    ink = np.asarray(turned.filter(ImageFilter.GaussianBlur(2)), np.float64)[..., None] / 255
    y, x = np.mgrid[0:side, 0:side, 0:1][:2] / side
    light = (0.45 + 0.5 * x) * (1 - 0.7 * ((x - 0.4) ** 2 + (y - 0.6) ** 2))
    if shadow:
        light = light * (1 - 0.5 / (1 + np.exp(-80 * (x + 0.3 * y - 0.6))))
    pixels = light * (np.array([235, 228, 210]) * (1 - ink) + np.array([40, 45, 90]) * ink)
    file = io.BytesIO()
    _picture(pixels + rng.normal(0, 6, pixels.shape)).save(file, "JPEG", quality=80)
    return Image.open(file)


def _picture(values: Floats) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
