"""Follows the file of a tabular model, node by node: linear chains become one matrix, the rest standard operators.

Only what the scores need is followed. All values are tables `[N, K]`, a row for each input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from fedvm.compiler.columns import Row
from fedvm.compiler.errors import CompileError, ModelError, UnsupportedOperator
from fedvm.compiler.frontend.attributes import attributes_of
from fedvm.compiler.frontend.choice import needed_nodes
from fedvm.compiler.frontend.fold import FOLDABLE, fold
from fedvm.compiler.frontend.load import FLOATS, constant_array
from fedvm.compiler.frontend.opset import version_of
from fedvm.compiler.frontend.tabular import encoders, linear, vectors
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Logistic, Text, Total
from fedvm.compiler.frontend.tabular.ensemble import Ensemble, Votes, ensemble_of
from fedvm.compiler.frontend.tabular.node import Array, Follower, Node, Stacked, Value
from fedvm.compiler.frontend.tabular.outputs import Outputs

POINTWISE = {
    "Abs", "Atan", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log",
    "Mish", "Pow", "Reciprocal", "Relu", "Selu", "Shrink", "Sigmoid", "Sin", "Softplus", "Softsign", "Sqrt", "Swish",
    "Tanh", "ThresholdedRelu",
}  # fmt: skip
"""Functions of single numbers, which are left to the ordinary front end."""


def follow(
    proto: onnx.ModelProto, outputs: Outputs, row: Row, inputs: dict[str, Value]
) -> tuple[Value, Follower]:
    """The scores as a value. inputs: the file's inputs as values. Raises UnsupportedOperator that names the node that
    has no kernel."""
    follower = Follower(row, version_of(proto))
    values: dict[str, Value] = dict(inputs)
    for tensor in proto.graph.initializer:
        values[tensor.name] = _constant(tensor)
    for proto_node in needed_nodes(proto, [outputs.scores]):
        known = [values.get(name) if name else None for name in proto_node.input]
        for name in proto_node.input:
            if name and name not in values:
                raise ModelError(
                    f"node {proto_node.name or proto_node.op_type} reads {name}, which is not written"
                )
        node = Node(proto_node, known, attributes_of(proto_node), follower)
        for name, value in zip(proto_node.output, _followed(node), strict=False):
            values[name] = value
    if outputs.scores not in values:
        raise ModelError(f"nothing in the model writes {outputs.scores}")
    return values[outputs.scores], follower


def _constant(tensor: onnx.TensorProto) -> Array:
    if tensor.data_type == TensorProto.STRING:
        return np.array([s.decode() if isinstance(s, bytes) else s for s in tensor.string_data], object)
    return constant_array(tensor)


def _followed(node: Node) -> list[Value]:
    proto = node.proto
    try:
        if all(not isinstance(v, Affine | Text | Logistic | Total | Votes | Stacked) for v in node.values):
            return _folded(node)
        if proto.op_type not in RULES:
            raise UnsupportedOperator(
                "there is no kernel for it in a tabular model. There is for " + ", ".join(sorted(RULES))
            )
        result = RULES[proto.op_type](node)
    except UnsupportedOperator as error:
        if str(error).startswith("node "):
            raise
        raise _refused(proto, str(error)) from error
    except CompileError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _refused(
            proto, f"this form of it is not understood ({type(error).__name__}: {error})"
        ) from error
    return result if isinstance(result, list) else [result]


def _refused(proto: onnx.NodeProto, reason: str) -> UnsupportedOperator:
    name = proto.name or (proto.output[0] if proto.output else "?")
    return UnsupportedOperator(f"node {name}: operator {proto.op_type}: {reason}")


def _folded(node: Node) -> list[Value]:
    if node.proto.op_type not in FOLDABLE or any(
        isinstance(v, np.ndarray) and v.dtype == object for v in node.values
    ):
        raise UnsupportedOperator("no constants are computed with it")
    known = [v if isinstance(v, np.ndarray) else None for v in node.values]
    return list(fold(node.proto, known, node.follower.opset))


# -- arithmetic -------------------------------------------------------------------------------------------------------


def _row_constant(array: Array, size: int) -> Array:
    """A constant that is the same for every row of the table, as `[size]` or a number."""
    flat = np.asarray(array, np.float64)
    if flat.size not in (1, size):
        raise UnsupportedOperator(f"a constant of the shape {list(flat.shape)} does not fit {size} columns")
    return flat.ravel() if flat.size == size else np.full(size, flat.ravel()[0])


def _spread(value: Affine, size: int) -> Affine:
    """A single column beside more constants: repeated."""
    return value.chosen(np.zeros(size, int)) if value.size == 1 else value


def _add(node: Node, sign: float = 1.0) -> Value:
    left, right = node.values[0], node.values[1]
    if isinstance(right, Logistic) and isinstance(left, np.ndarray) and sign < 0 and np.all(left == 1):
        return replace(right, complement=not right.complement)
    if isinstance(left, Votes) and isinstance(right, np.ndarray):
        return left.scaled(1.0, sign * _row_constant(right, left.size))
    if isinstance(right, np.ndarray):
        x = _spread(node.affine(0), right.size)
        return _plain(node, x).scaled(1.0, sign * _row_constant(right, x.size))
    if isinstance(left, np.ndarray):
        x = _spread(node.affine(1), left.size)
        return _plain(node, x).scaled(sign, _row_constant(left, x.size))
    if isinstance(left, Votes) and isinstance(right, Votes):
        return left.plus(right.scaled(sign, 0.0))
    first, second = _plain(node, node.affine(0)), _plain(node, node.affine(1)).scaled(sign, 0.0)
    return first.plus(second) or _together(node, "Add", first, second)


def _sum(node: Node) -> Value:
    total = _same(node)
    for position in range(1, len(node.values)):
        total = _add(replace(node, values=[total, node.values[position]]))
    return total


def _multiply(node: Node) -> Value:
    if isinstance(node.values[0], np.ndarray):
        return _multiply(replace(node, values=[node.values[1], node.values[0]]))
    if not isinstance(node.values[1], np.ndarray):
        return _together(node, "Mul", *(_plain(node, node.affine(i)) for i in range(2)))
    value, constant = node.values[0], node.array(1)
    if isinstance(value, Votes):
        return value.scaled(_row_constant(constant, value.size), 0.0)
    x = _spread(node.affine(0), constant.size)
    return _plain(node, x).scaled(_row_constant(constant, x.size), 0.0)


def _divide(node: Node) -> Value:
    value, total = node.values[0], node.values[1]
    if isinstance(value, Logistic) and isinstance(total, Total) and total.of is value.of:
        return linear.with_transform(value.of, "LOGISTIC")
    if not isinstance(total, np.ndarray):
        return _together(node, "Div", *(_plain(node, node.affine(i)) for i in range(2)))
    constant = np.asarray(node.array(1), np.float64)
    if (constant == 0).any():
        raise UnsupportedOperator("division by zero")
    return _multiply(replace(node, values=[node.values[0], 1.0 / constant]))


def _negate(node: Node) -> Value:
    return _multiply(replace(node, values=[node.values[0], np.array(-1.0)]))


def _matmul(node: Node) -> Value:
    return _plain(node, node.affine(0)).times(np.asarray(node.array(1), np.float64).T)


def _gemm(node: Node) -> Value:
    weight = np.asarray(node.array(1), np.float64)
    weight = weight if node.given.get("transB", 0) else weight.T
    if node.given.get("transA", 0):
        raise UnsupportedOperator("a transposed input has no kernel")
    bias: Any = 0.0
    if len(node.values) > 2 and node.values[2] is not None:
        bias = float(node.given.get("beta", 1.0)) * _row_constant(node.array(2), len(weight))
    return _plain(node, node.affine(0)).times(float(node.given.get("alpha", 1.0)) * weight, bias)


def _plain(node: Node, value: Affine) -> Affine:
    """The value without a head: a softmax that does not end the model is computed."""
    if not value.head:
        return value
    if value.head != "softmax":
        raise UnsupportedOperator(f"it follows the {value.head}, which ends the model")
    f, scores = node.follower, replace(value, head="")
    if value.size == 2:  # the logistic function of how far each is above the other
        between = scores.times(np.array([[1.0, -1.0], [-1.0, 1.0]]))
        return Affine.of_root(f.add("Sigmoid", [f.realised(between)]), 2)
    return Affine.of_root(f.add("Softmax", [f.realised(scores)], axis=1), value.size)


def _together(node: Node, op: str, first: Affine, second: Affine) -> Affine:
    """An operator on two values of different layers, computed by the network."""
    if first.size != second.size and 1 not in (first.size, second.size):
        raise UnsupportedOperator(f"{first.size} and {second.size} columns do not fit")
    f = node.follower
    return Affine.of_root(f.add(op, [f.realised(first), f.realised(second)]), max(first.size, second.size))


def _scaler(node: Node) -> Value:
    x = _plain(node, node.affine())
    offset = _row_constant(np.asarray(node.given.get("offset", [0.0])), x.size)
    scale = _row_constant(np.asarray(node.given.get("scale", [1.0])), x.size)
    return x.scaled(scale, -offset * scale)


def _normalizer(node: Node) -> Value:
    value = node.values[0]
    norm = str(node.given.get("norm", "MAX"))
    # On positive scores it moves no score past another.
    if isinstance(value, Affine) and value.head and norm in ("L1", "MAX"):
        return value
    if isinstance(value, Votes) and value.positive:
        return value
    return vectors.over_norm(node.follower, _plain(node, node.affine()), norm)


# -- arrangement ------------------------------------------------------------------------------------------------------


def _same(node: Node) -> Value:
    value = node.values[0]
    assert value is not None
    return value


def _cast(node: Node) -> Value:
    value = _same(node)
    to = node.given.get("to")
    if to == TensorProto.STRING:
        raise UnsupportedOperator(
            "numbers as text have no kernel; export the categories as numbers or as text"
        )
    if to in FLOATS or isinstance(value, Text):
        return value
    if isinstance(value, Affine) and value.root == ROW and not value.head and min(value.sources()) >= 0:
        return value  # whole numbers, which categories are
    raise UnsupportedOperator("casting to whole numbers would round; remove the cast")


def _reshape(node: Node) -> Value:
    value = _same(node)
    if isinstance(value, Total):
        return value
    size = value.size
    shape = [int(n) for n in node.array(1).ravel()] if len(node.values) > 1 else [-1, size]
    if node.proto.op_type == "Flatten" or shape[-1:] == [size] or size == 1 or shape in ([0, -1], [1, -1]):
        return value
    raise UnsupportedOperator(f"another shape than one row an input, {shape}, has no kernel")


def _concat(node: Node) -> Value:
    values = [v for v in node.values if v is not None]
    if node.proto.op_type == "Concat" and node.given.get("axis", 1) == 0:
        models = tuple(v for v in values if isinstance(v, Affine | Votes))
        if len(models) == len(values):
            return Stacked(models)
    if node.proto.op_type == "Concat" and node.given.get("axis", 1) not in (1, -1):
        raise UnsupportedOperator("joining along another axis than the columns has no kernel")
    if len(values) == 2 and all(isinstance(v, Logistic) for v in values):
        first, second = values
        assert isinstance(first, Logistic) and isinstance(second, Logistic)
        if first.of is second.of and first.complement and not second.complement and first.of.size == 1:
            # the softmax of −z/2 and z/2 is 1 − p and p
            return replace(first.of.times(np.array([[-0.5], [0.5]])), head="softmax")
    if all(isinstance(v, Logistic) and not v.complement for v in values):
        inner = [v.of for v in values if isinstance(v, Logistic)]
        joined = inner[0].joined(inner[1:])
        if joined is not None:
            return Logistic(joined)
    if all(isinstance(v, Text) for v in values):
        return Text(tuple(f for v in values if isinstance(v, Text) for f in v.features))
    first, *others = (_plain(node, node.affine(i)) for i in range(len(values)))
    joined = first.joined(others)
    if joined is None:
        f = node.follower
        every = [first, *others]
        name = f.add("Concat", [f.realised(each) for each in every], axis=1)
        return Affine.of_root(name, sum(each.size for each in every))
    return joined


def _extract(node: Node) -> Value:
    """ArrayFeatureExtractor and Gather of columns."""
    value = _same(node)
    positions = node.array(1).astype(np.int64).ravel()
    if node.proto.op_type == "Gather" and node.given.get("axis", 0) not in (1, -1):
        raise UnsupportedOperator("gathering along another axis than the columns has no kernel")
    if isinstance(value, Text):
        return Text(tuple(value.features[i] for i in positions))
    x = node.affine()
    if x.head == "softmax" and x.size == 2 and len(positions) == 1:  # of two classes: a logistic function
        chosen = int(positions[0]) % 2
        sign = np.array([[-1.0, 1.0]]) if chosen else np.array([[1.0, -1.0]])
        return Logistic(replace(x, head="").times(sign))
    return x.chosen(positions)


def _slice(node: Node) -> Value:
    x = node.affine()
    starts, ends, axes = (node.array(i).ravel() for i in (1, 2, 3))
    if axes.tolist() not in ([1], [-1]) or (len(node.values) > 4 and node.array(4).ravel().tolist() != [1]):
        raise UnsupportedOperator("only columns may be sliced")
    return x.chosen(np.arange(x.size)[int(starts[0]) : int(ends[0])])


def _split(node: Node) -> list[Value]:
    x = node.affine()
    sizes = node.given.get("split") or (node.array(1).ravel() if len(node.values) > 1 else None)
    if sizes is None:
        sizes = [x.size // len(node.proto.output)] * len(node.proto.output)
    if node.given.get("axis", 0) not in (1, -1) or sum(sizes) != x.size:
        raise UnsupportedOperator("only columns may be split")
    return [x.chosen(part) for part in np.split(np.arange(x.size), np.cumsum(sizes)[:-1])]


def _absolute(node: Node) -> Value:
    if isinstance(node.values[0], Logistic):
        return node.values[0]  # which is not negative
    return _pointwise(node)


def _reduce(node: Node) -> Value:
    axes = node.given.get("axes") or (node.array(1).ravel().tolist() if len(node.values) > 1 else None)
    value = node.values[0]
    if isinstance(value, Stacked) and axes == [0] and node.proto.op_type == "ReduceMean":
        return value.mean()
    if isinstance(value, Logistic) and axes in ([1], [-1]) and node.proto.op_type == "ReduceSum":
        return Total(value.of)
    x = _plain(node, node.affine())
    if axes is None or [int(a) for a in axes] not in ([1], [-1]):
        raise UnsupportedOperator("only sums over the columns have a kernel")
    weight = 1.0 if node.proto.op_type == "ReduceSum" else 1.0 / x.size
    return x.times(np.full((1, x.size), weight))


# -- models and heads -------------------------------------------------------------------------------------------------


def _pointwise(node: Node) -> Value:
    x = _plain(node, node.affine())
    if node.proto.op_type == "Sigmoid":
        return Logistic(x)
    f = node.follower
    others = [f.constant(v) if isinstance(v, np.ndarray) else "" for v in node.values[1:]]
    return Affine.of_root(f.add(node.proto.op_type, [f.realised(x), *others], **node.given), x.size)


def _softmax(node: Node) -> Value:
    value = node.values[0]
    if isinstance(value, Votes):
        return value.with_head("softmax")
    x = _plain(node, node.affine())
    axis = node.given.get("axis", 1 if node.follower.opset < 13 else -1)
    if axis not in (1, -1):
        raise UnsupportedOperator("only a softmax over the columns has a kernel")
    return replace(x, head="softmax")


def _linear_classifier(node: Node) -> list[Value]:
    return [node.values[0], linear.linear_classifier(_plain(node, node.affine()), node.given)]  # type: ignore[list-item]


def _linear_regressor(node: Node) -> Value:
    return linear.linear_regressor(_plain(node, node.affine()), node.given)


def _svm_regressor(node: Node) -> Value:
    return linear.support_vector_regressor(_kernel(node), node.given)


def _kernel(node: Node) -> Affine:
    """The kernel of the row with each support vector."""
    x = _plain(node, node.affine())
    return vectors.kernel_of(node.follower, x, linear.support_vectors(x, node.given), node.given)


def _svm_classifier(node: Node) -> list[Value]:
    pairs, classes = linear.support_vector_pairs(_kernel(node), node.given)
    f = node.follower
    f.approximate = True  # the file's own scores of two classes have the other sign
    if classes == 2:
        return [node.values[0], linear.pair_scores(pairs, node.given)]  # type: ignore[list-item]
    half = pairs.scaled(linear.STEEP / 2, 0.5)
    clipped = f.add("Clip", [f.realised(half), f.constant(0.0), f.constant(1.0)])
    matrix, bias = linear.pair_votes(classes)
    return [node.values[0], Affine.of_root(clipped, pairs.size).times(matrix, bias)]  # type: ignore[list-item]


def _trees(node: Node) -> list[Value]:
    x = _plain(node, node.affine())
    if x.root != ROW:
        raise UnsupportedOperator("trees over the outputs of another layer have no kernel")
    found: Ensemble = ensemble_of(node.proto.op_type, node.given)
    votes = Votes.of(found, x, node.proto.input[0])
    return [votes] if node.proto.op_type in ("TreeEnsembleRegressor", "TreeEnsemble") else [votes, votes]


def _encoder(rule: Callable[..., Value]) -> Callable[[Node], Value]:
    def followed(node: Node) -> Value:
        value = node.values[0]
        if not isinstance(value, Affine | Text) or (isinstance(value, Affine) and value.root != ROW):
            raise UnsupportedOperator("it is understood for columns of the input only")
        return rule(node.follower.row, value, node.given)

    return followed


RULES: dict[str, Callable[[Node], Value | list[Value]]] = dict.fromkeys(POINTWISE, _pointwise) | {
    "Abs": _absolute,
    "Add": _add,
    "ArrayFeatureExtractor": _extract,
    "Binarizer": _encoder(encoders.binarizer),
    "Cast": _cast,
    "Concat": _concat,
    "Div": _divide,
    "Dropout": _same,
    "FeatureVectorizer": _concat,
    "Flatten": _reshape,
    "Gather": _extract,
    "Gemm": _gemm,
    "Identity": _same,
    "Imputer": _encoder(encoders.imputer),
    "LabelEncoder": _encoder(encoders.label_encoder),
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "MatMul": _matmul,
    "Mul": _multiply,
    "Neg": _negate,
    "Normalizer": _normalizer,
    "OneHotEncoder": _encoder(encoders.one_hot),
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Reshape": _reshape,
    "SVMClassifier": _svm_classifier,
    "SVMRegressor": _svm_regressor,
    "Scaler": _scaler,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _reshape,
    "Sub": lambda node: _add(node, -1.0),
    "Sum": _sum,
    "TreeEnsemble": _trees,
    "TreeEnsembleClassifier": _trees,
    "TreeEnsembleRegressor": _trees,
    "Unsqueeze": _reshape,
    "ZipMap": _same,
}
"""One function a node's operator."""
