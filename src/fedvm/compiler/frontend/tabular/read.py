"""From the file of a tabular model to what is compiled: a network of standard operators, or an ensemble of trees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fedvm.compiler.columns import Column, Feature, Row, encode
from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend.choice import inputs_of
from fedvm.compiler.frontend.load import INPUT_TYPES
from fedvm.compiler.frontend.opset import NEUTRAL
from fedvm.compiler.frontend.tabular import linear
from fedvm.compiler.frontend.tabular.affine import ROW, Affine, Text
from fedvm.compiler.frontend.tabular.deferred import Deferred, Logistic
from fedvm.compiler.frontend.tabular.ensemble import Votes
from fedvm.compiler.frontend.tabular.follow import follow
from fedvm.compiler.frontend.tabular.node import Follower, Value
from fedvm.compiler.frontend.tabular.outputs import ML, Outputs, find_outputs

NUMBERS = INPUT_TYPES | {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}


@dataclass(frozen=True, eq=False)
class Tabular:
    """A tabular model that has been followed.

    proto: the file; outputs: its scores, label and classes; features: of a row; columns: what is computed of them
    before a program is asked. model: the network over the columns, or the trees. head: what the file makes of the
    scores. approximate: the scores differ from the file's, but their order does not.
    """

    proto: onnx.ModelProto
    outputs: Outputs
    features: tuple[Feature, ...]
    columns: tuple[Column, ...]
    model: onnx.ModelProto | Votes
    head: str
    approximate: bool

    @property
    def plain(self) -> bool:
        """Whether the columns are the features."""
        return len(self.columns) == len(self.features) and all(
            column.plain and column.feature == i for i, column in enumerate(self.columns)
        )

    def encode(self, rows: NDArray[Any], *, missing: bool = False) -> NDArray[np.float64]:
        """The columns of rows; see `columns.encode`."""
        return encode(self.features, self.columns, rows, missing=missing)


def is_tabular(proto: onnx.ModelProto) -> bool:
    """Whether a file is a tabular model: it has operators of ai.onnx.ml, or text, or several columns as inputs, or
    its label is the nearest of some vectors."""
    inputs = inputs_of(proto.graph)
    kinds = [value.type.tensor_type for value in inputs]
    columns = len(inputs) > 1 and all(len(kind.shape.dim) == 2 for kind in kinds)
    text = any(kind.elem_type == TensorProto.STRING for kind in kinds)
    results = {value.name for value in proto.graph.output}
    nearest = any(node.op_type == "ArgMin" and node.output[0] in results for node in proto.graph.node)
    return columns or text or nearest or any(node.domain == ML for node in proto.graph.node)


def read_tabular(proto: onnx.ModelProto) -> Tabular:
    """Follow the file of a tabular model. Raises UnsupportedOperator, naming the node, and ModelError."""
    outputs = find_outputs(proto)
    row, inputs = _inputs(proto)
    value, follower = follow(proto, outputs, row, inputs)
    if outputs.smallest and isinstance(value, Affine | Votes):
        value, follower.approximate = value.scaled(-1.0, 0.0), True
        outputs = replace(outputs, classes=tuple(range(value.size)))
    if isinstance(value, Logistic) and value.size > 1 and not value.complement:
        value = linear.with_transform(value.of, "LOGISTIC")
    if isinstance(value, Votes):
        model: onnx.ModelProto | Votes = _widened(value, row)
        columns = tuple(row.columns)
    else:
        model, columns = _network(value, follower, outputs)
    head = value.head if isinstance(value, Votes | Affine) else ""
    return Tabular(proto, outputs, row.features, columns, model, head, follower.approximate)


def _inputs(proto: onnx.ModelProto) -> tuple[Row, dict[str, Value]]:
    """The features of a row, and the file's inputs as values."""
    features: list[Feature] = []
    spans: list[tuple[str, bool, range]] = []
    for value in inputs_of(proto.graph):
        kind = value.type.tensor_type
        text = kind.elem_type == TensorProto.STRING
        if not text and kind.elem_type not in NUMBERS:
            raise ModelError(f"input {value.name} holds neither numbers nor text; export it as float32")
        sizes = [dim.dim_value for dim in kind.shape.dim]
        if len(sizes) != 2 or sizes[1] < 1 or sizes[0] > 1:
            raise ModelError(
                f"input {value.name} has the shape {sizes}; export a table [N, features] of fixed width"
            )
        names = [value.name] if sizes[1] == 1 else [f"{value.name}[{i}]" for i in range(sizes[1])]
        spans.append((value.name, text, range(len(features), len(features) + sizes[1])))
        features += [Feature(name, text) for name in names]
    row = Row(tuple(features))
    for position, feature in enumerate(features):
        if not feature.text:
            row.add(Column(position))
    width = len(row.columns)
    values: dict[str, Value] = {}
    for name, text, span in spans:
        if text:
            values[name] = Text(tuple(span))
        else:
            chosen = [row.columns.index(Column(position)) for position in span]
            values[name] = Affine.of_root(ROW, width).chosen(np.array(chosen))
    return row, values


