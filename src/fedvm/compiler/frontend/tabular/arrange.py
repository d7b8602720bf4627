"""Columns of tabular models chosen, joined and put in other shapes; encoders of columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.tabular import encoders, tables
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Text
from fedvm.compiler.frontend.tabular.deferred import Largest, Logistic, LogTotal, Place, Product, Table, Total
from fedvm.compiler.frontend.tabular.ensemble import Votes
from fedvm.compiler.frontend.tabular.node import Array, Node, Rule, Stacked, Value


def same(node: Node) -> Value:
    """The first input as it is."""
    return node.value()


def _reshape(node: Node) -> Value:
    value = node.value()
    if isinstance(value, Total | LogTotal | Largest):
        return value
    size = value.size
    shape = [int(n) for n in node.array(1).ravel()] if len(node.values) > 1 else [-1, size]
    if isinstance(value, Stacked):
        if node.proto.op_type == "Reshape" and size == 1 and shape == [len(value.models), -1]:
            return replace(value, turned=True)
        raise UnsupportedOperator(f"several models in the shape {shape} have no kernel")
    if isinstance(value, Affine) and node.proto.op_type == "Reshape" and len(shape) == 3 and shape[1] != -1:
        return tables.table_of(value, shape)
    if node.proto.op_type == "Flatten" or shape[-1:] == [size] or size == 1 or shape in ([0, -1], [1, -1]):
        return value.of if isinstance(value, Table) else value
    raise UnsupportedOperator(f"another shape than one row an input, {shape}, has no kernel")


def _transpose(node: Node) -> Value:
    value = node.value()
    if isinstance(value, Stacked) and value.turned and node.given.get("perm", [1, 0]) == [1, 0]:
        return value.beside()
    raise UnsupportedOperator("exchanging rows and columns has no kernel")


def _shape(node: Node) -> Value:
    """Of one row."""
    value = node.value()
    if isinstance(value, Stacked | Table | Text):
        raise UnsupportedOperator("the shape of such a value has no kernel")
    return np.array([1, value.size], np.int64)


def _concat(node: Node) -> Value:
    values = [v for v in node.values if v is not None]
    if node.proto.op_type == "Concat" and node.given.get("axis", 1) == 0:
        models = tuple(node.follower.computed(v) if isinstance(v, Logistic) else v for v in values)
        known = tuple(v for v in models if isinstance(v, Affine | Votes))
        if len(known) == len(values):
            return Stacked(known)
    if node.proto.op_type == "Concat" and node.given.get("axis", 1) not in (1, -1):
        raise UnsupportedOperator("joining along another axis than the columns has no kernel")
    if len(values) == 1:
        return values[0]
    if all(isinstance(v, Text) for v in values):
        return Text(tuple(f for v in values if isinstance(v, Text) for f in v.features))
    votes = [v for v in values if isinstance(v, Votes)]
    if len(votes) == len(values):
        return votes[0].joined(votes[1:])
    logistic = [v for v in values if isinstance(v, Logistic)]
    if len(logistic) == len(values) and (joined := _logistic(logistic)) is not None:
        return joined
    first, *others = _affines(node, values)
    return first.joined(others)


def _logistic(values: list[Logistic]) -> Affine | Logistic | None:
    """One less p and p as the softmax of two scores; several p as one value."""
    first, second, *more = values
    if not more and first.of is second.of and first.of.size == 1 and first.complement > second.complement:
        # the softmax of −z/2 and z/2 is 1 − p and p
        return replace(first.of.times(np.array([[-0.5], [0.5]])), head="softmax")
    if any(v.complement for v in values):
        return None
    return Logistic(first.of.joined([v.of for v in values[1:]]))


def _affines(node: Node, values: list[Value]) -> list[Affine]:
    """The values to be joined; products of two numbers are computed at once."""
    products = [v for v in values if isinstance(v, Product)]
    together = node.follower.products(products) if products else Affine.of_constant([])
    found, used = [], 0
    for position, value in enumerate(values):
        if isinstance(value, Product):
            found.append(together.chosen(np.array([used])))
            used += 1
        elif isinstance(value, np.ndarray):
            found.append(Affine.of_constant(_one_row(value)))
        else:
            found.append(node.affine(position))
    return found


def _one_row(array: Array) -> Array:
    if array.ndim > 1 and array.shape[0] != 1:
        raise UnsupportedOperator(f"a constant of the shape {list(array.shape)} beside columns has no kernel")
    return array.ravel()


def _chosen(node: Node, positions: Array) -> Value:
    """Some of the columns."""
    value = node.value()
    if isinstance(value, Text):
        return Text(tuple(value.features[i] for i in positions))
    if isinstance(value, Logistic):
        return replace(value, of=value.of.chosen(positions))
    if isinstance(value, Votes):
        return value.chosen(positions)
    if (
        isinstance(value, Affine) and value.head == "softmax" and value.size == 2 and len(positions) == 1
    ):  # of two classes: a logistic function
        sign = np.array([[-1.0, 1.0]]) if int(positions[0]) % 2 else np.array([[1.0, -1.0]])
        return Logistic(replace(value, head="").times(sign))
    return node.affine().chosen(positions)


def _extract(node: Node) -> Value:
    """ArrayFeatureExtractor and Gather of columns."""
    positions = node.array(1).astype(np.int64).ravel()
    if node.proto.op_type == "Gather" and node.given.get("axis", 0) not in (1, -1):
        raise UnsupportedOperator("gathering along another axis than the columns has no kernel")
    return _chosen(node, positions)


def _slice(node: Node) -> Value:
    starts, ends, axes = (node.array(i).ravel() for i in (1, 2, 3))
    if axes.tolist() not in ([1], [-1]) or (len(node.values) > 4 and node.array(4).ravel().tolist() != [1]):
        raise UnsupportedOperator("only columns may be sliced")
    value = node.value()
    if isinstance(value, np.ndarray | Stacked):
        raise UnsupportedOperator("only columns may be sliced")
    return _chosen(node, np.arange(value.size)[int(starts[0]) : int(ends[0])])


def _split(node: Node) -> list[Value]:
    x = node.affine()
    sizes = node.given.get("split") or (node.array(1).ravel() if len(node.values) > 1 else None)
    if sizes is None:
        sizes = [x.size // len(node.proto.output)] * len(node.proto.output)
    if node.given.get("axis", 0) not in (1, -1) or sum(sizes) != x.size:
        raise UnsupportedOperator("only columns may be split")
    return [x.chosen(part) for part in np.split(np.arange(x.size), np.cumsum(sizes)[:-1])]


def _encoder(rule: Callable[..., Value]) -> Callable[[Node], Value]:
    def followed(node: Node) -> Value:
        value = node.value()
        if isinstance(value, Place):
            return rule(node.follower.row, value, node.given)
        if not isinstance(value, Affine | Text) or (isinstance(value, Affine) and value.root != ROW):
            raise UnsupportedOperator("it is understood for columns of the input only")
        return rule(node.follower.row, value, node.given)

    return followed


ARRANGE: dict[str, Rule] = {
    "ArrayFeatureExtractor": _extract,
    "Binarizer": _encoder(encoders.binarizer),
    "Concat": _concat,
    "Dropout": same,
    "FeatureVectorizer": _concat,
    "Flatten": _reshape,
    "Gather": _extract,
    "Identity": same,
    "Imputer": _encoder(encoders.imputer),
    "LabelEncoder": _encoder(encoders.label_encoder),
    "OneHotEncoder": _encoder(encoders.one_hot),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
    "ZipMap": same,
}
