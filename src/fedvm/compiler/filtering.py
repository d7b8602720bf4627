"""Winograd's minimal filtering along the rows of a map, in integers: two rows of sums from fewer products.

For a column of a kernel with taps g0 … g2 over rows x0 … x3, two sums take four products instead of six (Winograd,
"Arithmetic complexity of computations", 1980; Lavin and Gray, arXiv:1509.09308):

    2·y0 = 2·g0·(x0 − x2) + (g0 + g1 + g2)·(x1 + x2) + (g0 − g1 + g2)·(x2 − x1)
    2·y1 = (g0 + g1 + g2)·(x1 + x2) − (g0 − g1 + g2)·(x2 − x1) − 2·g2·(x1 − x3)

and with two taps three instead of four (Karatsuba). Longer kernels are put together from these. Kernels that move by s
rows are s kernels that move by one, each over every s-th row of x. Rows are words of lanes here. The identities hold in
any ring, so they hold for words modulo 2²⁵⁶ whatever their lanes overflow to on the way, and the two last words are
twice the sums, exactly: one more bit to shift, and the highest of the word is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedvm.compiler.graph import Conv
from fedvm.compiler.layout import ConvPlan
from fedvm.compiler.tiling import WORD_BITS

ROWS = 2
"""Rows of sums that are made together."""


@dataclass(frozen=True)
class Product:
    """(Σ rows · x) · (Σ taps · g): rows are (row, factor) of x, at most two with factors 1 and −1; taps: a factor for
    each kernel row; into: by which factors it goes into the two sums."""

    rows: tuple[tuple[int, int], ...]
    taps: tuple[int, ...]
    into: tuple[int, int]


def products(kernel: int, scale: int, stride: int = 1) -> list[Product]:
    """The products for `kernel` rows of taps, which move by `stride` rows of x, that make `scale` times both sums.
    scale: 2, or 1 without three taps at a time."""

    def spread(made: Product, first: int) -> Product:
        taps = dict(zip(range(first, kernel, stride), made.taps, strict=True))
        rows = tuple((first + stride * row, sign) for row, sign in made.rows)
        return Product(rows, tuple(taps.get(j, 0) for j in range(kernel)), made.into)

    return [
        spread(made, first)
        for first, taps in enumerate(_kernels(kernel, stride))
        for made in _side_by_side(taps, scale)
    ]


def _kernels(kernel: int, stride: int) -> list[int]:
    """Rows of taps that meet the same rows of x, by the first of them."""
    return [len(range(first, kernel, stride)) for first in range(min(kernel, stride))]


def _side_by_side(kernel: int, scale: int) -> list[Product]:
    """The products of a kernel that moves by one row."""

    def taps(*pairs: tuple[int, int]) -> tuple[int, ...]:
        return tuple(dict(pairs).get(j, 0) for j in range(kernel))

    found: list[Product] = []
    j = 0
    while j < kernel:
        left = kernel - j
        if scale == 2 and _in_threes(left):
            a, b, c = j, j + 1, j + 2
            found += [
                Product(((a, 1), (c, -1)), taps((a, 2)), (1, 0)),
                Product(((b, 1), (c, 1)), taps((a, 1), (b, 1), (c, 1)), (1, 1)),
                Product(((c, 1), (b, -1)), taps((a, 1), (b, -1), (c, 1)), (1, -1)),
                Product(((b, 1), (j + 3, -1)), taps((c, -2)), (0, 1)),
            ]
            j += 3
        elif left >= 2:
            a, b = j, j + 1
            found += [
                Product(((a, 1), (b, -1)), taps((a, scale)), (1, 0)),
                Product(((b, 1),), taps((a, scale), (b, scale)), (1, 1)),
                Product(((j + 2, 1), (b, -1)), taps((b, scale)), (0, 1)),
            ]
            j += 2
        else:
            found += [Product(((j + i, 1),), taps((j, scale)), (1 - i, i)) for i in range(ROWS)]
            j += 1
    return found


def _in_threes(taps: int) -> bool:
    """Whether three of so many rows of taps are taken together."""
    return taps == 3 or taps > 4


def is_exact(found: Sequence[Product], kernel: int, scale: int, stride: int = 1) -> bool:
    """Whether the products make `scale` times y_i = Σ g_j · x_{stride·i+j}, as polynomials."""
    total: dict[tuple[int, int, int], int] = {}
    for product in found:
        for i, factor in enumerate(product.into):
            for row, sign in product.rows:
                for tap, weight in enumerate(product.taps):
                    key = (i, tap, row)
                    total[key] = total.get(key, 0) + factor * sign * weight
    wanted = {(i, j, stride * i + j): scale for i in range(ROWS) for j in range(kernel)}
    return {key: value for key, value in total.items() if value} == wanted


def products_of(plan: ConvPlan, conv: Conv) -> list[Product]:
    """The products that make a pair of rows of one of the layer's convolutions."""
    return products(conv.weight.shape[2], scale_of(plan), plan.stride[0])


def scale_of(plan: ConvPlan) -> int:
    """What the sums of the layer are multiplied with: 2 if that saves products, and the highest sum of a word has a bit
    above it to lose."""
    kernels = [taps for term in plan.terms for taps in _kernels(term.conv.weight.shape[2], plan.stride[0])]
    spare = WORD_BITS - plan.lane_bits * (plan.lanes - 1) - plan.requant.need
    return 2 if spare > 0 and any(map(_in_threes, kernels)) else 1


def can_filter(plan: ConvPlan) -> bool:
    """Whether two rows of the layer can be made together: they exist, and no pool needs one without the other."""
    pool, convs = plan.pool, [term.conv for term in plan.terms]
    rows = (plan.layer.shape[1] - 1) * pool.stride[0] + pool.kernel[0]
    paired = pool.kernel[0] == pool.stride[0] and pool.kernel[0] in (1, ROWS) and rows % ROWS == 0
    wide = any(conv.weight.shape[2] > plan.stride[0] for conv in convs)
    return (
        paired
        and wide
        and plan.tiling.rows == plan.tiling.segments == plan.tiling.advance == 1
        and plan.requant.high is not None
        and all(is_shared(conv) or conv.weight.shape[2] == 1 for conv in convs)
    )


def is_shared(conv: Conv) -> bool:
    """Whether all outputs read the same words of x."""
    return conv.groups == 1
