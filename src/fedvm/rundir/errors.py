"""What can be wrong with a run's directory."""

from __future__ import annotations


class RunDirectoryError(ValueError):
    """The run directory is in use, not empty, or not a run directory."""
