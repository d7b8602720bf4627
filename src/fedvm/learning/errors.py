"""Errors of this package. Each message names the thing at fault and says what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LearningError(ValueError):
    """Base class: the data, model or settings cannot be used as asked."""


class DataError(LearningError):
    """A data set is unknown, unreadable, or not a set of equally sized labelled images."""


class PartitionError(LearningError):
    """The examples cannot be divided among the clients as asked."""


class ModelSpecError(LearningError):
    """The network does not exist, or cannot be sized for the data."""


class TrainingError(LearningError):
    """A training setting is invalid, or training diverged."""


class QuantizationError(LearningError):
    """The network cannot be trained on integers, or not with these bits."""


class CheckpointError(LearningError):
    """A checkpoint is missing, damaged, or not one of ours."""


class ExportError(LearningError):
    """The ONNX file does not compute what the PyTorch model computes."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The error message for an unknown name: the nearest known name, and all known names.

    >>> unknown_name("optimizer", "adm", ["adam", "sgd"])
    "unknown optimizer 'adm': did you mean 'adam'? Known: adam, sgd"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"unknown {kind} '{name}': {hint}Known: {', '.join(names)}"
