"""Errors that a user can correct. The command line prints only the message and exits with status 2."""

from __future__ import annotations


class UsageError(ValueError):
    """The input given cannot be used as it is; the message says what to do next."""


class ConfigError(UsageError):
    """The configuration names something that does not exist, or a value out of range."""


class GateFailed(UsageError):
    """The model did not pass the gate that its versions must pass to serve."""
