"""Products, quotients and maxima of two tensors that both depend on the input: gates, attention, normalisations.

A product is a difference of two squares, x·y = ((x + y)² − (x − y)²) / 4, and a square is a function by table. So
nothing but sums and tables is needed, and what holds for those (the proofs, the exactness) holds for products. Both
operands are first moved and stretched to −1..1 by what they are on the calibration inputs, in which the squares have
the least error; what that adds is linear. What a product adds to the error of its operands is that of two tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.aligned import aligned
from fedvm.compiler.frontend.builder import Builder
from fedvm.compiler.frontend.operators import OPERATORS
from fedvm.compiler.frontend.operators.bounds import applied
from fedvm.compiler.frontend.operators.node import Node
from fedvm.compiler.frontend.operators.sums import sum_of
from fedvm.compiler.frontend.values import Part, Pending, Ref, Tensor
from fedvm.compiler.graph import SQUARE, Conv, Dense, FloatArray, IntArray, Pointwise

DIGITS = 64
"""Steps to which centres and widths of operands are rounded, so that no last digit of a float decides anything."""
SMALL = 1e-9
"""What counts as zero beside the largest channel, if each is stretched by itself."""
UNLIKE = 32.0
"""Widest range of a channel, relative to the narrowest, for which one table of squares serves both."""
NARROW = 1e-3
"""Least width of an element's range, relative to the widest of its tensor."""


def product(builder: Builder, a: Part, b: Part) -> Pending:
    """The product of two parts of one shape, element by element."""
    left, right = _plain(builder, a), _plain(builder, b)
    (middle_a, width_a), (middle_b, width_b) = (_range(builder, part) for part in (left, right))
    first = build.affine(left, 1 / width_a, -middle_a / width_a)
    second = build.affine(right, 1 / width_b, -middle_b / width_b)
    minus = build.affine(second, -np.ones(len(width_b)), np.zeros(len(width_b)))
    squares = [
        builder.settle(build.applied(sum_of(builder, first, other), SQUARE)) for other in (second, minus)
    ]
    quarter = width_a * width_b / 4
    total = sum_of(
        builder,
        build.affine(squares[0], quarter, np.zeros(len(quarter))),
        build.affine(squares[1], -quarter, np.zeros(len(quarter))),
    )
    # (x + m)(y + n) = xy + n(x + m) + m(y + n) − mn
    if middle_b.any():
        total = sum_of(builder, total, build.affine(left, middle_b, np.zeros(len(middle_b))))
    if middle_a.any():
        total = sum_of(builder, total, build.affine(right, middle_a, np.zeros(len(middle_a))))
    return replace(total, bias=total.bias - middle_a * middle_b)


_SQUARE = Pointwise("Square", np.square)


def square(builder: Builder, part: Part) -> Part:
    """The square of every element. Channels of unlike ranges are stretched first, so that one table serves them all."""
    x = part if isinstance(part, Ref) or part.linear else builder.settle(part)
    reach = _reach(builder, build.pending(x) if isinstance(x, Ref) else x)
    if reach is None or reach.max() <= UNLIKE * reach.min():
        return build.applied(x, _SQUARE)
    near = build.affine(x, 1 / reach, np.zeros(len(reach)))
    return build.affine(builder.settle(build.applied(near, _SQUARE)), np.square(reach), np.zeros(len(reach)))


def _reach(builder: Builder, part: Pending) -> FloatArray | None:
    """How far each channel goes from zero on the calibration inputs, those that are always zero as far as the narrowest
    other; None if there are none."""
    values = builder.values(part)
    if values is None or not values.any():
        return None
    found = np.abs(values).max(axis=(0, 2, 3))
    mantissa, exponent = np.frexp(np.maximum(found, SMALL * found.max()))
    rounded = np.ldexp(np.ceil(mantissa * DIGITS) / DIGITS, exponent)
    reach: FloatArray = np.where(found == 0, rounded[found > 0].min(), rounded)
    return reach


def _plain(builder: Builder, part: Part) -> Pending:
    """The part as a sum of few terms: it is computed three times. Others become layers of their own."""
    if isinstance(part, Pending) and part.linear:
        taps = sum(int(np.count_nonzero(term.weight)) for term in part.terms)
        if taps <= len(part.bias) and all(_is_selection(term) for term in part.terms):
            return part
    return build.pending(builder.settle(part))


def _is_selection(term: Conv | Dense) -> bool:
    return isinstance(term, Dense) or (term.weight.shape[2:] == (1, 1) and term.stride == (1, 1))


def _range(builder: Builder, part: Pending) -> tuple[FloatArray, FloatArray]:
    """(middle, half the width) of each channel on the calibration inputs, to few digits; 0 and 1 without any."""
    values = builder.values(part)
    if values is None:
        return np.zeros(len(part.bias)), np.ones(len(part.bias))
    low, high = values.min(axis=(0, 2, 3)), values.max(axis=(0, 2, 3))
    width = (high - low) / 2
    widest = float(width.max()) or float(np.abs(high).max()) or 1.0
    width = np.where(
        width == 0, widest, width
    )  # a channel that never varies must not set the steps of all others
    mantissa, exponent = np.frexp(np.maximum(width, NARROW * widest))
    width = np.ldexp(np.ceil(mantissa * DIGITS) / DIGITS, exponent)
    middle: FloatArray = np.rint((low + high) / 2 / width * DIGITS) / DIGITS * width
    middle = np.where(np.abs(middle) < width / 8, 0.0, middle)  # costs a term and saves little
    return middle, width + np.abs((low + high) / 2 - middle)


