"""Errors of exports."""

from __future__ import annotations


class ExportError(ValueError):
    """What was asked for cannot be exported; the message says what to do next."""


class NothingToExport(ExportError):
    """The chain does not have what a format is about, such as a version of a model."""
