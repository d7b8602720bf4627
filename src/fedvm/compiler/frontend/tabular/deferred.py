"""Values of which it is not yet known what for: parts of a softmax as exporters spell it out, an index of a largest
score, a product. Those that are used in another way than expected are computed by the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fedvm.compiler.frontend.tabular.affine import Affine
from fedvm.compiler.frontend.tabular.ensemble import Votes


@dataclass(frozen=True, eq=False)
class Logistic:
    """The logistic function of each element; with `complement` one less it."""

    of: Affine
    complement: bool = False

    @property
    def size(self) -> int:
        return self.of.size


@dataclass(frozen=True, eq=False)
class Powers:
    """The exponential of each element; with `beside` one more than it."""

    of: Affine | Votes
    beside: bool = False

    @property
    def size(self) -> int:
        return self.of.size


@dataclass(frozen=True, eq=False)
class Total:
    """The sum of all elements, by which they are about to be divided; with `seen` whether it is zero is asked."""

    of: Logistic | Powers
    seen: bool = False
    size: int = 1


@dataclass(frozen=True, eq=False)
class LogTotal:
    """The logarithm of the sum of the exponentials of all elements."""

    of: Affine
    size: int = 1


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest element."""

    of: Affine
    size: int = 1


@dataclass(frozen=True, eq=False)
class Below:
    """Each element less the largest."""

    of: Affine

    @property
    def size(self) -> int:
        return self.of.size


@dataclass(frozen=True, eq=False)
class Place:
    """The position of the largest element."""

    of: Affine
    size: int = 1


@dataclass(frozen=True, eq=False)
class Product:
    """The product of two numbers."""

    left: Affine
    right: Affine
    size: int = 1


@dataclass(frozen=True, eq=False)
class Table:
    """Several rows of numbers for each input. of: all of them, one row after the other."""

    of: Affine
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        return self.of.size


Deferred: TypeAlias = Logistic | Powers | Total | LogTotal | Largest | Below | Place | Product | Table