# -- operators --------------------------------------------------------------------------------------------------------


def _both(node: Node) -> bool:
    return len(node.inputs) >= 2 and all(isinstance(value, Tensor) for value in node.inputs[:2])


def _pair(node: Node) -> tuple[Part, Part, IntArray]:
    return aligned(node.builder, node.tensor(0), node.tensor(1), node.label)


def _multiply(node: Node) -> list[Tensor]:
    if not _both(node):
        return OPERATORS["Mul"](node)
    a, b, index = _pair(node)
    return [Tensor((product(node.builder, a, b),), index)]


def _divide(node: Node) -> list[Tensor]:
    if not isinstance(node.inputs[1], Tensor):
        return OPERATORS["Div"](node)
    inverse = applied(node, node.tensor(1), Pointwise("Reciprocal", _reciprocal))
    return _multiply(replace(node, inputs=[node.inputs[0], inverse]))


def _reciprocal(x: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        result: FloatArray = np.reciprocal(x)
    return result


def _extreme(sign: float) -> Callable[[Node], list[Tensor]]:
    """max(x, y) = y + relu(x − y), min(x, y) = y − relu(y − x)."""

    def lower(node: Node) -> list[Tensor]:
        if not _both(node):
            return OPERATORS["Max" if sign > 0 else "Min"](node)
        a, b, index = _pair(node)
        builder = node.builder
        left, right = (builder.open(part) for part in (a, b))
        ones, zeros = np.ones(len(left.bias)), np.zeros(len(left.bias))
        beyond = sum_of(
            builder, build.affine(left, sign * ones, zeros), build.affine(right, -sign * ones, zeros)
        )
        clipped = builder.settle(replace(beyond, low=0.0))
        result = sum_of(builder, right, build.affine(clipped, sign * ones, zeros))
        rest = node.inputs[2:]
        tensor = Tensor((result,), index)
        return lower(replace(node, inputs=[tensor, *rest])) if rest else [tensor]

    return lower


def _matmul(node: Node) -> list[Tensor]:
    """The sum of products over the inner axis, all of which are computed apart."""
    if isinstance(node.inputs[0], Tensor) and not isinstance(node.inputs[1], Tensor):
        return OPERATORS["MatMul"](node)
    if not _both(node):  # a constant times the tensor: the transpose of the tensor times a constant
        return _constant_first(node)
    left, right = node.tensor(0), node.tensor(1)
    if min(left.index.ndim, right.index.ndim) < 2:
        raise node.refuse(
            "a product of a matrix and a vector that both depend on the input; add an axis of 1"
        )
    if left.index.shape[-1] != right.index.shape[-2]:
        raise node.refuse(f"shapes {left.index.shape} and {right.index.shape} do not fit")
    rows = replace(left, index=left.index[..., :, None, :])
    columns = replace(right, index=right.index.swapaxes(-1, -2)[..., None, :, :])
    a, b, index = aligned(node.builder, rows, columns, node.label)
    products = product(node.builder, a, b)
    inner = index.reshape(-1, index.shape[-1])
    return [Tensor((_summed(products, inner, node),), np.arange(len(inner)).reshape(index.shape[:-1]))]


def _summed(part: Pending, groups: IntArray, node: Node) -> Pending:
    """For each row of `groups`, elements of the part, their sum, without a layer for the elements themselves."""
    if part.shape[1:] != (1, 1):
        sums = np.asarray(np.kron(np.eye(len(groups)), np.ones(groups.shape[1])), np.float64)
        return build.dense(Tensor((node.builder.settle(part),), groups), sums)
    terms = []
    for term in part.terms:
        weight = np.asarray(term.weight, np.float64)
        if isinstance(term, Conv):
            weight = (build.ungrouped(weight, term.groups) if term.groups > 1 else weight)[:, :, 0, 0]
        terms.append(Dense(term.source, weight[groups].sum(axis=1)))
    return Pending(tuple(terms), part.bias[groups].sum(axis=1), (len(groups), 1, 1))


def _constant_first(node: Node) -> list[Tensor]:
    tensor, weight = node.tensor(1), np.asarray(node.array(0), np.float64)
    if tensor.index.ndim < 2 or weight.ndim > tensor.index.ndim or math.prod(weight.shape[:-2]) != 1:
        raise node.refuse("a constant times activations of this shape has no kernel")
    turned = replace(tensor, index=tensor.index.swapaxes(-1, -2))
    constant = weight.reshape(weight.shape[-2:]).T
    (result,) = OPERATORS["MatMul"](replace(node, inputs=[turned, constant]))
    return [replace(result, index=result.index.swapaxes(-1, -2))]


GATES: dict[str, Callable[[Node], list[Tensor]]] = {
    "Div": _divide,
    "MatMul": _matmul,
    "Max": _extreme(1.0),
    "Min": _extreme(-1.0),
    "Mul": _multiply,
}
