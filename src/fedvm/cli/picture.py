"""A picture in the terminal: what the contract saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

_BLOCKS = " ▀▄█"
_SHADES = " ░▒▓█"
_ASCII = " .:-=+*#%@"
_WIDEST = 64


def picture(pixels: NDArray[np.uint8], console: Console) -> Text:
    """A picture, uint8 `[C, H, W]`, as text: two pixels per character, in colour if the terminal has colours. Otherwise
    drawings are shown in half blocks and other pictures in shades, or in ASCII if the terminal's encoding has no such
    characters. A picture wider than the terminal is scaled down.
    """
    grid = _fitted(pixels, min(_WIDEST, console.width))
    blocks = _has(console, _BLOCKS + _SHADES)
    if blocks and console.color_system in ("truecolor", "256"):
        return _coloured(grid)
    grey = np.asarray(Image.fromarray(grid).convert("L"))
    if not blocks:
        return Text("\n".join(_shades(grey, _ASCII)))
    return Text("\n".join(_half_blocks(grey) if _has_two_tones(grey) else _shades(grey, _SHADES)))


def _has(console: Console, characters: str) -> bool:
    try:
        characters.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _fitted(pixels: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """uint8 `[H, W, 3]` of an even height, at most `width` wide."""
    planes = pixels if len(pixels) == 3 else np.repeat(pixels[:1], 3, axis=0)
    image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
    image.thumbnail((width, 2 * width), Image.Resampling.BOX)
    grid = np.asarray(image)
    return np.pad(grid, ((0, grid.shape[0] % 2), (0, 0), (0, 0)), mode="edge")


def _coloured(grid: NDArray[np.uint8]) -> Text:
    text = Text()
    for row, (upper, lower) in enumerate(zip(grid[::2], grid[1::2], strict=True)):
        text.append("\n" if row else "")
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
    return text


def _half_blocks(grey: NDArray[np.uint8]) -> list[str]:
    lit = grey >= 128
    return [
        "".join(_BLOCKS[a + 2 * b] for a, b in zip(*rows, strict=True))
        for rows in zip(lit[::2], lit[1::2], strict=True)
    ]


def _shades(grey: NDArray[np.uint8], ramp: str) -> list[str]:
    means = (grey[::2].astype(int) + grey[1::2]) // 2
    return ["".join(ramp[value * len(ramp) // 256] for value in row) for row in means.tolist()]


def _has_two_tones(grey: NDArray[np.uint8]) -> bool:
    """Most pixels are nearly black or nearly white, as in a drawing."""
    return bool(((grey < 64) | (grey >= 192)).mean() > 0.85)
