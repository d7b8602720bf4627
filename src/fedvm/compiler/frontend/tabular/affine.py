"""Values of a tabular model while its file is followed: affine functions of one row and of tensors made of it, and
text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.graph import FloatArray

ROW = "row"
"""Root of what depends on the encoded columns alone."""

HeadKind: TypeAlias = Literal["", "softmax", "log_softmax", "sigmoid"]


@dataclass(frozen=True, eq=False)
class Affine:
    """`Σ weight · root + bias`, a vector for each row of the table. terms: every root once, with its weight `[K, R]`,
    where columns that the root has gained since are left out; bias: `[K]`. head: the increasing function of it that the
    file then takes, which is left out; shares: whether the file divides that by its sum."""

    terms: tuple[tuple[str, FloatArray], ...]
    bias: FloatArray
    head: HeadKind = ""
    shares: bool = False

    @property
    def size(self) -> int:
        return len(self.bias)

    @property
    def root(self) -> str:
        """The only root, "" if there are several or none."""
        return self.terms[0][0] if len(self.terms) == 1 else ""

    @property
    def weight(self) -> FloatArray:
        """The weight of the only root."""
        ((_, weight),) = self.terms
        return weight

    @classmethod
    def of(cls, root: str, weight: FloatArray, bias: FloatArray) -> Affine:
        """An affine function of one root."""
        return cls(((root, weight),), bias)

    @classmethod
    def of_root(cls, root: str, size: int) -> Affine:
        """The root itself."""
        return cls.of(root, np.eye(size), np.zeros(size))

    @classmethod
    def of_constant(cls, values: Any) -> Affine:
        """The same numbers for every row."""
        return cls((), np.asarray(values, np.float64).ravel())

    def scaled(self, scale: Any, offset: Any) -> Affine:
        """`scale · self + offset`; each a number or `[K]`."""
        scale, offset = (np.broadcast_to(np.asarray(v, np.float64), (self.size,)) for v in (scale, offset))
        terms = tuple((root, weight * scale[:, None]) for root, weight in self.terms)
        return replace(self, terms=terms, bias=self.bias * scale + offset)

    def times(self, matrix: FloatArray, bias: Any = 0.0) -> Affine:
        """`matrix [O, K] · self + bias`."""
        terms = tuple((root, matrix @ weight) for root, weight in self.terms)
        return replace(self, terms=terms, bias=matrix @ self.bias + bias)

    def plus(self, other: Affine) -> Affine:
        """The sum of both, which have one size."""
        found: dict[str, FloatArray] = dict(self.terms)
        for root, weight in other.terms:
            if root in found:
                a, b = widened([found[root], weight])
                weight = a + b
            found[root] = weight
        return replace(self, terms=tuple(found.items()), bias=self.bias + other.bias)

    def chosen(self, positions: NDArray[Any]) -> Affine:
        """Some of the elements, in this order."""
        terms = tuple((root, weight[positions]) for root, weight in self.terms)
        return replace(self, terms=terms, bias=self.bias[positions])

    def joined(self, others: list[Affine]) -> Affine:
        """This and the others, one after the other."""
        everything = [self, *others]
        terms = []
        for root in dict.fromkeys(root for one in everything for root, _ in one.terms):
            own = [dict(one.terms).get(root, np.zeros((one.size, 0))) for one in everything]
            terms.append((root, np.concatenate(widened(own))))
        return replace(self, terms=tuple(terms), bias=np.concatenate([one.bias for one in everything]))

    def sources(self) -> list[int]:
        """For every element the one column of the only root that it is, −1 where it is anything else."""
        if len(self.terms) != 1:
            return [-1] * self.size
        result = []
        for row, bias in zip(self.weight, self.bias, strict=True):
            used = np.flatnonzero(row)
            exact = len(used) == 1 and row[used[0]] == 1 and bias == 0
            result.append(int(used[0]) if exact else -1)
        return result

    def without_common(self) -> Affine:
        """Scores less what all of them have in common, which changes neither their order nor their softmax: of each
        root the mean of the weights."""
        kept = []
        for root, weight in self.terms:
            rest = weight - weight.mean(axis=0)
            if np.abs(rest).max(initial=0) > 1e-9 * np.abs(weight).max(initial=0):
                kept.append((root, rest))
        return replace(self, terms=tuple(kept), bias=self.bias - self.bias.mean())


@dataclass(frozen=True, eq=False)
class Text:
    """Features that are text, by their positions in the row."""

    features: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.features)


def widened(weights: list[FloatArray]) -> list[FloatArray]:
    """Matrices with as many columns as the widest, zeros in the new ones."""
    width = max(weight.shape[1] for weight in weights)
    return [np.pad(weight, ((0, 0), (0, width - weight.shape[1]))) for weight in weights]
