"""The names of the preparations. Nothing here loads Pillow, so that commands can offer them quickly."""

from __future__ import annotations

from enum import StrEnum


class Preparation(StrEnum):
    """How an image is converted to a model's input; `fedvm.images.prepare` does it."""

    PHOTO = "photo"
    DRAWING = "drawing"
    RAW = "raw"
