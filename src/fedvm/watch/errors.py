"""What can be wrong with a watch itself."""

from __future__ import annotations


class WatchError(ValueError):
    """The watch cannot begin as it was asked to."""
