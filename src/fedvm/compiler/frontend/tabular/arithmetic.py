"""Arithmetic of tabular models: linear operators are folded, others are left to the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.load import FLOATS
from fedvm.compiler.frontend.tabular import encoders, linear, tables, vectors
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Text
from fedvm.compiler.frontend.tabular.deferred import (
    Below,
    Largest,
    Logistic,
    LogTotal,
    Place,
    Powers,
    Product,
    Table,
    Total,
)
from fedvm.compiler.frontend.tabular.ensemble import Votes
from fedvm.compiler.frontend.tabular.node import Array, Node, Rule, Stacked, Value

POINTWISE = {
    "Atan", "Celu", "Clip", "Cos", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish",
    "Relu", "Selu", "Shrink", "Sin", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
}  # fmt: skip
"""Functions of single numbers, which are left to the ordinary front end."""


def _row_constant(array: Array, size: int) -> Array:
    """A constant that is the same for every row of the table, as `[size]` or a number."""
    flat = np.asarray(array, np.float64)
    if flat.size not in (1, size):
        raise UnsupportedOperator(f"a constant of the shape {list(flat.shape)} does not fit {size} columns")
    return flat.ravel() if flat.size == size else np.full(size, flat.ravel()[0])


def _spread(value: Affine, size: int) -> Affine:
    """A single column beside more numbers: repeated."""
    return value.chosen(np.zeros(size, int)) if value.size == 1 and size > 1 else value


def _add(node: Node, sign: float = 1.0) -> Value:
    left, right = node.value(0), node.value(1)
    if sign < 0 and (special := _less(left, right)) is not None:
        return special
    if sign > 0 and isinstance(left, np.ndarray) and not isinstance(right, np.ndarray):
        return _add(replace(node, values=[right, left]))
    if isinstance(right, np.ndarray) and not right.any() and not isinstance(left, Affine | Table):
        return left  # whatever it is
    if (
        isinstance(left, Powers)
        and isinstance(right, np.ndarray)
        and right.size == 1
        and right.ravel()[0] == 1
    ):
        return replace(left, beside=True) if sign > 0 and not left.beside else _add_affine(node, sign)
    if isinstance(left, Table) and isinstance(right, np.ndarray):
        return tables.shifted(left, sign * np.asarray(right, np.float64))
    if isinstance(left, Votes) and isinstance(right, np.ndarray):
        return left.scaled(1.0, sign * _row_constant(right, left.size))
    if isinstance(right, Votes) and isinstance(left, np.ndarray):
        return right.scaled(sign, _row_constant(left, right.size))
    if isinstance(left, Votes) and isinstance(right, Votes):
        return left.plus(right.scaled(sign, 0.0))
    return _add_affine(node, sign)


def _less(left: Value, right: Value) -> Value | None:
    """Differences that exporters write in formulas of probabilities."""
    if isinstance(right, Logistic) and isinstance(left, np.ndarray) and np.all(left == 1):
        return replace(right, complement=not right.complement)
    if isinstance(right, LogTotal) and right.of is left:
        return replace(right.of, head="log_softmax")
    if isinstance(right, Largest) and right.of is left:
        return Below(right.of)
    return None


def _add_affine(node: Node, sign: float) -> Affine:
    left, right = node.values[0], node.values[1]
    if isinstance(right, np.ndarray):
        x = _spread(node.affine(0), right.size)
        return x.scaled(1.0, sign * _row_constant(right, x.size))
    if isinstance(left, np.ndarray):
        x = _spread(node.affine(1), left.size)
        return x.scaled(sign, _row_constant(left, x.size))
    first, second = _fitting(node.affine(0), node.affine(1))
    return first.plus(second.scaled(sign, 0.0))


def _fitting(first: Affine, second: Affine) -> tuple[Affine, Affine]:
    """Two values of one size, of which one may be a single column."""
    if first.size != second.size and 1 not in (first.size, second.size):
        raise UnsupportedOperator(f"{first.size} and {second.size} columns do not fit")
    return _spread(first, second.size), _spread(second, first.size)


def _sum(node: Node) -> Value:
    total = node.value()
    for position in range(1, len(node.values)):
        total = _add(replace(node, values=[total, node.values[position]]))
    return total


def _multiply(node: Node) -> Value:
    value, constant = node.value(0), node.value(1)
    if isinstance(value, np.ndarray):
        return _multiply(replace(node, values=[constant, value]))
    if not isinstance(constant, np.ndarray):
        first, second = _fitting(node.affine(0), node.affine(1))
        f = node.follower
        return Affine.of_root(f.add("Mul", [f.realised(first), f.realised(second)]), first.size)
    if np.all(constant == 1):
        return value
    if isinstance(value, Votes):
        return value.scaled(_row_constant(constant, value.size), 0.0)
    if isinstance(value, Table):
        return tables.stretched(value, np.asarray(constant, np.float64))
    x = _spread(node.affine(0), constant.size)
    return x.scaled(_row_constant(constant, x.size), 0.0)


def _divide(node: Node) -> Value:
    value, total = node.value(0), node.value(1)
    if isinstance(total, Total) and not total.seen and total.of is value:
        if isinstance(value, Powers):
            return _softmax_of(value.of)
        if isinstance(value, Logistic) and not value.complement:
            return replace(linear.with_transform(value.of, "LOGISTIC"), shares=True)
    one = isinstance(value, np.ndarray) and bool(np.all(value == 1))
    if one and isinstance(total, Powers) and total.beside and isinstance(total.of, Affine):
        return Logistic(total.of.scaled(-1.0, 0.0))  # 1 / (1 + exp(z))
    if not isinstance(total, np.ndarray):
        return _quotient(node)
    constant = np.asarray(total, np.float64)
    if (constant == 0).any():
        raise UnsupportedOperator("division by zero")
    return _multiply(replace(node, values=[value, np.asarray(1.0 / constant)]))


def _quotient(node: Node) -> Affine:
    f, value = node.follower, node.value(0)
    second = node.affine(1)
    if isinstance(value, np.ndarray):
        second = _spread(second, value.size)
        inverse = Affine.of_root(f.add("Reciprocal", [f.realised(second)]), second.size)
        return inverse.scaled(_row_constant(value, second.size), 0.0)
    first, second = _fitting(node.affine(0), second)
    return Affine.of_root(f.add("Div", [f.realised(first), f.realised(second)]), first.size)


def _softmax_of(scores: Affine | Votes) -> Affine | Votes:
    if isinstance(scores, Votes):
        return scores.with_head("softmax")
    return replace(scores, head="softmax")


def _negate(node: Node) -> Value:
    return _multiply(replace(node, values=[node.values[0], np.array(-1.0)]))


def _matmul(node: Node) -> Value:
    weight = np.asarray(node.array(1), np.float64)
    return node.affine(0).times((weight[:, None] if weight.ndim == 1 else weight).T)


def _gemm(node: Node) -> Value:
    weight = np.asarray(node.array(1), np.float64)
    weight = weight if node.given.get("transB", 0) else weight.T
    if node.given.get("transA", 0):
        raise UnsupportedOperator("a transposed input has no kernel")
    product = node.affine(0).times(float(node.given.get("alpha", 1.0)) * weight)
    beta = float(node.given.get("beta", 1.0))
    more = node.values[2] if len(node.values) > 2 else None
    if more is None:
        return product
    if isinstance(more, np.ndarray):
        return product.scaled(1.0, beta * _row_constant(more, product.size))
    return product.plus(_spread(node.affine(2).scaled(beta, 0.0), product.size))


def _scaler(node: Node) -> Value:
    x = node.affine()
    offset = _row_constant(np.asarray(node.given.get("offset", [0.0])), x.size)
    scale = _row_constant(np.asarray(node.given.get("scale", [1.0])), x.size)
    return x.scaled(scale, -offset * scale)


def _cast(node: Node) -> Value:
    value, to = node.value(), node.given.get("to")
    if to == TensorProto.STRING:
        raise UnsupportedOperator(
            "numbers as text have no kernel; export the categories as numbers or as text"
        )
    if to in FLOATS and isinstance(value, Place):
        return encoders.place(node.follower.row, value.of)
    if to in FLOATS or isinstance(value, Text | Place):
        return value
    if isinstance(value, Total) and _is_never_zero(value, to):
        return replace(value, seen=True)
    if isinstance(value, Affine) and value.root == ROW and not value.head and min(value.sources()) >= 0:
        return value  # whole numbers, which categories are
    if isinstance(value, Votes) and value.whole:
        return value
    raise UnsupportedOperator("casting to whole numbers would round; remove the cast")


def _is_never_zero(total: Total, to: Any) -> bool:
    """Whether the sum, cast to this type, is another number than zero: a sum of positive numbers as true or false; the
    exponentials of scores that add up to zero sum up to their number at least."""
    if to == TensorProto.BOOL:
        return True
    return isinstance(total.of, Powers) and isinstance(total.of.of, Votes) and total.of.of.balanced


# -- functions --------------------------------------------------------------------------------------------------------


def _pointwise(node: Node) -> Value:
    x, f = node.affine(), node.follower
    others = [f.constant(v) if isinstance(v, np.ndarray) else "" for v in node.values[1:]]
    return Affine.of_root(f.add(node.proto.op_type, [f.realised(x), *others], **node.given), x.size)


def _sigmoid(node: Node) -> Value:
    return Logistic(node.affine())


def _absolute(node: Node) -> Value:
    value = node.value()
    return value if isinstance(value, Logistic) else _pointwise(node)  # which is not negative


def _exponential(node: Node) -> Value:
    value = node.value()
    if isinstance(value, Affine) and value.head == "log_softmax":
        return replace(value, head="softmax")
    if isinstance(value, Below):
        return Powers(value.of)
    return Powers(value if isinstance(value, Votes) else node.affine())


def _reciprocal(node: Node) -> Value:
    value = node.value()
    if isinstance(value, Powers) and value.beside:
        return _divide(replace(node, values=[np.ones(1), value]))
    return _pointwise(node)


def _power(node: Node) -> Value:
    value = node.value()
    exponent = np.asarray(node.array(1), np.float64)
    if exponent.size == 1 and exponent.ravel()[0] == 2:
        if isinstance(value, Table):
            return replace(value, of=vectors.squares(node.follower, value.of))
        return vectors.squares(node.follower, node.affine())
    return _pointwise(node)


def _softmax(node: Node) -> Value:
    value = node.value()
    if isinstance(value, Votes):
        return value.with_head("softmax")
    axis = node.given.get("axis", 1 if node.follower.opset < 13 else -1)
    if axis not in (1, -1):
        raise UnsupportedOperator("only a softmax over the columns has a kernel")
    return replace(node.affine(), head="softmax")


# -- sums over columns, comparisons -----------------------------------------------------------------------------------


def _over_columns(node: Node) -> None:
    if node.axes() not in ([1], [-1]):
        raise UnsupportedOperator("only sums over the columns have a kernel")


def _reduce(node: Node) -> Value:
    value, op = node.value(), node.proto.op_type
    if isinstance(value, Stacked) and node.axes() == [0] and op == "ReduceMean":
        models = (node.follower.plain(one) if isinstance(one, Affine) else one for one in value.models)
        return Stacked(tuple(models)).mean()
    if isinstance(value, Table):
        return tables.summed(value, node.axes(), op == "ReduceMean")
    _over_columns(node)
    if op == "ReduceSum" and isinstance(value, Logistic | Powers):
        return Total(value)
    if op == "ReduceSum" and isinstance(value, Affine) and (value.head == "softmax" or value.shares):
        return np.ones((1, 1))
    x = node.affine()
    return x.times(np.full((1, x.size), 1.0 if op == "ReduceSum" else 1.0 / x.size))


def _reduce_square(node: Node) -> Value:
    _over_columns(node)
    x = vectors.squares(node.follower, node.affine())
    return x.times(np.ones((1, x.size)))


def _reduce_max(node: Node) -> Value:
    _over_columns(node)
    return Largest(node.affine())


def _reduce_log_sum(node: Node) -> Value:
    _over_columns(node)
    return LogTotal(node.affine())


def _reduce_product(node: Node) -> Value:
    """Products of columns, two at a time."""
    _over_columns(node)
    x = node.affine()
    total = x.chosen(np.array([0]))
    for position in range(1, x.size):
        factor = x.chosen(np.array([position]))
        if position == x.size - 1:
            return Product(total, factor)
        total = node.follower.computed(Product(total, factor))
    return total


def _compare(node: Node) -> Value:
    """1.0 where a comparison with constants holds, else 0.0; of single features when a row is encoded."""
    left, right, op = node.value(0), node.value(1), node.proto.op_type
    if isinstance(left, np.ndarray):
        turned = op.replace("Less", "?").replace("Greater", "Less").replace("?", "Greater")
        node.proto.op_type = turned
        return _compare(replace(node, values=[right, left]))
    if not isinstance(right, np.ndarray):
        raise UnsupportedOperator("a comparison of two values that depend on the row has no kernel")
    if isinstance(left, Total) and left.seen and op == "Equal" and not right.any():
        return np.zeros((1, 1))
    test = _TESTS[op]
    if isinstance(left, Votes):
        return left.mapped(lambda scores: test(scores, right.ravel()).astype(np.float64))
    x = _spread(node.affine(0), right.size)
    edges = _row_constant(right, x.size)
    if op != "Equal" and encoders.are_features(node.follower.row, x):
        return encoders.compared(node.follower.row, x, edges, op)
    f = node.follower
    truth = f.add(op, [f.realised(x), f.constant(edges)])
    return Affine.of_root(f.add("Cast", [truth], to=TensorProto.FLOAT), x.size)


_TESTS: dict[str, Callable[[Array, Array], Array]] = {
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
}


def _not(node: Node) -> Value:
    value = node.value()
    if isinstance(value, Total) and value.seen:
        return np.zeros((1, 1))
    if isinstance(value, Votes):
        return value.scaled(-1.0, 1.0)
    return node.affine().scaled(-1.0, 1.0)


def _where(node: Node) -> Value:
    yes, no = (np.asarray(node.array(i), np.float64) for i in (1, 2))
    value = node.value()
    size = value.size if isinstance(value, Votes) else node.affine().size
    yes, no = (_row_constant(each, size) for each in (yes, no))
    return (value if isinstance(value, Votes) else node.affine()).scaled(yes - no, no)


ARITHMETIC: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE, _pointwise),
    "Abs": _absolute,
    "Add": _add,
    "Cast": _cast,
    "Div": _divide,
    "Exp": _exponential,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Mul": _multiply,
    "Neg": _negate,
    "Not": _not,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "ReduceLogSumExp": _reduce_log_sum,
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce,
    "ReduceProd": _reduce_product,
    "ReduceSum": _reduce,
    "ReduceSumSquare": _reduce_square,
    "Scaler": _scaler,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "Sub": lambda node: _add(node, -1.0),
    "Sum": _sum,
    "Where": _where,
    **dict.fromkeys(_TESTS, _compare),
}
