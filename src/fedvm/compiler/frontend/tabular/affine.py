"""Values of a tabular model while its file is followed: affine functions of one row, constants, and heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.graph import FloatArray

ROW = "row"
"""Root of what depends on the encoded columns alone."""

HeadKind: TypeAlias = Literal["", "softmax", "sigmoid"]


@dataclass(frozen=True, eq=False)
class Affine:
    """`weight · root + bias`, a vector for each row of the table. weight: `[K, R]`, where columns that the root has
    gained since are left out; bias: `[K]`. head: the increasing function of it that the file then takes, which is left
    out."""

    root: str
    weight: FloatArray
    bias: FloatArray
    head: HeadKind = ""

    @property
    def size(self) -> int:
        return len(self.bias)

    @classmethod
    def of_root(cls, root: str, size: int) -> Affine:
        """The root itself."""
        return cls(root, np.eye(size), np.zeros(size))

    def scaled(self, scale: Any, offset: Any) -> Affine:
        """`scale · self + offset`; each a number or `[K]`."""
        scale, offset = (np.broadcast_to(np.asarray(v, np.float64), (self.size,)) for v in (scale, offset))
        return replace(self, weight=self.weight * scale[:, None], bias=self.bias * scale + offset)

    def times(self, matrix: FloatArray, bias: Any = 0.0) -> Affine:
        """`matrix [O, K] · self + bias`."""
        return replace(self, weight=matrix @ self.weight, bias=matrix @ self.bias + bias)

    def plus(self, other: Affine) -> Affine | None:
        """The sum of both, None if they have different roots or sizes."""
        if self.root != other.root or self.size != other.size:
            return None
        a, b = widened([self.weight, other.weight])
        return replace(self, weight=a + b, bias=self.bias + other.bias)

    def chosen(self, positions: NDArray[Any]) -> Affine:
        """Some of the elements, in this order."""
        return replace(self, weight=self.weight[positions], bias=self.bias[positions])

    def joined(self, others: list[Affine]) -> Affine | None:
        """This and the others, one after the other; None if they have different roots."""
        everything = [self, *others]
        if any(one.root != self.root for one in others):
            return None
        weight = np.concatenate(widened([one.weight for one in everything]))
        return replace(self, weight=weight, bias=np.concatenate([one.bias for one in everything]))

    def sources(self) -> list[int]:
        """For every element the one column of the root that it is, −1 where it is anything else."""
        result = []
        for row, bias in zip(self.weight, self.bias, strict=True):
            used = np.flatnonzero(row)
            exact = len(used) == 1 and row[used[0]] == 1 and bias == 0
            result.append(int(used[0]) if exact else -1)
        return result


@dataclass(frozen=True, eq=False)
class Text:
    """Features that are text, by their positions in the row."""

    features: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.features)


@dataclass(frozen=True, eq=False)
class Logistic:
    """The logistic function of one number, before it is known what for; of several, a number for each."""

    of: Affine
    complement: bool = False

    @property
    def size(self) -> int:
        return self.of.size


@dataclass(frozen=True, eq=False)
class Total:
    """The sum of the logistic functions of all elements."""

    of: Affine


def widened(weights: list[FloatArray]) -> list[FloatArray]:
    """Matrices with as many columns as the widest, zeros in the new ones."""
    width = max(weight.shape[1] for weight in weights)
    return [np.pad(weight, ((0, 0), (0, width - weight.shape[1]))) for weight in weights]
