"""What can go wrong with the pages of a federation."""

from __future__ import annotations


class WebError(ValueError):
    """The pages cannot be made: the message says what to do."""
