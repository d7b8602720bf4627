"""ONNX tensors during lowering: rearrangements of the elements of layers.

A `Tensor` is an index array into the elements of its parts. Transpose, Reshape, Flatten, Slice, Split and
Concat therefore only move indices, and the layer that consumes the tensor (a convolution, a dense layer) folds the
arrangement into its weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fedvm.compiler.graph import FloatArray, Grid, IntArray, MaxPool, Pointwise, Shape, Term

PADDING = -1
"""Index of an element that an explicit Pad added."""


@dataclass(frozen=True, eq=False)
class Ref:
    """`scale[c] · source + offset[c]` of a finished tensor (a layer's output or the input); arrays are
    `[C]`."""

    source: str
    shape: Shape
    scale: FloatArray
    offset: FloatArray

    @property
    def plain(self) -> bool:
        """Whether it is the source itself."""
        return bool((self.scale == 1).all() and not self.offset.any())


@dataclass(frozen=True, eq=False)
class Pending:
    """A layer under construction: sum of terms and bias, pooled, then clipped to `low..high` (may be infinite) or put
    through `function`, then rounded to `grid` if there is one."""

    terms: tuple[Term, ...]
    bias: FloatArray
    shape: Shape  # after pooling
    pool: MaxPool | None = None
    low: float = -math.inf
    high: float = math.inf
    function: Pointwise | None = None
    grid: Grid | None = None

    @property
    def linear(self) -> bool:
        """Whether it is still a sum of terms, so that more may be added or scaled."""
        return self.pool is None and not self.clipped and self.grid is None

    @property
    def clipped(self) -> bool:
        """Whether an activation has been applied."""
        return self.low > -math.inf or self.high < math.inf or self.function is not None

    @property
    def ends(self) -> tuple[float, float]:
        """What the outputs lie between: a function's are bounded by the integers to which it is rounded."""
        return (
            self.grid.ends if self.function is not None and self.grid is not None else (self.low, self.high)
        )


Part: TypeAlias = Ref | Pending


@dataclass(frozen=True, eq=False)
class Tensor:
    """An ONNX tensor of one sample. `index` has the ONNX shape (batch axis 1) and holds positions in the
    parts' elements, one part after the other, each in (C, H, W) order; `PADDING` stands for the constant
    `fill`.

    head: the function of the scores that this is ("softmax", "argmax", …), "" for ordinary tensors; rivals: elements
    that it compares with each other, `[G, K]`, if it does. grid: if the ONNX tensor holds integers that stand for the
    real numbers of the parts, which.
    """

    parts: tuple[Part, ...]
    index: IntArray
    fill: float = 0.0
    head: str = ""
    rivals: IntArray | None = None
    grid: Grid | None = None

    @property
    def starts(self) -> tuple[int, ...]:
        """First index of each part, and the end."""
        sizes = [math.prod(part.shape) for part in self.parts]
        return tuple(int(n) for n in np.cumsum([0, *sizes]))

    @property
    def whole(self) -> bool:
        """Whether every element of the parts occurs exactly once and nothing else does."""
        flat = np.sort(self.index, axis=None)
        return len(flat) == self.starts[-1] and bool((flat == np.arange(len(flat))).all())


def tensor_of(part: Part) -> Tensor:
    """The part as the ONNX tensor `[1, C, H, W]`."""
    return Tensor((part,), np.arange(math.prod(part.shape), dtype=np.int64).reshape(1, *part.shape))


@dataclass(frozen=True)
class Planes:
    """A tensor `[1, C, H, W]` seen as channel planes: ONNX channel c is channel `channel[c]` of part
    `part[c]`, surrounded by `pads` (top, left, bottom, right) rows and columns of the fill value."""

    part: IntArray
    channel: IntArray
    pads: tuple[int, int, int, int]


def planes(tensor: Tensor) -> Planes | None:
    """The tensor as channel planes, or None if it is no such arrangement."""
    if tensor.index.ndim != 4 or tensor.index.shape[0] != 1:
        return None
    index = tensor.index[0]
    inside = index != PADDING
    rows, columns = np.flatnonzero(inside.any(axis=(0, 2))), np.flatnonzero(inside.any(axis=(0, 1)))
    if not len(rows):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    block = index[:, top:bottom, left:right]
    size = block[0].size
    if (block == PADDING).any() or inside.sum() != block.size:
        return None
    if (block - block[:, :1, :1] != np.arange(size).reshape(block.shape[1:])).any():
        return None
    starts = np.array(tensor.starts)
    part = np.searchsorted(starts, block[:, 0, 0], side="right") - 1
    local = block[:, 0, 0] - starts[part]
    if any(tensor.parts[p].shape[1:] != block.shape[1:] for p in set(part.tolist())) or (local % size).any():
        return None
    height, width = index.shape[1:]
    return Planes(part, local // size, (int(top), int(left), int(height - bottom), int(width - right)))