def _widened(votes: Votes, row: Row) -> Votes:
    columns = votes.columns
    weight = np.pad(columns.weight, ((0, 0), (0, len(row.columns) - columns.weight.shape[1])))
    return Votes(
        votes.ensemble,
        votes.source,
        Affine.of(ROW, weight, columns.bias),
        votes.matrix,
        votes.bias,
        votes.head,
    )


def _network(
    value: Value, follower: Follower, outputs: Outputs
) -> tuple[onnx.ModelProto, tuple[Column, ...]]:
    """The model as a network of standard operators over the columns that it uses, and these."""
    if isinstance(value, Deferred):
        value = follower.computed(value)
    if not isinstance(value, Affine) or not value.terms:
        raise UnsupportedOperator("the model's output does not depend on its numbers")
    if value.size == 1 and len(outputs.classes) == 2 and not value.head:
        value = value.times(np.array([[-1.0], [1.0]]))  # one decision of two classes
    if len(value.terms) > 1 and (outputs.smallest or value.head in ("softmax", "log_softmax")):
        value = value.without_common()
    scores = follower.scores(value)
    if value.head in ("softmax", "log_softmax"):
        scores = follower.add("Softmax" if value.head == "softmax" else "LogSoftmax", [scores], axis=1)
    columns = _narrowed(follower)
    graph = helper.make_graph(
        follower.nodes,
        "tabular",
        [helper.make_tensor_value_info(ROW, TensorProto.FLOAT, ["N", len(columns)])],
        [helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["N", value.size])],
        follower.constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", max(NEUTRAL, follower.opset))], ir_version=10
    )
    onnx.checker.check_model(model)
    return model, columns


def _narrowed(follower: Follower) -> tuple[Column, ...]:
    """Leave out the columns that nothing reads, if categories or the like have taken their place."""
    columns = follower.row.columns
    readers = [node for node in follower.nodes if ROW in node.input]
    constants = {tensor.name: tensor for tensor in follower.constants}
    if any(node.op_type != "Gemm" for node in readers):
        if not all(column.plain for column in columns):
            raise UnsupportedOperator("a function of categories that is not linear has no kernel")
        return tuple(columns)
    weights = {node.input[1]: numpy_helper.to_array(constants[node.input[1]]) for node in readers}
    used = np.zeros(len(columns), bool)
    for weight in weights.values():
        used[: weight.shape[1]] |= weight.any(axis=0)
    if all(column.plain for column in columns):
        used[:] = True
    for name, weight in weights.items():
        full = np.pad(weight, ((0, 0), (0, len(columns) - weight.shape[1])))
        constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(full[:, used]), name))
    return tuple(column for column, kept in zip(columns, used, strict=True) if kept)
