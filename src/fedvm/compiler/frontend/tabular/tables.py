"""Several rows of numbers for each input, as naive Bayes compares them with the means of every class."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular.affine import Affine
from fedvm.compiler.frontend.tabular.deferred import Table
from fedvm.compiler.graph import FloatArray


def table_of(value: Affine, shape: list[int]) -> Table:
    """The value as `[N, rows, columns]`. Raises UnsupportedOperator for other shapes."""
    if (
        len(shape) != 3
        or shape[0] not in (0, -1, 1)
        or min(shape[1:]) < 1
        or math.prod(shape[1:]) != value.size
    ):
        raise UnsupportedOperator(f"another shape than one table an input, {shape}, has no kernel")
    return Table(value, (shape[1], shape[2]))


def _broadcast(table: Table, constant: FloatArray) -> tuple[Table, FloatArray]:
    """Both in one shape; of the constant the numbers `[rows · columns]`."""
    if constant.ndim > 3 or (constant.ndim == 3 and constant.shape[0] != 1):
        raise UnsupportedOperator(f"a constant of the shape {list(constant.shape)} does not fit one input")
    constant = constant.reshape(constant.shape[-2:])
    rows, columns = np.broadcast_shapes(table.shape, constant.shape)
    places: NDArray[np.int64] = np.arange(table.size).reshape(table.shape)
    chosen = np.broadcast_to(places, (rows, columns)).ravel()
    return Table(table.of.chosen(chosen), (rows, columns)), np.broadcast_to(constant, (rows, columns)).ravel()


def shifted(table: Table, constant: FloatArray) -> Table:
    """The table plus constants."""
    table, offset = _broadcast(table, constant)
    return Table(table.of.scaled(1.0, offset), table.shape)


def stretched(table: Table, constant: FloatArray) -> Table:
    """The table times constants."""
    table, scale = _broadcast(table, constant)
    return Table(table.of.scaled(scale, 0.0), table.shape)


def summed(table: Table, axes: list[int] | None, mean: bool) -> Affine:
    """The sum, or the mean, of each row. Raises UnsupportedOperator for other axes than that of the columns."""
    rows, columns = table.shape
    if axes not in ([2], [-1]):
        raise UnsupportedOperator("only sums over the last axis of a table have a kernel")
    return table.of.times(np.kron(np.eye(rows), np.full((1, columns), 1.0 / columns if mean else 1.0)))
