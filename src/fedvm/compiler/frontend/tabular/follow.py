"""Follows the file of a tabular model, node by node: linear chains become one matrix, the rest standard operators.

Only what the scores need is followed. All values are tables `[N, K]`, a row for each input.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from fedvm.compiler.columns import Row
from fedvm.compiler.errors import CompileError, ModelError, UnsupportedOperator
from fedvm.compiler.frontend.attributes import attributes_of
from fedvm.compiler.frontend.choice import needed_nodes
from fedvm.compiler.frontend.fold import FOLDABLE, fold
from fedvm.compiler.frontend.load import constant_array
from fedvm.compiler.frontend.opset import version_of
from fedvm.compiler.frontend.tabular.arithmetic import ARITHMETIC
from fedvm.compiler.frontend.tabular.arrange import ARRANGE
from fedvm.compiler.frontend.tabular.models import MODELS
from fedvm.compiler.frontend.tabular.node import Array, Follower, Node, Rule, Value
from fedvm.compiler.frontend.tabular.outputs import Outputs

RULES: dict[str, Rule] = {**ARRANGE, **ARITHMETIC, **MODELS}
"""One function a node's operator."""


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
        if all(v is None or isinstance(v, np.ndarray) for v in node.values):
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
