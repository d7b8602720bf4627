"""The error of this package; the message names the file and says what to do next."""

from __future__ import annotations


class ImageError(ValueError):
    """The image cannot be read, or does not fit what the model takes."""
