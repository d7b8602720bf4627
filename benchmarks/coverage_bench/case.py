"""A model of the lists: the file as an exporter writes it, and rows for it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["bytes", "normal", "unit", "tokens"]
CALIBRATION, HELD_BACK = 320, 64
"""Rows that a model is calibrated with, and others like them on which its integers are judged."""


@dataclass(frozen=True)
class Built:
    """A model as a file, rows to calibrate it with and rows held back, `[N, …]` as its users give them. single: whether
    ONNX Runtime can be asked about one row at a time; options: of `compile_model`."""

    model: bytes
    calibration: NDArray[Any]
    held_back: NDArray[Any]
    single: bool = True
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A model by its name, which is unique in its list, and what builds it."""

    name: str
    build: Callable[[], Built]

    @property
    def seed(self) -> int:
        return seed_of(self.name)


def seed_of(name: str) -> int:
    """A number that is the same in every process."""
    return zlib.crc32(name.encode())


def rows_of(kind: Kind, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """Rows to calibrate with, then those held back: bytes, numbers around zero, numbers in 0..1, or small integers."""
    rng = np.random.default_rng(seed)
    size = (CALIBRATION + HELD_BACK, *shape)
    if kind == "bytes":
        return rng.integers(0, 256, size, dtype=np.uint8)
    if kind == "tokens":
        return rng.integers(0, 16, size).astype(np.int64)
    values = rng.normal(size=size) if kind == "normal" else rng.uniform(size=size)
    # Neighbours along the last axis are alike, as in pictures and series.
    smooth = (values + np.roll(values, 1, axis=-1)) / 2 if shape[-1] > 4 else values
    return smooth.astype(np.float32)


def built(model: bytes, rows: NDArray[Any], **more: Any) -> Built:
    """The model with rows, the last of which are held back."""
    return Built(model, rows[:-HELD_BACK], rows[-HELD_BACK:], **more)
