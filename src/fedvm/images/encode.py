"""Pixels → a PNG file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The PNG file of uint8 `[C, H, W]`, C being 1 or 3 (other counts show their first channel)."""
    flat = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
